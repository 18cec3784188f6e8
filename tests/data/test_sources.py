"""Every kind of source gives the same documents, and every broken one an error of one line."""

import csv
import gzip
import io
import json
import lzma
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.data import formats
from textdiffusion.data.formats import Repeats, split_text
from textdiffusion.data.sources import available_splits, read_documents, read_rows
from textdiffusion.errors import DataError

TEXTS = ["Two lines,\none \u2028separator.", '  诗\t"quoted" ', "last\n\nparagraph"]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".xz": lzma.compress,
    ".gz": gzip.compress,
    # Two frames, as parallel packers write them.
    ".zst": lambda raw: zstandard.compress(raw[:20]) + zstandard.compress(raw[20:]),
}


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    written = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), written)
    return written.getvalue()


def as_table(rows: list[dict[str, Any]], delimiter: str) -> bytes:
    written = io.StringIO()
    table = csv.DictWriter(written, list(rows[0]), delimiter=delimiter)
    table.writeheader()
    table.writerows(rows)
    return written.getvalue().encode()


WRITERS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    ".jsonl": lambda rows: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(),
    ".ndjson": lambda rows: "\r\n\r\n".join(map(json.dumps, rows)).encode("utf-8-sig"),
    ".json": lambda rows: json.dumps(rows, indent=1).encode("utf-8-sig"),
    ".csv": lambda rows: as_table(rows, ","),
    ".tsv": lambda rows: as_table(rows, "\t"),
    ".parquet": as_parquet,
    ".txt": lambda rows: f"\n\n{formats.END_OF_TEXT}\n".join(row["text"] for row in rows).encode(),
}


