"""A preparation that was interrupted goes on to the same bytes, and is never taken for a finished one."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock
from toy import arrays, encode, make, toy, write_jsonl

from textdiffusion.data.prepared import Progress, encoding, open_prepared, preparation, unfinished
from textdiffusion.errors import DataError, SettingsError

TEXTS = [f"a text of some length {number} " * (number % 3 + 1) for number in range(40)]
SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten batches, and a note after each."""
    monkeypatch.setattr(encoding, "MOST_DOCUMENTS", 4)
    monkeypatch.setattr(preparation, "COMMIT_SECONDS", 0.0)


def interrupted(folder: Path, after: int, error: BaseException, **options: Any) -> None:
    """Prepare the texts until so many batches are done."""
    left = [after]

    def watch(progress: Progress) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise error

    with pytest.raises(type(error)):
        make(folder, TEXTS, watch=watch, **options)
    assert not (folder / "arrays").exists()


OPTIONS: list[dict[str, Any]] = [
    {},
    {"kind": "rows", "length": 60, "test_share": 0.3},
    {"max_documents": 30, "shuffle_buffer": 8},
]


@pytest.mark.parametrize("after", [1, 4, 7])
@pytest.mark.parametrize("options", OPTIONS)
def test_it_goes_on_to_the_same_bytes(tmp_path: Path, after: int, options: dict[str, Any]) -> None:
    whole = make(tmp_path / "whole", TEXTS, **options)
    interrupted(tmp_path / "other", after, KeyboardInterrupt(), **options)
    done = make(tmp_path / "other", TEXTS, resume=True, **options)
    assert arrays(done) == arrays(whole)
    assert done.metadata.arrays == whole.metadata.arrays
    assert not list((tmp_path / "other").glob("*.unfinished"))


def test_again_and_again_and_with_others(tmp_path: Path) -> None:
    """Interrupted in every batch but one, by other numbers of workers."""
    whole = make(tmp_path / "whole", TEXTS)
    interrupted(tmp_path / "other", 1, KeyboardInterrupt())
    interrupted(tmp_path / "other", 2, RuntimeError(), resume=True, workers=2)
    interrupted(tmp_path / "other", 1, KeyboardInterrupt(), resume=True)
    assert arrays(make(tmp_path / "other", TEXTS, resume=True)) == arrays(whole)


