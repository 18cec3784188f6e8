"""`textdiffusion data prepare`: from text to a folder of arrays that trainings read from the disk."""

import copy
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.status import Status

from ...checkpoint import load_tokenizer
from ...data.prepared import Plan, PreparedFolder, Progress, Tokenising, Vocabulary, prepare
from ...errors import SettingsError
from ...tokens import TextFormat, add_mask
from ..flags import TEXT, Parser, build, own
from ..quiet import quiet_libraries
from .figures import arrays_table

SECONDS = 10.0
"""Between two lines of progress where standard error is no terminal."""


@dataclass(frozen=True)
class Work:
    """How a plan is carried out; none of it changes the arrays, but for the tokenizer."""

    output: Path = Path("prepared")
    """Folder for the arrays; it must not exist."""
    tokenizer: str = ""
    """Model folder, Hub id or `starter`: the tokenizer of the model that will be trained."""
    workers: int = 1
    """Processes that tokenise."""
    engine: str = "local"
    """local, or ray: Ray Data, for corpora beyond one machine (an extra: textdiffusion[ray])."""
    resume: bool = False
    """Go on with a preparation that was interrupted; give the same options."""


def run(prog: str, argv: Sequence[str]) -> int:
    """Prepare the text that `argv` names."""
    about = "Turn text into arrays of token ids: a file, a folder of splits, or a data set of the Hub."
    parser = Parser(prog, about, takes="SOURCE")
    parser.add_fields(Work)
    parser.add_fields(Plan, title="what is prepared, and how", skip={"source"})
    given = parser.read(argv)
    work, source = build(Work, given), {"source": given[TEXT]} if TEXT in given else {}
    plan = build(Plan, {**own(Plan, given), **source})
    if not work.tokenizer:
        raise SettingsError("no tokenizer; give the one of your model with --tokenizer FOLDER or HUB_ID.")
    quiet_libraries()
    notes = Console(stderr=True, highlight=False)
    with _shown(notes) as shown:
        try:
            folder = prepare(
                plan,
                work.output,
                tokenising(work.tokenizer),
                engine=work.engine,
                workers=work.workers,
                resume=work.resume,
                command=shlex.join([*prog.split(), *argv]),
                watch=shown.watch,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command with --resume goes on.") from None
    _report(folder, notes)
    return 0


def tokenising(name: str) -> Tokenising:
    """A tokenizer by its folder or Hub id. It needs no mask, as none stands in the arrays.

    Raises:
        CheckpointError: it is not there, or cannot be read.
    """
    tokenizer = load_tokenizer(name)
    masked = copy.deepcopy(tokenizer)
    add_mask(masked)
    found = TextFormat.of(masked)
    vocabulary = Vocabulary(
        name, found.fingerprint(), len(tokenizer), found.begin_id, found.end_id, found.pad_id
    )
    return Tokenising(vocabulary, found.document, tokenizer.save_pretrained)


def _report(folder: PreparedFolder, notes: Console) -> None:
    notes.print(arrays_table(folder))
    if folder.held_out() is None:
        notes.print("no split to test on: training will hold back a share of its rows.")
    print(f"The arrays are in {folder.path}. Look into them, and train on them:")
    print(f"  textdiffusion data inspect {shlex.quote(str(folder.path))}")
    print(f"  textdiffusion train --data {shlex.quote(str(folder.path))}")


@dataclass
class _Shown:
    """How far the work is, as a line that changes at a terminal, and elsewhere as one every few seconds."""

    notes: Console
    status: Status | None
    began: dict[str, tuple[float, Progress]] = field(default_factory=dict)
    """When the first news of each split came, and what it was: a resumed run did not do all of it."""
    told: float = field(default_factory=time.monotonic)

    def watch(self, progress: Progress) -> None:
        """Show the news."""
        now = time.monotonic()
        since, first = self.began.setdefault(progress.split, (now, progress))
        line = said(progress, first, now - since)
        if self.status is not None:
            self.status.update(line)
        elif now - self.told >= SECONDS:
            self.told = now
            self.notes.print(line, markup=False, soft_wrap=True)


@contextmanager
def _shown(notes: Console) -> Iterator[_Shown]:
    if not notes.is_terminal:
        yield _Shown(notes, None)
        return
    with notes.status("reading") as status:
        yield _Shown(notes, status)


def said(progress: Progress, first: Progress, seconds: float) -> str:
    """A line about the progress made in so many seconds since the `first` news."""
    line = f"{progress.split}: {progress.documents:,} documents, {progress.tokens:,} tokens"
    if seconds <= 0.0:
        return line
    line += f", {round((progress.tokens - first.tokens) / seconds):,} tokens/s"
    if progress.share is None or first.share is None or progress.share <= first.share:
        return line
    left = (1.0 - progress.share) / (progress.share - first.share) * seconds
    return f"{line}, {progress.share:.0%}, {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
