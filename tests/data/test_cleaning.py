"""Rules for whole documents, the counts of each rule, and the files that come of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from textdiffusion.data.cleaning import Cleaning, clean, read_report, report_of
from textdiffusion.data.document_rules import FOR_POEMS, RULES, Document, said_of
from textdiffusion.errors import DataError, SettingsError, UnknownNameError


def apply(name: str, *documents: Document) -> list[Document]:
    """What a rule makes of documents, one after the other."""
    rule = RULES[name]()
    return [after for document in documents for after in rule(document)]


def poem(text: str, title: str = "题", **fields: Any) -> Document:
    return Document(text, {"title": title, **fields})


def parts(title: str, *lines: str) -> list[tuple[str, str]]:
    return [(part.title, part.text) for part in apply("cycles", poem("\n".join(lines), title))]


# -- rules -----------------------------------------------------------------------------------------------


def test_cycles() -> None:
    cut = parts("旧梦（节选）", "　　五", "酒吧，", "青春吧；", "", "　　一○", "心花，", "", "二五", "有热血")
    assert cut == [
        ("旧梦（节选） 五", "酒吧，\n青春吧；"),
        ("旧梦（节选） 一○", "心花，"),
        ("旧梦（节选） 二五", "有热血"),
    ]
    assert parts("诗四首", "序", "（一）", "甲", "（二）", "乙") == [
        ("诗四首", "序"),
        ("诗四首 （一）", "甲"),
        ("诗四首 （二）", "乙"),
    ]
    assert [title for title, _ in parts("花园组诗", "第一首", "甲", "第二首", "乙")] == [
        "花园组诗 第一首",
        "花园组诗 第二首",
    ]
    numbers = ["IX", "X", "１１", "12.", "二十", "二十一", "一百零三"]
    lines = [line for number in numbers for line in (number, "行")]
    assert [title for title, _ in parts("十首", *lines)] == [f"十首 {number}" for number in numbers]


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("天狗", "一 甲 二 乙"),
        ("组诗", "一 甲 一 乙"),
        ("组诗", "二 甲 一 乙"),
        ("组诗", "一 甲 二"),
        ("组诗", "一 二 乙"),
        ("组诗", "甲 一 乙"),
    ],
)
def test_what_is_no_cycle_stays_whole(title: str, lines: str) -> None:
    whole = "\n".join(lines.split())
    assert parts(title, *lines.split()) == [(title, whole)]


def test_duplicates() -> None:
    first = poem("轻轻的我走了，\n正如我轻轻的来；A1")
    same = poem("轻轻的我走了 正如我轻轻的来 ａ１", "又题")
    assert apply("duplicates", first, same, poem("我轻轻的招手"), first) == [first, poem("我轻轻的招手")]


def test_epigraphs() -> None:
    (one,) = apply("epigraphs", poem("行", "沸热\r\n  ──国庆日晚间\r\n  作", epigraph="旧"))
    assert one.fields == {"title": "沸热", "epigraph": "──国庆日晚间\n作\n旧"}
    plain = poem("行", "沸热")
    assert apply("epigraphs", plain, Document("行", {})) == [plain, Document("行", {})]


def test_chinese_and_missing() -> None:
    kept = poem("十四行 sonnet 十四行诗")
    assert apply("chinese", kept, poem("All in English 啊"), poem("。。。")) == [kept]
    assert apply("missing", kept, poem("手□"), poem("闪〖目夹〗"), poem("？？？？"), poem("怎样？？")) == [
        kept,
        poem("怎样？？"),
    ]


def test_titles_and_names_are_cleaned_too() -> None:
    (one,) = apply("unseen", poem("行", "福喜\ue003\r\n序", author="某\u200b人", id=3))
    assert one.fields == {"title": "福喜\n序", "author": "某人", "id": 3}
    assert apply("dates", poem("行\n1923", "1923"))[0].title == "1923"


def test_every_rule_says_what_it_does() -> None:
    for name in RULES:
        assert said_of(name).endswith("."), name
    assert set(FOR_POEMS) < set(RULES)
    with pytest.raises(UnknownNameError, match="Did you mean duplicates"):
        Cleaning(rules=("duplicate",))


# -- files -----------------------------------------------------------------------------------------------

RAW = [
    {
        "title": "偶然\r\n——给某人",
        "author": "徐志摩",
        "content": "　我是天空里的一片云，\n\n　偶尔投影在你的波心——\n\n1926年5月",
        "n": 1,
    },
    {"title": "又题", "author": "徐志摩", "content": "我是天空里的一片云，\n偶尔投影在你的波心"},
    {"title": "空", "author": "某", "content": "http://a.cn"},
    {"title": "无", "author": "某", "content": None},
    {"title": "短歌（节选）", "author": "某", "content": "一\n甲\ue003\n二\n乙/丙"},
]


def raw(path: Path) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in RAW), "utf-8")
    return str(path)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def test_a_file_of_poems(tmp_path: Path) -> None:
    output = tmp_path / "poems" / "train.jsonl"
    report = clean(raw(tmp_path / "raw.jsonl"), output)
    first, *others = rows(output)
    assert list(first.items()) == [
        ("title", "偶然"),
        ("author", "徐志摩"),
        ("content", "我是天空里的一片云，\n偶尔投影在你的波心——"),
        ("n", 1),
        ("epigraph", "——给某人"),
    ]
    assert all(list(row) == list(first) and row["epigraph"] is None for row in others)
    assert [(row["title"], row["content"]) for row in others] == [
        ("短歌（节选） 一", "甲"),
        ("短歌（节选） 二", "乙／丙"),
    ]
    counts = {count.rule: (count.changed, count.dropped, count.added) for count in report.rules}
    assert (report.read, report.kept, report.characters) == (5, 3, 26)
    told = {name: count for name, count in counts.items() if any(count)}
    assert told == {
        "markup": (0, 1, 0),
        "links": (0, 1, 0),
        "unseen": (2, 0, 0),
        "line-spaces": (1, 0, 0),
        "doubled-lines": (1, 0, 0),
        "dates": (1, 0, 0),
        "full-width-slashes": (1, 0, 0),
        "epigraphs": (1, 0, 0),
        "cycles": (1, 0, 1),
        "duplicates": (0, 1, 0),
    }
    assert tuple(counts) == FOR_POEMS
    assert report.read + sum(c.added - c.dropped for c in report.rules) == report.kept
    lost = sum(len(row["content"] or "") for row in RAW) - sum(c.characters for c in report.rules)
    assert lost == report.characters
    assert read_report(report_of(output)) == report
    assert sorted(path.name for path in output.parent.iterdir()) == ["train.cleaning.yaml", "train.jsonl"]


def test_other_files_and_fields(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("一\n\n二<br>三\n<|endoftext|>\n四", "utf-8")
    report = clean(str(tmp_path / "a.txt"), tmp_path / "a.jsonl", Cleaning(rules=("markup",)))
    assert rows(tmp_path / "a.jsonl") == [{"text": "一\n\n二\n三"}, {"text": "四"}]
    assert (report.read, report.kept) == (2, 2)
    (tmp_path / "b.json").write_text(json.dumps([{"verse": "a/b", "text": "c/d"}, "e/f"]), "utf-8")
    cleaning = Cleaning(rules=("full-width-slashes",), text_field="verse")
    clean(str(tmp_path / "b.json"), tmp_path / "b.jsonl", cleaning)
    assert rows(tmp_path / "b.jsonl") == [{"text": "c/d", "verse": "a／b"}, {"text": "e／f", "verse": None}]
    report = clean(str(tmp_path / "b.json"), tmp_path / "c.jsonl", Cleaning(rules=(), text_field="text"))
    assert (report.read, report.kept, report.rules) == (2, 2, ())


def test_nothing_half_made(tmp_path: Path) -> None:
    """Where the input breaks off, or nothing is left of it."""
    path = tmp_path / "raw.jsonl"
    path.write_text(raw(path) and path.read_text("utf-8") + '{"title": "x", "content": 3}\n', "utf-8")
    with pytest.raises(DataError, match="line 6: field 'content' holds int, not text"):
        clean(str(path), tmp_path / "out" / "train.jsonl")
    path.write_text('{"content": "http://a.cn"}\n', "utf-8")
    with pytest.raises(DataError, match="no document is left"):
        clean(str(path), tmp_path / "out" / "train.jsonl")
    assert not list((tmp_path / "out").iterdir())


def test_refusals(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw.jsonl")
    with pytest.raises(SettingsError, match=r"raw.jsonl exists already; choose another --output"):
        clean(source, tmp_path / "raw.jsonl")
    with pytest.raises(SettingsError, match=r"is no file of JSON lines"):
        clean(source, tmp_path / "out.txt")
    with pytest.raises(DataError, match=r"No file or folder"):
        clean(str(tmp_path / "none.jsonl"), tmp_path / "out.jsonl")
    with pytest.raises(DataError, match=r"cannot write .*: "):
        clean(source, tmp_path / "raw.jsonl" / "out.jsonl")
