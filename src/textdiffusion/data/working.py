"""What lies beside a file or folder until it is whole: for one process at a time, with errors of one line."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import DataError

WORKING = ".unfinished"
"""Ending of the folder in which the work lies."""
LOCK = ".lock"
"""File in it that keeps other processes out."""


def working_folder(output: Path) -> Path:
    """Where `output` lies until it is whole."""
    return output.parent / f"{output.name}{WORKING}"


@contextmanager
def alone_in(output: Path, path: Path) -> Iterator[None]:
    """Make the folder if need be, and keep other processes out of it.

    Raises:
        DataError: another process is at work there, or it cannot be made.
    """
    with disk_errors(output):
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise DataError(f"another process is at work in {path}; let it finish, or end it.") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_errors(output: Path) -> Iterator[None]:
    """Turn what goes wrong while writing into a DataError of one line."""
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"cannot write {output}: {error.strerror or error}; make room or choose a folder that is "
            "writable, and run the same command with --resume."
        ) from error


def write_whole(path: Path, pieces: Iterable[str]) -> None:
    """Write a file of text whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.writelines(pieces)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
