"""One array of token ids: a file of plain numbers that is mapped into memory instead of being loaded."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...registry import Registry

DTYPES: Registry[np.dtype[Any]] = Registry("dtype", {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")})
"""Numbers that arrays are made of, narrowest first."""

_END = 1 << 20
_CHUNK = 1 << 22


def narrowest(vocabulary: int) -> str:
    """Name of the narrowest dtype that holds every id below `vocabulary`."""
    return next(name for name in DTYPES if holds(name, vocabulary))


def holds(dtype: str, vocabulary: int) -> bool:
    """Whether every id below `vocabulary` is a number of that dtype."""
    return vocabulary - 1 <= int(np.iinfo(DTYPES[dtype]).max)


@dataclass(frozen=True, eq=False)
class TokenArray:
    """Ids in a file. Sent to another process, it goes as its path and is mapped there anew."""

    path: Path
    dtype: str
    size: int
    """Ids, at least one."""

    @cached_property
    def ids(self) -> NDArray[Any]:
        """All of them; only what is looked at is read from the disk."""
        return np.memmap(self.path, DTYPES[self.dtype], mode="r", shape=(self.size,))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "dtype": self.dtype, "size": self.size}

    def largest(self) -> int:
        """The largest id, read piece by piece."""
        pieces = range(0, self.size, _CHUNK)
        return max(int(self.ids[start : start + _CHUNK].max()) for start in pieces)


def whole_sha256(path: Path) -> str:
    """Of all bytes of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ends_sha256(path: Path) -> str:
    """Of the first and the last MiB of a file (of a shorter one: twice the whole), in hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_END))
        file.seek(max(0, path.stat().st_size - _END))
        digest.update(file.read(_END))
    return digest.hexdigest()
