"""What commands that list something have in common."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Listing:
    """How a list is printed."""

    json: bool = False
    """Print one JSON object per line."""


def described(rows: Iterable[tuple[str, str, Sequence[str]]]) -> Table:
    """Names, each with what it is and, dim below it, further details; readable in narrow terminals."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, what, details in rows:
        table.add_row(name, Text(what))
        for detail in details:
            table.add_row("", Text(detail, style="dim"))
    return table
