"""Writing a file whole or not at all, by a writer that its ending names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from ..errors import DataError, SettingsError

Writer = TypeVar("Writer")


def writer_for(path: Path, table: Mapping[str, Writer]) -> Writer:
    """The writer that the ending of `path` has in the table; ask before there is anything to write.

    Raises:
        SettingsError: nothing is written in files of that ending.
        DataError: the folder does not exist.
    """
    if path.suffix.lower() not in table:
        raise SettingsError(f"Cannot save {path.name!r}: the file must end in {', '.join(table)}.")
    if not path.parent.is_dir():
        raise DataError(f"There is no folder {path.parent} to save {path.name} in; make it first.")
    return table[path.suffix.lower()]


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then rename: readers see the old file or the new one, never half of it.

    Raises:
        DataError: the folder is missing or not writable, or the disk is full.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        where = "Give a file in a folder that exists and is writable."
        raise DataError(f"Cannot write {path}: {error.strerror}. {where}") from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
