"""A folder is checked when it is opened, and its rows are the same in every process."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader
from toy import encode, make, toy

from textdiffusion.data.prepared import PreparedFolder, open_prepared
from textdiffusion.data.prepared.raw import RawDocuments
from textdiffusion.errors import DataError, SettingsError

TEXTS = [f"text {number}" for number in range(50)]


@pytest.fixture
def folder(tmp_path: Path) -> PreparedFolder:
    return make(tmp_path, TEXTS, test_share=0.2)


def said(path: Path) -> str:
    """Why the folder is not opened, in one line."""
    with pytest.raises(DataError) as caught:
        open_prepared(str(path))
    message = str(caught.value)
    assert "\n" not in message and str(path).removesuffix(".unfinished") in message
    return message


def change(**changes: Any) -> Callable[[Path], None]:
    """Writes other values into the metadata."""

    def act(path: Path) -> None:
        file = path / "prepared.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return act


def shortened(path: Path) -> None:
    file = path / "train.bin"
    file.write_bytes(file.read_bytes()[:-2])


def overwritten(path: Path) -> None:
    file = path / "test.bin"
    file.write_bytes(b"\x07" + file.read_bytes()[1:])


def strange(path: Path) -> None:
    """A vocabulary that is smaller than the ids."""
    told = json.loads((path / "prepared.json").read_text())
    change(tokenizer={**told["tokenizer"], "size": 40})(path)


def wide(path: Path) -> None:
    """A vocabulary that no uint16 holds."""
    told = json.loads((path / "prepared.json").read_text())
    change(tokenizer={**told["tokenizer"], "size": 70_000})(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shortened, "bytes instead of"),
        (overwritten, "its first or last MiB differs"),
        (lambda path: (path / "train.bin").unlink(), "train.bin is missing"),
        (lambda path: (path / "prepared.json").unlink(), "has no prepared.json"),
        (lambda path: (path / "prepared.json").write_text("{"), "cannot be read"),
        (lambda path: (path / "prepared.json").write_text("[]"), "format version None"),
        (change(version=2), "format version 2, but this program reads version 1"),
        (change(kind="heap"), "No kind named 'heap'"),
        (change(dtype="uint8"), "No dtype named 'uint8'"),
        (change(length=7), "packed documents have no rows"),
        (change(arrays={}), "names no array"),
        (change(arrays={"train": {}}), "is damaged"),
        (change(surprise=1), "unknown key 'surprise'"),
        (strange, "but the tokenizer toy has 40 tokens"),
        (wide, "a uint16 cannot hold the 70000 ids"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    folder: PreparedFolder, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(folder.path)
    assert message in said(folder.path)


def test_what_is_no_folder_of_arrays(tmp_path: Path) -> None:
    assert "there is no folder" in said(tmp_path / "nothing")
    assert "holds no arrays" in said(tmp_path)
    (tmp_path / "begun.unfinished").mkdir()
    assert "is unfinished" in said(tmp_path / "begun")
    (tmp_path / "begun.unfinished" / "unfinished.json").write_text("{}")
    assert "--resume" in said(tmp_path / "begun.unfinished")


def test_splits(folder: PreparedFolder) -> None:
    held_out = folder.held_out()
    assert held_out is not None and held_out.name == "test"
    with pytest.raises(DataError, match=r"no split 'tset'. Did you mean test\? It has: train, test"):
        folder.split("tset")


def test_verifying_reads_every_byte(tmp_path: Path) -> None:
    """The middle of a large array is not looked at when it is opened."""
    array = tmp_path / "ids.bin"
    np.full(2_000_000, 7, dtype=np.uint16).tofile(array)
    folder = make(tmp_path, [], source=str(array), dtype="uint16")
    folder.verify()
    with (folder.path / "train.bin").open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"\x01")
    with pytest.raises(DataError, match="its sha256 differs"):
        open_prepared(str(folder.path)).verify()


def test_verifying_looks_for_strange_ids(folder: PreparedFolder) -> None:
    told = json.loads((folder.path / "prepared.json").read_text())
    told["tokenizer"]["size"] = 40
    told["arrays"]["train"]["counts"]["largest_id"] = 0
    told["arrays"]["test"]["counts"]["largest_id"] = 0
    change(**told)(folder.path)
    with pytest.raises(DataError, match="holds id 1"):
        open_prepared(str(folder.path)).verify()


@pytest.mark.parametrize("options", [{}, {"kind": "rows", "length": 12}])
def test_rows_travel_as_a_path(tmp_path: Path, options: dict[str, Any]) -> None:
    rows = make(tmp_path, TEXTS * 20, test_share=0.0, **options).split("train").rows(12)
    expected = [rows[i] for i in range(len(rows))]
    sent = pickle.dumps(rows)
    assert len(sent) < 1000
    again = pickle.loads(sent)
    assert [again[i] for i in range(len(again))] == expected
    assert type(expected[0]["input_ids"][0]) is int


def as_it_is(batch: Any) -> Any:
    return batch


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_with_any_number_of_workers_read_the_same(folder: PreparedFolder, workers: int) -> None:
    rows = folder.split("train").rows(7)
    loader = DataLoader(rows, batch_size=3, num_workers=workers, collate_fn=as_it_is)
    assert [row for batch in loader for row in batch] == [rows[i] for i in range(len(rows))]


def test_rows_of_another_length(tmp_path: Path) -> None:
    split = make(tmp_path, TEXTS, kind="rows", length=12).split("train")
    assert split.rows(99)[0] == split.rows(12)[0] == split.rows()[0]
    with pytest.raises(SettingsError, match="prepared with 12 tokens; give --length 12"):
        split.rows(11)


def test_samples_hang_on_the_seed_and_come_once(folder: PreparedFolder) -> None:
    split = folder.split("train")
    drawn = list(split.samples(3))
    rows = split.rows()
    assert sorted(index for index, _ in drawn) == list(range(len(rows)))
    assert all(found == rows[index]["input_ids"] for index, found in drawn)
    assert drawn == list(split.samples(3)) != list(split.samples(4))


# -- arrays of others ------------------------------------------------------------------------------------

RAW = [token for text in encode(TEXTS) for token in text[1:]]
"""Documents as others write them: no begin, an end behind each."""


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32", "int64"])
def test_a_raw_array_is_imported_as_it_is(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "train_7K.bin"
    np.asarray(RAW, dtype=dtype).tofile(path)
    folder = make(tmp_path, [], source=str(path), dtype=dtype)
    assert folder.split("train").array.ids.tolist() == RAW
    told = folder.metadata
    assert list(told.arrays) == ["train"] and told.dtype == "uint16"
    assert told.arrays["train"].counts.documents_kept == len(TEXTS)


def test_a_raw_array_is_divided_and_laid_in_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from textdiffusion.data.prepared import raw

    monkeypatch.setattr(raw, "_CHUNK", 5)  # documents that reach over chunks
    path = tmp_path / "ids.bin"
    np.asarray(RAW[:-1], dtype=np.uint16).tofile(path)  # the last one has lost its end
    rows = make(tmp_path, [], source=str(path), dtype="uint16", kind="rows", length=10).split("train").rows()
    assert [rows[i]["input_ids"] for i in range(len(rows))] == [text[1:] for text in encode(TEXTS)]
    both = make(tmp_path, [], "both", source=str(path), dtype="uint16", test_share=0.3).metadata.arrays
    assert sum(about.counts.tokens for about in both.values()) == len(RAW) - 1
    assert both["test"].counts.documents_kept > 5


def test_a_raw_document_without_an_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from textdiffusion.data.prepared import raw

    monkeypatch.setattr(raw, "_CHUNK", 3)
    monkeypatch.setattr(raw, "LONGEST_DOCUMENT", 5)
    path = tmp_path / "ids.bin"
    np.arange(20, 40, dtype=np.uint16).tofile(path)
    documents = RawDocuments(path, "uint16", toy().vocabulary)
    assert [len(document) // 4 for document in documents] == [6, 6, 6, 2] and len(documents) == 20
    joined = np.frombuffer(b"".join(documents), dtype=np.uint32)
    assert joined.tolist() == list(range(20, 40))


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        ([5, 6, 300, 7], {"dtype": "uint16"}, "holds id 300 at place 2, but the tokenizer toy has 259"),
        ([5, -1], {"dtype": "int32"}, "holds id -1 at place 1"),
        ([5] * 3, {"dtype": "int32", "written": "uint16"}, "6 bytes, which is no array of int32"),
        ([], {"dtype": "uint16"}, "0 bytes"),
        ([5], {"dtype": "uint16", "tokenising": toy(size=70_000)}, "a uint16 cannot hold the 70000 ids"),
        ([5], {"dtype": None}, "looks like an array of token ids; say what numbers"),
        ([5], {"dtype": "uint16", "clean": ("nfc",)}, "clean is for text"),
        ([5], {"dtype": "uint16", "source": "none.bin"}, "there is no file 'none.bin'"),
    ],
)
def test_a_raw_array_that_does_not_fit_is_refused(
    tmp_path: Path, ids: list[int], options: dict[str, Any], message: str
) -> None:
    path = tmp_path / "ids.bin"
    np.asarray(ids, dtype=options.pop("written", options["dtype"]) or "uint16").tofile(path)
    with pytest.raises((DataError, SettingsError)) as caught:
        make(tmp_path, [], **{"source": str(path), **options})
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.unfinished"))
