"""The folder of a preparation under way: arrays that grow, and a journal of what is safely in them."""

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, SettingsError
from ...settings import from_mapping
from ..files import PREPARED, UNFINISHED
from ..working import LOCK, alone_in, disk_errors, working_folder
from .arrays import DTYPES, ends_sha256, whole_sha256
from .metadata import ArrayMetadata, Counts, Metadata, write_json

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Journal:
    """How far a preparation is: with it, and the arrays cut to what it counts, another run can go on."""

    settings: Mapping[str, Any]
    """Everything on which the arrays depend."""
    passes: int = 0
    """Readings of the source that are done."""
    documents: int = 0
    """Documents of the next reading that are dealt with."""
    digest: str = ""
    """`chained` keys of those documents."""
    counts: Mapping[str, Counts] = field(default_factory=dict)
    """By split."""

    @property
    def in_vain(self) -> bool:
        """Whether there is nothing yet that would be lost."""
        return not self.counts.get(_SPLITS[0], Counts()).tokens


class Unfinished:
    """Arrays that are appended to; see `begun`."""

    def __init__(self, output: Path, dtype: str, journal: Journal) -> None:
        """Work for `output` in the folder beside it, from where the journal stands."""
        self.output, self.path, self.dtype = output, working_folder(output), dtype
        self.journal = journal
        self._files: dict[str, io.FileIO] = {}

    def write(self, split: str, ids: NDArray[np.uint32]) -> None:
        """Append ids to the array of a split; they count once the journal says so.

        Raises:
            DataError: the disk is full or not writable.
        """
        left = ids.astype(DTYPES[self.dtype]).tobytes()
        with disk_errors(self.output):
            if split not in self._files:
                self._files[split] = io.FileIO(self._file(split), "a")
            while left:  # a disk that fills up may take a part
                left = left[self._files[split].write(left) :]

    def commit(self, journal: Journal) -> None:
        """Make sure that the disk has all that was written, and note how far it goes.

        Raises:
            DataError: the disk is full or not writable.
        """
        with disk_errors(self.output):
            for file in self._files.values():
                os.fsync(file.fileno())
            write_json(self.path / UNFINISHED, journal)
        self.journal = journal

    def finish(self, told: Callable[[Mapping[str, ArrayMetadata]], Metadata]) -> None:
        """Write the metadata that `told` makes of the arrays, and give the folder its name.

        Raises:
            DataError: the disk is full or not writable.
        """
        self.close()
        counts = self.journal.counts
        with disk_errors(self.output):
            full = [split for split in _SPLITS if split in counts and counts[split].tokens]
            for file in self.path.glob("*.bin"):
                if file.stem not in full:
                    file.unlink()
            metadata = told({split: self._about(split) for split in full})
            write_json(self.path / PREPARED, metadata)
            os.replace(self.path, self.output)
            for name in (UNFINISHED, LOCK):
                (self.output / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the arrays."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def cut(self) -> None:
        """Cut from the arrays what the journal does not count.

        Raises:
            DataError: an array is shorter than the journal says.
        """
        for file in self.path.glob("*.bin"):
            counts = self.journal.counts.get(file.stem, Counts())
            os.truncate(file, min(counts.tokens * DTYPES[self.dtype].itemsize, file.stat().st_size))
        for split, counts in self.journal.counts.items():
            size, file = counts.tokens * DTYPES[self.dtype].itemsize, self._file(split)
            if size and (not file.is_file() or file.stat().st_size < size):
                raise DataError(
                    f"{file} is shorter than the {size} bytes that were written; remove {self.path} and "
                    "begin anew."
                )

    def _file(self, split: str) -> Path:
        return self.path / f"{split}.bin"

    def _about(self, split: str) -> ArrayMetadata:
        file, counts = self._file(split), self.journal.counts[split]
        size = file.stat().st_size
        sums = {"sha256": whole_sha256(file), "ends_sha256": ends_sha256(file)}
        return ArrayMetadata(file.name, size, **sums, counts=counts, averages=counts.averages())


@contextmanager
def begun(output: Path, dtype: str, settings: Mapping[str, Any], *, resume: bool) -> Iterator[Unfinished]:
    """A new folder under way, or the one that an earlier run left; no other process works in it meanwhile.

    A failure leaves it there to be gone on with, unless there is nothing in it yet.

    Raises:
        DataError: `output` exists, the disk is full, or another process is at work there.
        SettingsError: it was begun already, or with other settings, or (to go on) was not.
    """
    _check_places(output, resume)
    path = working_folder(output)
    with alone_in(output, path):
        unfinished = Unfinished(output, dtype, _read_journal(path, settings))
        try:
            unfinished.cut()
            unfinished.commit(unfinished.journal)  # marks the folder as ours and unfinished
            yield unfinished
        except Exception:
            if unfinished.journal.in_vain:
                shutil.rmtree(path, ignore_errors=True)
            raise
        finally:
            unfinished.close()


def _check_places(output: Path, resume: bool) -> None:
    if output.exists():
        raise SettingsError(f"{output} exists already; choose another --output, or remove it.")
    path = working_folder(output)
    if path.exists() and not resume:
        raise SettingsError(
            f"{path} holds an unfinished preparation; go on with --resume, or remove it to begin anew."
        )
    if resume and not path.exists():
        raise SettingsError(f"there is no unfinished preparation {path}; leave --resume out to begin.")


def _read_journal(path: Path, settings: Mapping[str, Any]) -> Journal:
    """Of an earlier run, if there was one and it was to do the same; else an empty one."""
    file = path / UNFINISHED
    if not file.is_file():
        if any(not entry.name.startswith(".") for entry in path.iterdir()):
            raise DataError(f"{path} holds something else than a preparation; choose another --output.")
        return Journal(settings)
    try:
        journal = from_mapping(Journal, json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file} cannot be read ({error}); remove {path} and begin anew.") from None
    before = journal.settings
    for name in [*before, *settings]:
        if before.get(name) != settings.get(name):
            raise SettingsError(
                f"the unfinished preparation in {path} was begun with {name} {before.get(name)!r}, not "
                f"{settings.get(name)!r}; give the same options, or remove it to begin anew."
            )
    return journal