def test_between_the_splits_of_a_source(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, texts in {"train": TEXTS[:20], "validation": TEXTS[20:30], "test": TEXTS[30:]}.items():
        write_jsonl(data / f"{name}.jsonl", texts)
    whole = make(tmp_path / "whole", [], source=str(data))
    for after in (5, 6, 8, 9):
        folder = tmp_path / f"after {after}"
        interrupted(folder, after, KeyboardInterrupt(), source=str(data))
        assert arrays(make(folder, [], source=str(data), resume=True)) == arrays(whole)


def test_what_was_written_after_the_last_note_is_cut_off(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", TEXTS)
    interrupted(tmp_path / "other", 3, KeyboardInterrupt())
    with (tmp_path / "other" / "arrays.unfinished" / "train.bin").open("ab") as file:
        file.write(b"half a number, or more")
    (tmp_path / "other" / "arrays.unfinished" / "validation.bin").write_bytes(b"not noted")
    assert arrays(make(tmp_path / "other", TEXTS, resume=True)) == arrays(whole)


@pytest.mark.parametrize("after", [0, 5])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A part of the last write has reached the disk, and no note of it can be written either."""
    whole = make(tmp_path / "whole", TEXTS)
    full = [False]

    class Filling(io.FileIO):
        def write(self, content: Any) -> int:
            if full[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sizes = [file.stat().st_size for file in tmp_path.rglob("arrays.unfinished/*.bin")]
            full[0] = sum(sizes) >= 200 * after
            return super().write(bytes(content)[: 7 if full[0] else None])

    def note(path: Path, settings: Any) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written(path, settings)

    written = unfinished.write_json
    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "io", SimpleNamespace(FileIO=Filling))
        patch.setattr(unfinished, "write_json", note)
        with pytest.raises(DataError, match=r"No space left on device; make room .* --resume") as caught:
            make(tmp_path / "other", TEXTS)
    assert "\n" not in str(caught.value)
    resume = (tmp_path / "other" / "arrays.unfinished").is_dir()
    assert resume is bool(after), "nothing is left where nothing was done"
    assert arrays(make(tmp_path / "other", TEXTS, resume=resume)) == arrays(whole)


def test_killed(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", TEXTS)
    folder = tmp_path / "other"
    folder.mkdir()
    source = write_jsonl(folder / "arrays.jsonl", TEXTS)
    code = (
        "import time; from pathlib import Path; from toy import encode, make, save, toy\n"
        "from textdiffusion.data.prepared import Tokenising, encoding, preparation\n"
        "encoding.MOST_DOCUMENTS, preparation.COMMIT_SECONDS = 4, 0.0\n"
        "slow = lambda texts: time.sleep(0.1) or encode(texts)\n"
        "slowly = Tokenising(toy().vocabulary, slow, save)\n"
        f"make(Path({str(folder)!r}), [], source={source!r}, tokenising=slowly)"
    )
    path = os.pathsep.join([str(SOURCE), str(Path(__file__).parent)])
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    journal = folder / "arrays.unfinished" / "unfinished.json"
    for _ in range(600):
        if journal.is_file() and json.loads(journal.read_text())["documents"] >= 8:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "arrays").exists()
    with pytest.raises(SettingsError, match="holds an unfinished preparation; go on with --resume"):
        make(folder, TEXTS)
    with pytest.raises(DataError, match="is unfinished; run its command again with --resume"):
        open_prepared(str(folder / "arrays"))
    assert arrays(make(folder, TEXTS, source=source, resume=True)) == arrays(whole)


def test_a_folder_is_marked_before_anything_is_read(tmp_path: Path) -> None:
    """Else it would be taken for text if it were killed then."""
    seen: list[set[str]] = []

    def encode_first(texts: list[str]) -> list[list[int]]:
        seen.append({file.name for file in (tmp_path / "arrays.unfinished").iterdir()})
        return encode(texts)

    looking = preparation.Tokenising(toy().vocabulary, encode_first, toy().save)
    make(tmp_path, TEXTS, tokenising=looking)
    assert "unfinished.json" in seen[0] and "train.bin" not in seen[0]


# -- what is refused -------------------------------------------------------------------------------------


def test_an_output_that_exists(tmp_path: Path) -> None:
    make(tmp_path, TEXTS)
    for resume in (False, True):
        with pytest.raises(SettingsError, match="exists already; choose another --output"):
            make(tmp_path, TEXTS, resume=resume)


def test_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="leave --resume out to begin"):
        make(tmp_path, TEXTS, resume=True)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "arrays.unfinished").mkdir()
    (tmp_path / "arrays.unfinished" / "poems.bin").write_text("mine")
    with pytest.raises(DataError, match="holds something else than a preparation"):
        make(tmp_path, TEXTS, resume=True)
    assert (tmp_path / "arrays.unfinished" / "poems.bin").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 3}, "was begun with seed 0, not 3; give the same options"),
        ({"clean": ("nfc",)}, r"was begun with clean \[\], not \['nfc'\]"),
        ({"tokenising": toy(sha256="1")}, "was begun with tokenizer '0', not '1'"),
    ],
)
def test_other_options(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    interrupted(tmp_path, 3, KeyboardInterrupt())
    with pytest.raises(SettingsError, match=said):
        make(tmp_path, TEXTS, resume=True, **options)
    make(tmp_path, TEXTS, resume=True)  # and nothing was spoilt


def test_another_text(tmp_path: Path) -> None:
    interrupted(tmp_path, 3, KeyboardInterrupt())
    other = ["a new beginning", *TEXTS]
    with pytest.raises(DataError, match="no longer begins with the 12 documents"):
        make(tmp_path, other, resume=True)
    longer = [*TEXTS[:12], "from here on it is new"]
    assert make(tmp_path, longer, resume=True).path.is_dir()


def test_an_array_that_lost_its_end(tmp_path: Path) -> None:
    interrupted(tmp_path, 3, KeyboardInterrupt())
    os.truncate(tmp_path / "arrays.unfinished" / "train.bin", 10)
    with pytest.raises(DataError, match=r"train.bin is shorter than the \d+ bytes"):
        make(tmp_path, TEXTS, resume=True)


def test_a_journal_that_cannot_be_read(tmp_path: Path) -> None:
    interrupted(tmp_path, 3, KeyboardInterrupt())
    (tmp_path / "arrays.unfinished" / "unfinished.json").write_text("{")
    with pytest.raises(DataError, match=r"unfinished\.json cannot be read"):
        make(tmp_path, TEXTS, resume=True)


def test_two_at_once(tmp_path: Path) -> None:
    interrupted(tmp_path, 3, KeyboardInterrupt())
    with (
        FileLock(tmp_path / "arrays.unfinished" / ".lock"),
        pytest.raises(DataError, match="another process is at work"),
    ):
        make(tmp_path, TEXTS, resume=True)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    plan = preparation.Plan(source=write_jsonl(tmp_path / "a.jsonl", TEXTS))
    with pytest.raises(DataError, match=r"cannot write .*file/arrays: ") as caught:
        preparation.prepare(plan, tmp_path / "file" / "arrays", toy())
    assert "\n" not in str(caught.value)


def test_a_worker_that_dies(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a worker process died"):
        leaving = preparation.Tokenising(toy().vocabulary, leave, toy().save)
        make(tmp_path, TEXTS, workers=2, tokenising=leaving)


def leave(texts: list[str]) -> list[list[int]]:
    """Ends the process that calls it."""
    os._exit(3)
