"""Arrays hold the documents, all of them and nothing else, whoever makes them and however often."""

import gzip
import json
import lzma
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import END, PAD, arrays, encode, make, toy, write_jsonl

from textdiffusion.data.packing import pack_blocks
from textdiffusion.data.prepared import PreparedFolder, encoding
from textdiffusion.data.prepared.plan import Pass
from textdiffusion.data.prepared.stream import key_of
from textdiffusion.errors import DataError, IncompatibleError, SettingsError, UnknownNameError

texts_of_any_kind = st.lists(
    st.text(st.characters(codec="utf-8"), max_size=12).filter(str.strip), min_size=1, max_size=30
)
shares = st.sampled_from([0.0, 0.3])
TEXTS = [f"{word} {number} " * (number % 5 + 1) for number in range(120) for word in ("fox", "bär")]


def dealt(texts: list[str], share: float, split: str) -> list[str]:
    one = Pass("train", share)
    return [text for text in texts if one.target(key_of(text)) == split]


def flat(rows: list[list[int]]) -> list[int]:
    return [token for row in rows for token in row]


def ids(folder: PreparedFolder, split: str = "train") -> list[int]:
    found: list[int] = folder.split(split).array.ids.tolist()
    return found


# -- what is in them -------------------------------------------------------------------------------------


