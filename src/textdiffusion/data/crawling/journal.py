"""The folder of a crawl under way: the poems so far, and a journal of the pages whose poems count."""

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import DataError, SettingsError
from ...settings import from_mapping, to_mapping
from ..working import alone_in, disk_errors, working_folder
from .reading import Poem

POEMS, JOURNAL = "poems.jsonl", "pages.jsonl"
"""The two files of the folder; a line of the journal is written when the disk has the poems of its page."""
_VERSION = 1


@dataclass(frozen=True)
class Target:
    """A page to visit."""

    url: str
    author: str | None = None
    """Whose page it is; None for an index."""


@dataclass(frozen=True)
class Visit:
    """What became of a page."""

    target: Target
    final: str = ""
    """Where it was in the end, behind all redirections."""
    skipped: str = ""
    """Why nothing was taken from it; empty when it was read."""
    failed: bool = False
    """Whether it was skipped and another visit may go better."""
    poems: int = 0
    off_site: int = 0
    """Links that led to other hosts."""
    targets: tuple[Target, ...] = ()
    """Pages that it led to."""
    size: int = 0
    """Bytes of all poems up to and with its own."""


class UnfinishedCrawl:
    """The poems and the journal; see `begun`."""

    def __init__(self, output: Path, settings: Mapping[str, Any]) -> None:
        """Take up the work for `output` where the journal stands, and cut off what it does not count.

        Raises:
            DataError: the files cannot be read or written, or do not belong together.
            SettingsError: it was begun with other settings.
        """
        self.output, self.path = output, working_folder(output)
        self._files: dict[str, io.FileIO] = {}
        with disk_errors(output):
            self.visits = self._read_journal(settings)
            self.left_over = bool(self.visits) and output.exists() and not (self.path / POEMS).exists()
            if not self.left_over:
                self._cut_poems()

    @property
    def size(self) -> int:
        """Bytes of the poems that count."""
        return self.visits[-1].size if self.visits else 0

    def add(self, visit: Visit, poems: Sequence[Poem] = ()) -> Visit:
        """Append the poems of a page, and then the visit, each when the disk has what came before.

        Raises:
            DataError: the disk is full or not writable.
        """
        lines = "".join(_line(to_mapping(poem)) for poem in poems).encode()
        visit = replace(visit, poems=len(poems), size=self.size + len(lines))
        with disk_errors(self.output):
            if lines:
                self._append(POEMS, lines)
            self._append(JOURNAL, _line(to_mapping(visit)).encode())
        self.visits.append(visit)
        return visit

    def finish(self) -> None:
        """Give the poems their name, and remove the folder.

        Raises:
            DataError: the disk is not writable.
        """
        self.close()
        with disk_errors(self.output):
            if not self.left_over:  # else a run was ended between the two lines below
                os.replace(self.path / POEMS, self.output)
            shutil.rmtree(self.path)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _append(self, name: str, content: bytes) -> None:
        """Write to the end of a file, and wait until the disk has it."""
        if name not in self._files:
            self._files[name] = io.FileIO(self.path / name, "a")
        file, left = self._files[name], content
        while left:  # a disk that fills up may take a part
            left = left[file.write(left) :]
        os.fsync(file.fileno())

    def _cut_poems(self) -> None:
        """Cut off poems of a page that is not in the journal, and of any that was cut short itself."""
        file = self.path / POEMS
        file.touch()
        if file.stat().st_size < self.size:
            raise DataError(
                f"{file} is shorter than the {self.size} bytes that were written; remove {self.path} and "
                "begin anew."
            )
        os.truncate(file, self.size)

    def _read_journal(self, settings: Mapping[str, Any]) -> list[Visit]:
        """The visits that are whole; a line that was cut short goes."""
        file = self.path / JOURNAL
        raw = file.read_bytes() if file.exists() else b""
        kept = raw[: raw.rfind(b"\n") + 1]
        lines = kept.split(b"\n")[:-1]
        if not lines:
            if raw:
                os.truncate(file, 0)
            self._append(JOURNAL, _line({"version": _VERSION, "settings": settings}).encode())
            return []
        if len(kept) < len(raw):
            os.truncate(file, len(kept))
        try:
            header, *visits = [json.loads(line) for line in lines]
            before = header["settings"] if header["version"] == _VERSION else {}
            found = [from_mapping(Visit, visit) for visit in visits]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{file} cannot be read ({error}); remove {self.path} and begin anew.") from None
        for name in [*before, *settings]:
            if before.get(name) != settings.get(name):
                raise SettingsError(
                    f"the unfinished crawl in {self.path} was begun with {name} {before.get(name)!r}, not "
                    f"{settings.get(name)!r}; give the same options, or remove it to begin anew."
                )
        return found


@contextmanager
def begun(output: Path, settings: Mapping[str, Any], *, resume: bool) -> Iterator[UnfinishedCrawl]:
    """A new crawl for the file `output`, or the one that an earlier run left; alone in its folder.

    A failure leaves the folder there to be gone on with, unless no page was visited yet.

    Raises:
        DataError: it cannot be written, or another process is at work there.
        SettingsError: it is there already, or was begun with other settings, or (to go on) was not begun.
    """
    path = working_folder(output)
    _check_places(output, path, resume)
    with alone_in(output, path):
        work = UnfinishedCrawl(output, settings)
        try:
            yield work
        except Exception:
            if not work.visits:
                work.close()
                shutil.rmtree(path, ignore_errors=True)
            raise
        finally:
            work.close()


def _check_places(output: Path, path: Path, resume: bool) -> None:
    if output.exists() and not (resume and path.exists()):
        raise SettingsError(f"{output} exists already; choose another --output, or remove it.")
    if path.exists() and not resume:
        raise SettingsError(
            f"{path} holds an unfinished crawl; go on with --resume, or remove it to begin anew."
        )
    if resume and not path.exists():
        raise SettingsError(f"there is no unfinished crawl {path}; leave --resume out to begin.")


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
