"""Writing a file whole or not at all."""

import os
from pathlib import Path

from ..errors import DataError


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