def one_line(source: Path | str, **options: Any) -> str:
    """The message of the error that reading `source` raises."""
    with pytest.raises(DataError) as caught:
        list(read_documents(str(source), **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_and_packing_gives_the_same_documents(tmp_path: Path, kind: str, packing: str) -> None:
    rows = [{"id": str(number), "text": text} for number, text in enumerate([*TEXTS, " \n"])]
    path = tmp_path / f"anything{kind}{packing}"
    path.write_bytes(PACKERS[packing](WRITERS[kind](rows)))
    documents = read_documents(str(path), split="test")
    assert list(documents) == TEXTS
    assert list(pickle.loads(pickle.dumps(documents))) == TEXTS


def test_json_may_be_lines_or_bare_strings(tmp_path: Path) -> None:
    path = tmp_path / "lines.json"
    path.write_text('{"content": "a"}\n{"content": null}\n{"content": "b"}\n')
    assert list(read_documents(str(path))) == ["a", "b"]
    path.write_text('["a", "b"]')
    assert list(read_documents(str(path))) == ["a", "b"]


@pytest.mark.parametrize(
    ("row", "field", "text"),
    [
        ({"content": "c", "text": "t", "id": "x"}, None, "t"),
        ({"content": "c", "id": "x"}, None, "c"),
        ({"poem": "p", "year": 1}, None, "p"),
        ({"text": "t", "title": "x"}, "title", "x"),
    ],
)
def test_text_field(tmp_path: Path, row: dict[str, Any], field: str | None, text: str) -> None:
    for kind in (".jsonl", ".parquet"):
        path = tmp_path / f"rows{kind}"
        path.write_bytes(WRITERS[kind]([row]))
        assert list(read_documents(str(path), text_field=field)) == [text]


def test_wrong_or_unclear_text_field(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"title": "a", "content": "b"}\n{"title": "c"}\n')
    assert "Did you mean content?" in one_line(path, text_field="contnet")
    assert "line 2 has no field 'content'" in one_line(path)
    path.write_text('{"title": "a", "body": "b"}\n')
    assert "Fields: title, body." in one_line(path)
    path.write_text('{"text": ["a"]}\n')
    assert "holds list" in one_line(path)
    path.write_text('{"messages": []}\n')
    assert "conversations" in one_line(path)
    path.write_text("[1]\n")
    assert "found list" in one_line(path)
    path = tmp_path / "rows.parquet"
    path.write_bytes(as_parquet([{"title": "a", "content": "b"}]))
    assert "Did you mean content?" in one_line(path, text_field="contnet")


def test_split_names(tmp_path: Path) -> None:
    names = {
        "train-00000-of-00002.txt": "a",
        "train-00001-of-00002.txt": "b",
        "wiki.valid.tokens": "c",
        "dev/part.txt": "d",
        "poems_test.raw.txt": "e",
        "testament.txt": "no split in this name",
        "notes.md": "not read",
        ".train.txt": "hidden",
    }
    for name, text in names.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert sorted(available_splits(str(tmp_path))) == ["test", "train", "validation"]
    for split, texts in {"train": "ab", "validation": "dc", "valid": "dc", "test": "e"}.items():
        assert list(read_documents(str(tmp_path), split=split)) == list(texts)
    assert "It has: " in one_line(tmp_path, split="tset")


def test_folder_without_split_names_is_train(tmp_path: Path) -> None:
    for name in "ba":
        (tmp_path / f"{name}.txt").write_text(name)
    assert list(read_documents(str(tmp_path))) == ["a", "b"]
    assert available_splits(str(tmp_path / "a.txt")) == ()
    assert "no split 'test'" in one_line(tmp_path, split="test")


def test_the_same_split_twice_is_refused(tmp_path: Path) -> None:
    for name in ("train_a.txt", "train_b.txt", "train.1.txt", "train.2.txt"):
        (tmp_path / name).write_text(name)
    assert len(list(read_documents(str(tmp_path)))) == 4
    (tmp_path / "train_a.raw.txt").write_text("again")
    assert "twice" in one_line(tmp_path)


def test_saved_to_disk(tmp_path: Path) -> None:
    import datasets

    table = datasets.Dataset.from_list([{"id": "x", "content": text} for text in TEXTS])
    table.save_to_disk(str(tmp_path / "one"))
    assert list(read_documents(str(tmp_path / "one"), split="test")) == TEXTS
    datasets.DatasetDict({"dev": table}).save_to_disk(str(tmp_path / "many"))
    assert available_splits(str(tmp_path / "many")) == ("validation",)
    assert list(read_documents(str(tmp_path / "many"), split="valid")) == TEXTS
    assert "It has: dev." in one_line(tmp_path / "many", split="train")
    next((tmp_path / "one").glob("*.arrow")).unlink()
    assert "not a whole data set" in one_line(tmp_path / "one")


def test_hub_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load(name: str, config: str | None, *, streaming: bool) -> Any:
        asked.append((name, config, streaming))
        lines = ["", " = One = \n", "", " text \n", "", " = = Part = = \n", "", " = Two = \n", "", " more \n"]
        stream = datasets.Dataset.from_list([{"text": line} for line in lines]).to_iterable_dataset()
        return datasets.IterableDatasetDict({"validation": stream})

    monkeypatch.setattr(datasets, "load_dataset", load)
    documents = read_documents("Salesforce/wikitext:wikitext-2-raw-v1", split="dev")
    assert not asked
    assert [text.split("\n")[0] for text in documents] == [" = One = ", " = Two = "]
    assert asked == [("Salesforce/wikitext", "wikitext-2-raw-v1", True)]
    assert available_splits("wikitext") == ("validation",)


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    assert "check the name and the connection" in one_line("owner/name:config")

    def broken() -> Iterator[dict[str, str]]:
        yield {"text": "a"}
        raise ConnectionError("the line went dead\nhere")

    def load(name: str, config: str | None, *, streaming: bool) -> Any:
        return {"train": broken()}

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert "the line went dead" in one_line("owner/name")


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poems").mkdir()
    (tmp_path / "poems" / "train.jsonl").write_text('"a"\n')
    assert "Did you mean train.jsonl?" in one_line(tmp_path / "poems" / "tran.jsonl")
    assert "Did you mean poems?" in one_line(tmp_path / "poem" / "train.jsonl")
    monkeypatch.chdir(tmp_path)
    assert "Did you mean train.jsonl?" in one_line("poems/train")
    assert "Did you mean poems?" in one_line("poem")  # could be on the Hub, which is out of reach here
    (tmp_path / "empty").mkdir()
    assert "no file of text" in one_line("empty")
    with pytest.raises(DataError, match="No file"):
        available_splits("nowhere.txt")


def test_nothing_inside(tmp_path: Path) -> None:
    for name in ("a.txt", "a.jsonl", "a.json", "a.csv"):
        (tmp_path / name).write_text(" \n")
        assert "holds no text" in one_line(tmp_path / name)
    (tmp_path / "a.parquet").write_bytes(b"")
    assert "not really Parquet" in one_line(tmp_path / "a.parquet")
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    assert "no known kind" in one_line(tmp_path / "a.pdf")


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "poems.txt"
    path.write_bytes("好\n".encode() + "好\n".encode("gb18030"))
    message = one_line(path)
    assert f"{path}, line 2: " in message and "UTF-8" in message


def test_bad_json(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": "b"\n')
    assert f"{path}, line 3: bad JSON" in one_line(path)
    path = tmp_path / "a.json"
    path.write_text('[{"text": "a"},\n {"text" "b"}]')
    assert f"{path}, line 2: bad JSON" in one_line(path)
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "x" * 200_000)
    assert "bad table" in one_line(path)


@pytest.mark.parametrize("packing", [".xz", ".gz", ".zst"])
def test_cut_short_or_damaged(tmp_path: Path, packing: str) -> None:
    whole = PACKERS[packing](WRITERS[".jsonl"]([{"text": f"{number} {number**9}"} for number in range(999)]))
    path = tmp_path / f"a.jsonl{packing}"
    path.write_bytes(whole[:-9])
    assert "cut short" in one_line(path)
    path.write_bytes(b"no packing at all")
    assert "damaged" in one_line(path)


def test_zstd_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt.zst"
    path.write_bytes(PACKERS[".zst"](b"some text that is long enough"))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert "pip install 'textdiffusion[zstd]'" in one_line(path)


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=9)), st.integers(1, 30))
def test_plain_text_keeps_every_line(lines: list[str], longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "LONGEST_PIECE", longest)
        texts = list(split_text(lines))
    assert [line for text in texts for line in text.split("\n") if line.strip()] == [
        line for line in lines if line.strip() and line.strip() != formats.END_OF_TEXT
    ]
    assert all(len(text) <= longest + 9 for text in texts)


