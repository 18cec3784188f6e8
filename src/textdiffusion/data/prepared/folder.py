"""A folder of arrays: opened with a check, read by split, verified to the last byte when asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError, SettingsError, UnknownNameError
from ...registry import did_you_mean
from ..files import PREPARED, UNFINISHED
from ..working import WORKING, working_folder
from .arrays import DTYPES, TokenArray, ends_sha256, holds, whole_sha256
from .kinds import KINDS, ArrayRows
from .metadata import ArrayMetadata, Metadata, read_metadata

TOKENIZER = "tokenizer"
"""Folder inside that holds a copy of the tokenizer."""
HELD_OUT = ("validation", "test")
"""Splits to measure on, best first."""


@dataclass(frozen=True)
class PreparedFolder:
    """A folder that was opened."""

    path: Path
    metadata: Metadata

    def split(self, name: str) -> "PreparedSplit":
        """One of its splits.

        Raises:
            DataError: it has no such split.
        """
        if name not in self.metadata.arrays:
            known = ", ".join(self.metadata.arrays)
            near = did_you_mean(name, self.metadata.arrays)
            raise DataError(f"{self.path} has no split {name!r}.{near} It has: {known}.")
        return PreparedSplit(self, name)

    def held_out(self) -> "PreparedSplit | None":
        """The split to measure on: validation, else test, else none."""
        return next((self.split(name) for name in HELD_OUT if name in self.metadata.arrays), None)

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer that made the ids."""
        return self.path / TOKENIZER

    def verify(self) -> None:
        """Read every byte.

        Raises:
            DataError: an array is not what was written, or holds ids that the tokenizer does not know.
        """
        for name, about in self.metadata.arrays.items():
            file = self.path / about.file
            if whole_sha256(file) != about.sha256:
                raise DataError(f"{file} is not what was written: its sha256 differs; {_AGAIN}")
            largest = self.split(name).array.largest()
            if largest >= self.metadata.tokenizer.size:
                raise _strange_id(file, largest, self.metadata)


@dataclass(frozen=True)
class PreparedSplit:
    """One array of a folder."""

    folder: PreparedFolder
    name: str

    @property
    def about(self) -> ArrayMetadata:
        """What the folder says of it."""
        return self.folder.metadata.arrays[self.name]

    @property
    def array(self) -> TokenArray:
        """Its ids."""
        path, dtype = self.folder.path / self.about.file, self.folder.metadata.dtype
        return TokenArray(path, dtype, self.about.bytes // DTYPES[dtype].itemsize)

    def rows(self, length: int | None = None, *, whole: bool = False) -> ArrayRows:
        """Rows of at most `length` tokens, to train on; of packed documents, windows of just that length.

        Rows of one document each come without their padding unless `whole`; they have their own length, which
        is taken when none is given.

        Raises:
            SettingsError: the folder's rows are longer.
        """
        told = self.folder.metadata
        wanted = (told.length or _WINDOW) if length is None else length
        kind = KINDS[told.kind]
        return kind.rows(self.array, told.length, wanted, told.tokenizer, whole=whole)

    def samples(self, seed: int) -> Iterator[tuple[int, list[int]]]:
        """Rows with their numbers, each once, in an order that the seed decides; windows have 64 tokens."""
        rows, generator = self.rows(), np.random.default_rng(seed)
        seen = set[int]()
        while len(seen) < len(rows):
            index = int(generator.integers(len(rows)))
            if index not in seen:
                seen.add(index)
                yield index, rows[index]["input_ids"]


_WINDOW = 64
_AGAIN = "copy or prepare the folder again."


def is_prepared(source: str) -> bool:
    """Whether this is a folder of arrays, finished or not, instead of text."""
    path = Path(source).expanduser()
    if not path.exists():
        return working_folder(path).is_dir()
    return (path / PREPARED).is_file() or (path / UNFINISHED).is_file()


def open_prepared(source: str) -> PreparedFolder:
    """The folder, after a check of what can be checked at once: sizes, the ends of each array, and its ids.

    Raises:
        DataError: it is not there, unfinished, foreign, cut short, changed, or of another version.
    """
    path = Path(source).expanduser()
    begun = (path / UNFINISHED).is_file() or working_folder(path).is_dir()
    if begun and not (path / PREPARED).is_file():
        raise DataError(
            f"the preparation of {str(path).removesuffix(WORKING)} is unfinished; run its command again "
            "with --resume."
        )
    if not path.is_dir():
        raise DataError(f"there is no folder {str(path)!r}; `textdiffusion data prepare` makes one.")
    folder = PreparedFolder(path, read_metadata(path))
    _check_names(folder)
    for about in folder.metadata.arrays.values():
        _check_array(path / about.file, about, folder.metadata)
    return folder


def _check_names(folder: PreparedFolder) -> None:
    told = folder.metadata
    try:
        KINDS[told.kind].check(told.length, told.tokenizer)
        DTYPES[told.dtype]
    except (SettingsError, UnknownNameError) as error:
        raise DataError(f"{folder.path / PREPARED} is damaged ({error}); {_AGAIN}") from None
    if not told.arrays:
        raise DataError(f"{folder.path / PREPARED} names no array; {_AGAIN}")
    if not holds(told.dtype, told.tokenizer.size):
        raise DataError(
            f"{folder.path}: a {told.dtype} cannot hold the {told.tokenizer.size} ids of the tokenizer "
            f"{told.tokenizer.name}; {_AGAIN}"
        )


def _check_array(file: Path, about: ArrayMetadata, told: Metadata) -> None:
    """What can be seen of one array without reading it whole."""
    size = file.stat().st_size if file.is_file() else None
    if size is None:
        raise DataError(f"{file} is missing; {_AGAIN}")
    if size != about.bytes or not size or size % DTYPES[told.dtype].itemsize:
        raise DataError(
            f"{file} has {size} bytes instead of {about.bytes}: it was cut short or changed; {_AGAIN}"
        )
    if ends_sha256(file) != about.ends_sha256:
        raise DataError(f"{file} is not what was written: its first or last MiB differs; {_AGAIN}")
    if about.counts.largest_id >= told.tokenizer.size:
        raise _strange_id(file, about.counts.largest_id, told)


def _strange_id(file: Path, largest: int, told: Metadata) -> DataError:
    return DataError(
        f"{file} holds id {largest}, but the tokenizer {told.tokenizer.name} has {told.tokenizer.size} "
        f"tokens: they do not belong together; {_AGAIN}"
    )