@given(texts_of_any_kind, shares)
def test_packed_is_the_concatenation(texts: list[str], share: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        train = dealt(texts, share, "train")
        if not train:
            with pytest.raises(DataError, match="none of them to train on"):
                make(Path(name), texts, test_share=share)
            return
        folder = make(Path(name), texts, test_share=share)
        for split, about in folder.metadata.arrays.items():
            mine = dealt(texts, share, split)
            assert ids(folder, split) == flat(encode(mine))
            assert about.counts.documents_read == about.counts.documents_kept == len(mine)
            assert about.counts.tokens == len(flat(encode(mine)))
            assert about.counts.text_tokens == about.counts.tokens - 2 * len(mine)
        assert set(folder.metadata.arrays) == {s for s in ("train", "test") if dealt(texts, share, s)}


@given(texts_of_any_kind, st.integers(3, 24))
def test_rows_hold_text_end_and_padding(texts: list[str], length: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        fitting = [row for row in encode(texts) if len(row) <= length]
        if not fitting:
            with pytest.raises(DataError, match=f"none of the {len(texts)} documents .* fits into rows"):
                make(Path(name), texts, kind="rows", length=length, test_share=0.0)
            return
        folder = make(Path(name), texts, kind="rows", length=length, test_share=0.0)
        table = np.reshape(ids(folder), (-1, length)).tolist()
        assert table == [row + [PAD] * (length - len(row)) for row in fitting]
        counts = folder.metadata.arrays["train"].counts
        assert (counts.documents_read, counts.documents_kept) == (len(texts), len(fitting))
        assert counts.documents_left_out == len(texts) - len(fitting)
        assert counts.text_tokens == sum(len(row) - 2 for row in fitting)
        rows, whole = folder.split("train").rows(), folder.split("train").rows(whole=True)
        assert [row["input_ids"] for row in islice(rows, len(rows))] == fitting
        assert [row["input_ids"] for row in islice(whole, len(whole))] == table


def test_an_end_that_is_the_padding_too_stays_at_the_end(tmp_path: Path) -> None:
    texts = ["a", "four", "five!"]
    folder = make(tmp_path, texts, kind="rows", length=7, test_share=0.0, tokenising=toy(pad_id=END))
    rows = folder.split("train").rows()
    assert [rows[i]["input_ids"] for i in range(3)] == encode(texts)
    assert rows[-1] == rows[2] and ids(folder)[:7] == [*encode(["a"])[0], END, END, END, END]


@given(texts_of_any_kind, st.integers(1, 20))
def test_windows_are_the_packed_blocks(texts: list[str], length: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        rows = make(Path(name), texts, test_share=0.0).split("train").rows(length)
        assert [rows[i]["input_ids"] for i in range(len(rows))] == list(pack_blocks(encode(texts), length))
        for index in (len(rows), -len(rows) - 1):
            with pytest.raises(IndexError):
                rows[index]


# -- who makes them --------------------------------------------------------------------------------------


@settings(max_examples=2)
@given(texts_of_any_kind, st.integers(2, 3), st.integers(1, 7))
def test_any_number_of_workers_gives_the_same_bytes(texts: list[str], workers: int, batch: int) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        every = [*texts, *TEXTS]
        alone = make(Path(name), every, "alone")
        patch.setattr(encoding, "MOST_DOCUMENTS", batch)
        assert arrays(make(Path(name), every, "many", workers=workers)) == arrays(alone)


def test_limits_end_the_work_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MOST_DOCUMENTS", 5)
    few = make(tmp_path, TEXTS, "few", max_documents=7, workers=2, test_share=0.0)
    assert ids(few) == flat(encode(TEXTS[:7]))


def test_unknown_names_offer_the_nearest(tmp_path: Path) -> None:
    for options, said in (
        ({"engine": "locl"}, "local"),
        ({"kind": "pack"}, "packed"),
        ({"dtype": "int61"}, "int16|int64"),
        ({"clean": ("nfd",)}, "nfc"),
    ):
        with pytest.raises(UnknownNameError, match=f"Did you mean .*({said})"):
            make(tmp_path, TEXTS, **options)  # type: ignore[arg-type]


# -- splits, limits and order ----------------------------------------------------------------------------


def test_a_document_is_dealt_by_what_it_says(tmp_path: Path) -> None:
    """Not by its place, nor by its neighbours; and the share is about what was asked for."""
    one = make(tmp_path, TEXTS, "one", test_share=0.2)
    other = make(tmp_path, TEXTS[::-1][:200], "other", test_share=0.2)
    kept = {split: set(documents(one, split)) for split in ("train", "test")}
    for split in ("train", "test"):
        assert set(documents(other, split)) <= kept[split]
    assert 0.1 < one.metadata.arrays["test"].counts.documents_read / len(TEXTS) < 0.3
    assert one.metadata.options["test_share"] == 0.2


def documents(folder: PreparedFolder, split: str = "train") -> list[str]:
    """The texts in a packed array."""
    found = "".join(chr(i) if i > END else "|" for i in ids(folder, split)).replace("||", "|")
    return found.strip("|").split("|")


def test_splits_of_the_source_are_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, texts in {"train": TEXTS[:9], "valid": TEXTS[9:12], "test": TEXTS[12:14]}.items():
        write_jsonl(data / f"{name}.jsonl", texts)
    folder = make(tmp_path, [], source=str(data))
    assert list(folder.metadata.arrays) == ["train", "validation", "test"]
    assert ids(folder, "validation") == flat(encode(TEXTS[9:12]))
    assert ids(folder, "test") == flat(encode(TEXTS[12:14]))
    held_out = folder.held_out()
    assert held_out is not None and held_out.name == "validation"
    with pytest.raises(SettingsError, match="has its own validation and test; leave --test-share out"):
        make(tmp_path, [], "more", source=str(data), test_share=0.1)


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Whole documents up to the limit, however they come."""
    monkeypatch.setattr(encoding, "MOST_DOCUMENTS", batch)
    five = make(tmp_path, TEXTS, "five", max_documents=5, test_share=0.0)
    assert ids(five) == flat(encode(TEXTS[:5]))
    size = len(ids(five))
    assert ids(make(tmp_path, TEXTS, "just", max_tokens=size, test_share=0.0)) == ids(five)
    less = make(tmp_path, TEXTS, "less", max_tokens=size - 1, test_share=0.0)
    assert ids(less) == flat(encode(TEXTS[:4]))
    both = make(tmp_path, TEXTS, "both", max_documents=9, test_share=0.3).metadata.arrays
    assert sum(about.counts.documents_kept for about in both.values()) == 9
    long = [text for text in TEXTS if len(text.encode()) > 18]
    options: dict[str, Any] = {"kind": "rows", "length": 20, "max_documents": 2, "test_share": 0.0}
    rows = make(tmp_path, [*long, "a", "b", "c"], "rows", **options)
    assert rows.metadata.arrays["train"].counts.documents_left_out == len(long)
    assert len(rows.split("train").rows()) == 2


def test_shuffling_hangs_on_the_seed_alone(tmp_path: Path) -> None:
    def made(name: str, **options: Any) -> list[str]:
        return documents(make(tmp_path, TEXTS, name, test_share=0.0, **options))

    plain, one = made("plain"), made("one", shuffle_buffer=50, seed=1)
    assert made("again", shuffle_buffer=50, seed=1, workers=2) == one != plain
    assert made("two", shuffle_buffer=50, seed=2) != one
    assert sorted(one) == sorted(plain)


def test_the_dtype_follows_from_the_vocabulary(tmp_path: Path) -> None:
    for size, dtype, width in ((2**16, "uint16", 2), (2**16 + 1, "uint32", 4)):
        folder = make(tmp_path, TEXTS, dtype, tokenising=toy(size=size), test_share=0.0)
        assert folder.metadata.dtype == dtype
        assert folder.metadata.arrays["train"].bytes == width * len(flat(encode(TEXTS)))
        assert ids(folder) == flat(encode(TEXTS))


def test_what_the_folder_says_of_itself(tmp_path: Path) -> None:
    told = make(tmp_path, ["abc", "de"], test_share=0.0, clean=("nfc",), command="a b").metadata
    assert told.version == 1 and told.source == str(tmp_path / "arrays.jsonl") and told.command == "a b"
    assert told.tokenizer == toy().vocabulary and told.kind == "packed" and told.length is None
    assert told.options["clean"] == ["nfc"] and told.created.endswith("+00:00")
    about = told.arrays["train"]
    assert about.averages == {"tokens_per_document": 4.5, "text_tokens_per_document": 2.5}
    assert about.counts.largest_id == 3 + ord("e") and len(about.sha256) == 64
    assert (tmp_path / "arrays" / "tokenizer" / "tokenizer.json").is_file()
    files = {file.name for file in (tmp_path / "arrays").iterdir()}
    assert files == {"prepared.json", "tokenizer", "train.bin"}


# -- sources ---------------------------------------------------------------------------------------------

PACKERS = {".xz": lzma.compress, ".gz": gzip.compress, ".zst": zstandard.compress}


@pytest.mark.parametrize("packing", PACKERS)
def test_packed_files(tmp_path: Path, packing: str) -> None:
    plain = Path(write_jsonl(tmp_path / "plain.jsonl", TEXTS))
    path = tmp_path / f"packed.jsonl{packing}"
    path.write_bytes(PACKERS[packing](plain.read_bytes()))
    assert arrays(make(tmp_path, [], source=str(path))) == arrays(make(tmp_path, TEXTS, "same"))


def test_plain_text_and_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n".join(["one", "two\nlines", " \n"]), encoding="utf-8")
    text = make(tmp_path, [], "text", source=str(tmp_path / "a.txt"), test_share=0.0)
    assert ids(text) == flat(encode(["one", "two\nlines"]))
    columns = {"id": ["x", "y"], "story": ["one", "two\nlines"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    table = make(
        tmp_path, [], "table", source=str(tmp_path / "a.parquet"), test_share=0.0, text_field="story"
    )
    assert arrays(table) == arrays(text)


def test_a_stream_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load(name: str, config: str | None, *, streaming: bool) -> Any:
        assert (name, config, streaming) == ("owner/name", "part", True)
        stream = datasets.Dataset.from_list([{"text": text} for text in TEXTS]).to_iterable_dataset()
        return datasets.IterableDatasetDict({"train": stream, "test": stream.take(3)})

    monkeypatch.setattr(datasets, "load_dataset", load)
    folder = make(tmp_path, [], source="owner/name:part", max_documents=50)
    assert ids(folder) == flat(encode(TEXTS[:50])) and ids(folder, "test") == flat(encode(TEXTS[:3]))


def test_documents_are_cleaned_and_repeated(tmp_path: Path) -> None:

    path = tmp_path / "a.jsonl"
    rows = [{"text": "1 @,@ 000", "from": "wiki"}, {"text": "poem", "from": "book"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    folder = make(
        tmp_path,
        [],
        source=str(path),
        clean=("wikitext",),
        repeat_field="from",
        repeats={"book": 2.0},
        test_share=0.0,
    )
    assert ids(folder) == flat(encode(["1,000", "poem", "poem"]))


# -- memory ----------------------------------------------------------------------------------------------


MEASURED = """
import sys, tracemalloc
from pathlib import Path
from toy import make, write_jsonl

def peak(name, count):
    folder = Path(sys.argv[1])
    source = write_jsonl(folder / f"{name}.jsonl", [f"text {i} " * (i % 9 + 1) for i in range(count)])
    tracemalloc.start()
    made = make(folder, [], name, source=source, max_tokens=10**9)
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.metadata.arrays["train"].counts.documents_kept > 0.9 * count
    return highest

peak("first", 500)  # what is loaded once is loaded
print(peak("small", 1_000), peak("large", 10_000))
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """In a process of its own, where no checks of types slow the work down."""
    here = Path(__file__).resolve()
    path = os.pathsep.join([str(here.parents[2] / "src"), str(here.parent)])
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    small, large = map(int, done.stdout.split())
    assert (tmp_path / "large" / "train.bin").stat().st_size > 500_000
    assert large < 1.2 * small + 50_000, "ten times the text"


# -- what cannot be prepared -----------------------------------------------------------------------------


def refused(tmp_path: Path, **options: Any) -> str:
    with pytest.raises((DataError, SettingsError, IncompatibleError)) as caught:
        make(tmp_path, options.pop("texts", TEXTS), **options)
    message = str(caught.value)
    assert "\n" not in message
    assert not list(tmp_path.glob("*.unfinished")), "nothing is left behind"
    return message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source": "nowhere.jsonl"}, "No file or folder"),
        ({"texts": []}, "holds no text"),
        ({"texts": [" ", "\n"]}, "holds no text"),
        ({"texts": ["\u200b"], "clean": ("poem-lines",)}, "gives no text"),
        ({"kind": "rows"}, "give the tokens per row with --length"),
        ({"kind": "rows", "length": 2}, "a row of one token of text has at least 3"),
        ({"length": 8}, "leave --length out, or choose --kind rows"),
        ({"kind": "rows", "length": 8, "tokenising": toy(end_id=None)}, "no token that ends a text"),
        ({"max_tokens": 3}, "the first document alone has more than the 3 tokens"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"shuffle_buffer": 0}, "shuffle_buffer is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"test_share": 1.0}, "test_share 1.0"),
        ({"repeats": {"a": -1.0}}, "repeats of 'a' is -1.0"),
        ({"workers": 0}, "workers is 0"),
        ({"tokenising": toy(size=90)}, "gives id"),
        ({"texts": ["half \ud83d"]}, "holds half a character"),
    ],
)
def test_it_is_refused_in_one_line(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    assert said in refused(tmp_path, **options)


def test_arrays_are_no_text(tmp_path: Path) -> None:
    folder = str(make(tmp_path, TEXTS).path)
    assert "holds arrays already" in refused(tmp_path, source=folder, name="again")
    from textdiffusion.data.sources import available_splits, read_documents

    for read in (available_splits, read_documents):
        with pytest.raises(DataError, match="holds token ids"):
            read(folder)


def test_the_end_of_a_broken_source_is_told(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"', encoding="utf-8")
    with pytest.raises(DataError, match="line 2: bad JSON"):
        make(tmp_path, [], source=str(path), workers=2)


def unending() -> Iterator[str]:
    """Texts without end."""
    while True:
        yield "again"


def test_batches_are_cut_by_number_and_size() -> None:
    sizes = [len(batch) for batch in islice(encoding.batches(unending()), 2)]
    assert sizes == [encoding.MOST_DOCUMENTS] * 2
    long = ["x" * encoding.MOST_CHARACTERS, "y", "z"]
    assert [len(batch) for batch in encoding.batches(long)] == [1, 2]
