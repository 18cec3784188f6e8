"""Each step that cleans poems: what it takes away, what it leaves, and what it does to real text."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.data.clean import TEXT_CLEANERS
from textdiffusion.data.clean_poems import POEM_CLEANERS, unseen
from textdiffusion.data.document_rules import FOR_POEMS, RULES, Document

STEPS = [
    ("links", "家\nhttp://www.example.org\n夜话", "家\n夜话"),
    ("links", "主页（http://anqi.example.org）。", "主页。"),
    ("links", "看 https://a.cn/x?y=1。\n信 me.b@example.org 吗", "看 。\n信  吗"),
    ("links", "the www of it\n\n@家", "the www of it\n\n@家"),
    ("markup", "行&nbsp;一&mdash;&#20108;<BR>三<p align=center>四</p>", "行\xa0一—二\n三\n四\n"),
    ("markup", "a < b & c > d <3 &c; AT&T", "a < b & c > d <3 &c; AT&T"),
    ("unseen", "一\ue003行\ufffd\r\n二\u200b\xad行\x07\u2028三\ufeff", "一行\n二行\n三"),
    ("unseen", "终\n\u200d\n👩\u200d👧 \u3000□", "终\n\n👩\u200d👧 \u3000□"),
    ("line-spaces", "\n　　一　二 \n\xa0\n三\t\n\n", "一　二\n\n三"),
    ("doubled-lines", "一\n\n二\n\n三\n\n四", "一\n二\n三\n四"),
    ("doubled-lines", "一\n二\n\n\n三", "一\n二\n\n三"),
    ("doubled-lines", "一\n \n二", "一\n二"),
    ("rulers", "一\n**********\n二\n- - - -\n三", "一\n\n二\n\n三"),
    ("rulers", "————\n……………\n啊啊啊啊\n**\n*/*/", "————\n……………\n啊啊啊啊\n**\n*/*/"),
    ("notes", "行\n行\n（选自《尝试集》）", "行\n行"),
    ("notes", "行\n以上选自《红烛》\n1925", "行\n1925"),
    ("notes", "行\n\n——原载《青海湖》2017年第12期", "行"),
    ("notes", "选自一生\n行\n行\n行\n行", "选自一生\n行\n行\n行\n行"),
    ("notes", "一行诗句，" * 4 + "\n注：\n(一)某地。\n(二)某人。", "一行诗句，" * 4),
    ("notes", "一\n注：某书四章\n" + "诗句\n" * 9 + "终", "一\n" + "诗句\n" * 9 + "终"),
    ("notes", "注视着\n注定\n附注一下", "注视着\n注定\n附注一下"),
    ("footnote-marks", "三世佛[1]\n不屑去死！［１２］\n[3]页", "三世佛\n不屑去死！\n[3]页"),
    ("half-width", "１９２３年Ａｂ，（＋）", "1923年Ab，（＋）"),
    ("full-width-slashes", "1/2", "1／2"),
    ("slash-lines", "a\n\n b \nc", "a/b/c"),
]


@pytest.mark.parametrize(("name", "raw", "cleaned"), STEPS)
def test_steps(name: str, raw: str, cleaned: str) -> None:
    assert TEXT_CLEANERS[name](raw) == cleaned


DATES = """1923|1920，伦敦|一九一九年十二月十七日|（1996）|1996年 12月温哥华|1965.8.20|1990年2月12日于成都
98.11.23|20190826|2000．9|——1986，4，20|98/7/31|1998.2.15|1988、10|99-1-27|1985-1986|[1990]|1993．6．
09/05/1999|1999.4.23 17：40|1963年2月1---28日写于北京|一九六六、九、二十三|1934年初秋
1936年10月4日，于虹桥公墓|(1934年)11月3日偶作""".replace("\n", "|")
NO_DATES = """母亲在１９８２年死去。|他于一八四0年死去|1998年的雪|这是我的第30个冬天|1|二十四|8.4
三月的行人知道|1923年我走了|12|在盛年|十二月|一千四百年后|1949，中国人民从此站起来了，站起来了""".replace(
    "\n", "|"
)


@pytest.mark.parametrize("line", DATES.split("|"))
def test_dates(line: str) -> None:
    assert TEXT_CLEANERS["dates"](f"行\n\n{line}\n") == "行"
    assert TEXT_CLEANERS["dates"](f"{line}\n行") == f"{line}\n行"
    assert TEXT_CLEANERS["dates"](line) == line, "a poem of one line is no date"


@pytest.mark.parametrize("line", NO_DATES.split("|"))
def test_no_dates(line: str) -> None:
    assert TEXT_CLEANERS["dates"](f"行\n{line}") == f"行\n{line}"


PIECES = (
    "一|二|1923|注：|选自《集》|****|　|/|[1]|http://a.cn|&nbsp;|<br>|年|\n|\n|\n|\n\n|\r\n|\ue003|\u200d|□"
)
raw_poems = st.lists(st.sampled_from(PIECES.split("|")), max_size=14).map("".join)


@given(raw_poems)
def test_steps_leave_the_words(text: str) -> None:
    """No step invents a line or touches the words of a poem, and none finds anything the second time."""
    for name, step in POEM_CLEANERS.items():
        cleaned = step(text)
        if name not in {"notes", "dates"}:
            assert re.sub("[^一二年]", "", cleaned) == re.sub("[^一二年]", "", text)
        if name not in {"markup", "notes", "dates", "footnote-marks", "links"}:
            assert step(cleaned) == cleaned


# -- real text -------------------------------------------------------------------------------------------


def snippets(shared_data: Path, kind: str) -> dict[str, str]:
    """Text by where it is from."""
    file = shared_data / "dirty_examples" / "examples.jsonl"
    if not file.is_file():
        pytest.skip("the snippets of dirty text are not here")
    rows = [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]
    found = {row["where"]: row["text"] for row in rows if row["kind"].startswith(kind)}
    assert found
    return found


@pytest.mark.parametrize(
    ("kind", "rule", "pattern"),
    [
        ("private-use characters", "unseen", r"[\ue000-\uf8ff]"),
        ("zero-width or soft-hyphen", "unseen", "[\u200b-\u200d\xad]"),
        ("control characters", "unseen", r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"),
        ("links", "links", "http://"),
        ("editor source note", "notes", "选自"),
        ("publication note", "notes", "原载"),
        ("footnote marks", "footnote-marks", r"\[1\]"),
        ("date line", "dates", r"19\d\d$"),
        ("blank line between all lines", "doubled-lines", "\n\n"),
    ],
)
def test_real_snippets(shared_data: Path, kind: str, rule: str, pattern: str) -> None:
    """What is wrong is there before, and not after; most of the words stay."""
    for where, text in snippets(shared_data, kind).items():
        cleaned = TEXT_CLEANERS[rule](text)
        assert re.search(pattern, text) and not re.search(pattern, cleaned), where
        words, left = (re.sub(r"\W", "", unseen(each)) for each in (text, cleaned))
        assert len(left) >= 0.5 * len(words), where


def test_real_missing_characters(shared_data: Path) -> None:
    for kind in ("white box", "question marks", "private-use"):
        for where, text in snippets(shared_data, kind).items():
            assert list(RULES["missing"]()(Document(text, {}))) == [], where


def test_real_epigraphs(shared_data: Path) -> None:
    """The snippet is a title."""
    for title in snippets(shared_data, "epigraph with CRLF").values():
        (document,) = RULES["epigraphs"]()(Document("行", {"title": title}))
        assert document.title == title.split("\r\n")[0] and document.fields["epigraph"]
        assert "\n" not in document.title and "\r" not in document.fields["epigraph"]


def test_all_rules_on_real_snippets(shared_data: Path) -> None:
    """Of any kind of text, poem or not: no rule fails, and nothing is left only of what was nothing."""
    for text in snippets(shared_data, "").values():
        documents = [Document(text, {"title": "题", "author": "人"})]
        for name in FOR_POEMS:
            rule = RULES[name]()
            documents = [after for document in documents for after in rule(document)]
        assert documents or len(re.sub(r"\W|http\S+", "", text)) < 20, text
