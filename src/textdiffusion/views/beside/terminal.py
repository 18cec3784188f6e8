"""Several texts in the terminal, replayed on their common clock; plain lines where there is no terminal."""

import time

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..cells import joined, one_line
from ..layout import wrap
from ..terminal import styled
from .comparison import Comparison, Contestant, Moment

TICK = 1 / 30
"""Seconds between two pictures at least."""
NARROWEST = 52
"""Columns of a text that may stand beside another."""
_GAP = 3


def replay(comparison: Comparison, console: Console) -> None:
    """Show every change when it came.

    At a terminal the texts condense in place, side by side where there is room; elsewhere each change is one
    plain line, and nobody is kept waiting.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        _animate(comparison, console)
    else:
        _print_lines(comparison, console)


def _animate(comparison: Comparison, console: Console) -> None:
    begin = time.monotonic()
    # Standard output and error stay what they are: one of them may be a file or carry JSON.
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        for moment in comparison.moments(TICK):
            time.sleep(max(0.0, begin + moment.tick * TICK - time.monotonic()))
            live.update(_picture(comparison, moment, console.width), refresh=True)


def _picture(comparison: Comparison, moment: Moment, width: int) -> RenderableType:
    indices, number = moment.indices, len(comparison.contestants)
    column = (width - _GAP * (number - 1)) // number
    note = Text(comparison.clock(moment.tick * TICK * comparison.speed), style="dim")
    if column < NARROWEST:
        columns = [_column(c, i, width) for c, i in zip(comparison.contestants, indices, strict=True)]
        return Group(*(part for each in columns for part in (each, Text(""))), note)
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for _ in range(number):
        table.add_column(width=column, no_wrap=True)
    table.add_row(*(_column(c, i, column) for c, i in zip(comparison.contestants, indices, strict=True)))
    return Group(table, Text(""), note)


def _column(contestant: Contestant, index: int, width: int) -> Group:
    """A text below its label; as high as it will be when it is finished, so that nothing jumps."""
    text = styled(contestant.trace.cells(index), width)
    tallest = len(wrap(contestant.trace.cells(len(contestant.times) - 1), width, cell_len))
    text.append("\n" * max(0, tallest - len(text.plain.split("\n"))))
    return Group(
        Text(contestant.label, style="bold", no_wrap=True, overflow="ellipsis"),
        Text(contestant.state(index), style="dim", no_wrap=True, overflow="ellipsis"),
        Text(""),
        text,
    )


def _print_lines(comparison: Comparison, console: Console) -> None:
    changes = sorted(
        (seconds, number, index)
        for number, contestant in enumerate(comparison.contestants)
        for index, seconds in enumerate(contestant.times)
    )
    for seconds, number, index in changes:
        contestant = comparison.contestants[number]
        shot, text = contestant.trace.snapshots[index], joined(contestant.trace.cells(index))
        where = f"{contestant.unit.lower()} {shot.step}/{contestant.trace.steps}"
        console.out(f"{seconds:.3f} s  {contestant.label}  {where}  {one_line(text)}", highlight=False)
