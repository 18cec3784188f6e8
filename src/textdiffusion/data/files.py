"""One file of text, plain or compressed: its bytes, and its lines with their numbers."""

import gzip
import io
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from ..errors import DataError

COMPRESSIONS = (".xz", ".gz", ".zst")
"""Endings of compressed files."""

PREPARED, UNFINISHED = "prepared.json", "unfinished.json"
"""Either stands in a folder of token ids (see `prepared`), which is no text."""

_CHUNK = 1 << 16


class ZstdReader(io.RawIOBase):
    """The unpacked bytes of a .zst file of one or more frames; a frame that is cut short is an error."""

    def __init__(self, path: Path) -> None:
        """Open `path` for reading."""
        self._file = path.open("rb")
        try:
            import zstandard
        except ImportError as error:
            self._file.close()
            raise DataError(
                f"{path} is packed with zstd, which needs an extra package: "
                "pip install 'textdiffusion[zstd]', or unpack the file first."
            ) from error
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._damage = zstandard.ZstdError
        self._path = path
        self._frame = self._new_frame()
        self._inside = False
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Close the packed file too."""
        self._file.close()
        super().close()

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` as far as one packed chunk goes; 0 at the end.

        Raises:
            EOFError: the last frame is not finished.
            DataError: the bytes are not zstd.
        """
        target = memoryview(buffer).cast("B")
        while not self._ready:
            packed = self._file.read(_CHUNK)
            if not packed:
                if self._inside:
                    raise EOFError(str(self._path))
                return 0
            self._ready = memoryview(self._unpack(packed))
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _unpack(self, packed: bytes) -> bytes:
        """Unpack a chunk, which may end one frame and begin the next."""
        pieces = []
        try:
            while packed:
                self._inside = True
                pieces.append(self._frame.decompress(packed))
                packed = b""
                if self._frame.eof:
                    packed = self._frame.unused_data
                    self._frame, self._inside = self._new_frame(), False
        except self._damage as error:
            raise DataError(_damaged(self._path)) from error
        return b"".join(pieces)


def _damaged(path: Path) -> str:
    """The message about a packed file that does not unpack."""
    return f"{path} is damaged or not really {path.suffix}: it does not unpack; fetch or pack it again."


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading `path` into a DataError of one line."""
    try:
        yield
    except DataError:
        raise
    except EOFError as error:
        raise DataError(
            f"{path} is cut short: its {path.suffix} data ends too early; fetch or pack it again."
        ) from error
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(_damaged(path)) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); check the file and its rights."
        ) from error


def open_bytes(path: Path) -> io.BufferedIOBase:
    """Open `path` for reading its bytes, unpacked if its name ends in one of `COMPRESSIONS`."""
    match path.suffix.lower():
        case ".xz":
            return lzma.open(path, "rb")
        case ".gz":
            return gzip.open(path, "rb")
        case ".zst":
            return io.BufferedReader(ZstdReader(path), _CHUNK)
    return path.open("rb")


def open_seekable(path: Path) -> io.BufferedIOBase:
    """As `open_bytes`, but cheap to jump about in: a packed file is unpacked into a temporary one."""
    opened = open_bytes(path)
    if path.suffix.lower() not in COMPRESSIONS:
        return opened
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller, and gone with it
    with opened:
        shutil.copyfileobj(opened, unpacked)
    unpacked.seek(0)
    return cast(io.BufferedIOBase, unpacked)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Number (from 1) and text of each line, without its line end; one line is in memory at a time.

    Only \n and \r\n end a line: U+2028 and its like are text. A byte-order mark is dropped.

    Raises:
        DataError: the file cannot be read or unpacked, or a line is not UTF-8.
    """
    with file_errors(path), open_bytes(path) as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {number}: byte 0x{raw[error.start]:02x} is not UTF-8; "
                    "save the file as UTF-8, e.g. with iconv -f GB18030 -t UTF-8."
                ) from error
            yield number, line.removesuffix("\n").removesuffix("\r")