def test_a_formula_or_legend_is_no_heading() -> None:
    lines = [
        "",
        " = One = ",
        "",
        " a frequency of x ",
        " = 1 rad and k = ",
        " = Goals ; A = ",
        "",
        " = Two = ",
    ]
    assert len([text for text in split_text(lines) if text]) == 2


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("wikitext2/test.raw.txt", "test", 60),
        ("wikitext2/valid.txt", "validation", 60),
        ("wikitext2/train_part.raw.txt", "train", 52),
        ("wikitext2", "validation", 60),
        ("shakespeare", "train", 1),
        ("modern_poems", "train", 3007),
        ("stories", "valid", 285),
        ("books/test.jsonl.xz", "test", 4),
    ],
)
def test_real_files(shared_data: Path, name: str, split: str, count: int) -> None:
    documents = read_documents(str(shared_data / name), split=split)
    assert sum(1 for _ in documents) == count


def test_two_versions_of_a_real_split(shared_data: Path) -> None:
    assert "test.raw.txt and test.txt" in one_line(shared_data / "wikitext2", split="test")


def test_repeats_weigh_groups_against_each_other(tmp_path: Path) -> None:
    rows = [{"text": f"{group}{i}", "source": group} for i in range(4) for group in "abc"]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    documents = list(
        read_documents(str(tmp_path), repeats=Repeats("source", {"a": 2.0, "b": 0.5, "c": 0.0})),
    )
    assert sorted(text for text in documents if text[0] == "a") == sorted(
        f"a{i}" for i in range(4) for _ in "12"
    )
    assert len([text for text in documents if text[0] == "b"]) == 2
    assert not [text for text in documents if text[0] == "c"]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view"])
def test_long_strings_are_text_too(tmp_path: Path, kind: str) -> None:
    import datasets
    import pyarrow
    import pyarrow.parquet

    columns = {"number": pyarrow.array([1, 2]), "story": pyarrow.array(["one", "two"]).cast(kind)}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
    assert list(read_documents(str(tmp_path / "train.parquet"))) == ["one", "two"]
    if kind == "string_view":
        return  # the package datasets does not write it everywhere
    datasets.Dataset(pyarrow.table(columns)).save_to_disk(str(tmp_path / "saved"))
    assert list(read_documents(str(tmp_path / "saved"))) == ["one", "two"]


# -- rows with all their fields --------------------------------------------------------------------------


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != ".txt"])
def test_rows_keep_their_fields(kind: str, packed: str, tmp_path: Path) -> None:
    wanted = [{"goal": "open\n诗", "label": "1"}, {"goal": " b ", "label": "0"}]
    (tmp_path / f"test{kind}{packed}").write_bytes(PACKERS[packed](WRITERS[kind](wanted)))
    assert [dict(row) for _, row in read_rows(str(tmp_path), split="test")] == wanted
    (tmp_path / f"test{kind}{packed}").rename(tmp_path / f"alone{kind}{packed}")
    found = list(read_rows(str(tmp_path / f"alone{kind}{packed}"), split="validation"))
    assert [row for _, row in found] == wanted
    assert all("alone" in where for where, _ in found)


def test_lines_of_a_plain_text_are_rows(tmp_path: Path) -> None:
    file = tmp_path / "lambada.txt"
    file.write_text("one two\n\nthree\u2028four\n", encoding="utf-8")
    assert [dict(row) for _, row in read_rows(str(file), split="test")] == [
        {"text": "one two"},
        {"text": "three\u2028four"},
    ]


def test_rows_of_a_saved_data_set(tmp_path: Path) -> None:
    import datasets

    table = datasets.Dataset.from_list([{"query": "x", "choices": ["a", "b"], "gold": 1}])
    datasets.DatasetDict({"validation": table}).save_to_disk(str(tmp_path / "saved"))
    ((where, row),) = read_rows(str(tmp_path / "saved"), split="validation")
    assert row == {"query": "x", "choices": ["a", "b"], "gold": 1} and "saved" in where
    with pytest.raises(DataError, match="no split 'test'"):
        list(read_rows(str(tmp_path / "saved"), split="test"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'"text alone"\n', "line 1: expected an object with fields, found str"),
        ("a.raw", b"text", "holds no rows"),
        ("a.jsonl", b"{", "bad JSON"),
        ("a.parquet", b"PAR", "not really Parquet"),
    ],
)
def test_what_is_no_row(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(read_rows(str(tmp_path / name), split="test"))


def test_rows_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No file or folder"):
        list(read_rows(str(tmp_path / "nothing.jsonl"), split="test"))
