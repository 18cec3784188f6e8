"""Text that condenses in the terminal, and plain lines where there is no terminal."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ..errors import SettingsError
from ..generation.frames import Frame
from .cells import Cell, Kind, Snapshot, cells_of, joined, one_line
from .layout import wrap
from .reader import TextReader

STYLES: dict[Kind, str] = {
    "prompt": "bold cyan",
    "mask": "dim",
    "new": "underline magenta",
    "settled": "none",
}
"""Bold, dim and underlined stay where NO_COLOR or the terminal takes the colours away."""

MOST_TEXTS = 4
"""Texts of a batch that are shown; the others are counted only."""


def watch(
    frames: Iterable[Frame], readers: Sequence[TextReader], console: Console, *, delay: float
) -> Iterator[Frame]:
    """Show the `readers`' texts while the frames pass through unchanged.

    At a terminal the text condenses in place; elsewhere each frame is one plain line per text. `delay` is the
    least time in seconds between two frames. Who stops early closes the iterator: the cursor then returns.

    Raises:
        SettingsError: `delay` is negative or not a number (on the call, not on the first frame).
    """
    if not (math.isfinite(delay) and delay >= 0):
        raise SettingsError(f"delay is {delay}; give seconds between two steps, 0 or more.")
    screen = _Screen(tuple(readers[:MOST_TEXTS]), len(readers))
    show = _animate if console.is_terminal and not console.is_dumb_terminal else _print_lines
    return show(frames, screen, console, delay)


def styled(cells: Sequence[Cell], width: int) -> Text:
    """Cells as coloured lines of at most `width` terminal columns."""
    text = Text(no_wrap=True)
    for number, line in enumerate(wrap(cells, width, cell_len)):
        text.append("\n" if number else "")
        for span in line:
            text.append(span.text, style="none" if span.text.isspace() else STYLES[span.kind])
    return text


@dataclass
class _Screen:
    """What is shown now; the snapshot before is kept to tell what is new."""

    readers: tuple[TextReader, ...]
    texts: int
    before: list[Snapshot | None] = field(default_factory=list)
    now: list[Snapshot] = field(default_factory=list)

    def take(self, frame: Frame) -> None:
        self.before = [*self.now] or [None] * len(self.readers)
        self.now = [reader.read(frame) for reader in self.readers]

    def cells(self, *, last: bool = False) -> list[list[Cell]]:
        return [
            cells_of(now, before, reader.roles, mask=reader.mask, last=last)
            for reader, now, before in zip(self.readers, self.now, self.before, strict=True)
        ]


def _animate(frames: Iterable[Frame], screen: _Screen, console: Console, delay: float) -> Iterator[Frame]:
    # Standard output and error stay what they are: one of them may be a file or carry JSON.
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        frame = None
        for frame in _paced(frames, delay):
            screen.take(frame)
            live.update(_picture(screen, frame, console.width, last=False), refresh=True)
            yield frame
        if frame is not None:
            live.update(_picture(screen, frame, console.width, last=True), refresh=True)


def _picture(screen: _Screen, frame: Frame, width: int, *, last: bool) -> Group:
    calls = f"{frame.nfe} network call{'' if frame.nfe == 1 else 's'}"
    header = f"Step {frame.step} / {frame.steps}   {calls}   {frame.seconds:.2f} s"
    parts = [Text(header, style="dim", no_wrap=True, overflow="ellipsis")]
    for cells in screen.cells(last=last):
        parts += [Text(""), styled(cells, width)]
    if screen.texts > len(screen.readers):
        parts += [Text(""), Text(f"and {screen.texts - len(screen.readers)} more texts", style="dim")]
    return Group(*parts)


def _print_lines(frames: Iterable[Frame], screen: _Screen, console: Console, delay: float) -> Iterator[Frame]:
    for frame in _paced(frames, delay):
        screen.take(frame)
        for number, cells in enumerate(screen.cells(), start=1):
            which = f"  text {number}/{screen.texts}" if screen.texts > 1 else ""
            console.out(f"step {frame.step}/{frame.steps}{which}  {one_line(joined(cells))}", highlight=False)
        yield frame


def _paced(frames: Iterable[Frame], delay: float) -> Iterator[Frame]:
    shown = -math.inf
    for frame in frames:
        time.sleep(max(0.0, min(delay, shown + delay - time.monotonic())))
        shown = time.monotonic()
        yield frame
