"""What stays visible of a text at several mask levels (``textdiffusion explore masking``)."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from ..errors import SettingsError
from .cells import Cell, joined, masked_cells, one_line
from .terminal import styled

SHARES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.1)
"""Mask levels shown without a prefix."""
PREFIXES = (0, 3, 5, 10)
"""Prefix lengths in tokens shown at `PREFIX_SHARE`."""
PREFIX_SHARE = 0.8


@dataclass(frozen=True)
class Masking:
    """One way in which a text was masked."""

    share: float
    """Chance of each position behind the prefix to be masked, in [0, 1]."""
    prefix: int
    """Tokens at the beginning that are never masked."""
    masked: tuple[bool, ...]
    """One entry per token; True where a mask stands."""

    def __post_init__(self) -> None:
        """Check that the prefix was spared."""
        if any(self.masked[: self.prefix]):
            raise SettingsError(f"Part of a prefix of {self.prefix} tokens is masked; spare all of it.")

    @property
    def label(self) -> str:
        """E.g. ``80 %, prefix 3``."""
        return f"{self.share:.0%}".replace("%", " %") + (f", prefix {self.prefix}" if self.prefix else "")

    @property
    def count(self) -> str:
        """E.g. ``12 of 15``."""
        return f"{sum(self.masked)} of {len(self.masked)}"

    def cells(self, pieces: Sequence[str]) -> list[Cell]:
        """The text as every view shows it, the prefix as a prompt."""
        if len(pieces) != len(self.masked):
            raise SettingsError(f"{len(pieces)} pieces of text were given for {len(self.masked)} mask flags.")
        return masked_cells(pieces, self.masked, prefix=self.prefix)


def masking_lines(pieces: Sequence[str], maskings: Sequence[Masking]) -> list[str]:
    """One plain line per masking: level, number of masks, visible text with every mask shown."""
    label = max((len(m.label) for m in maskings), default=0)
    count = max((len(m.count) for m in maskings), default=0)
    return [f"{m.label:<{label}}  {m.count:>{count}}  {one_line(joined(m.cells(pieces)))}" for m in maskings]


def masking_table(pieces: Sequence[str], maskings: Sequence[Masking], width: int) -> Table:
    """The same in colours, for a terminal of `width` columns."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("level", no_wrap=True)
    table.add_column("masked", justify="right", no_wrap=True)
    table.add_column("text")
    taken = max([len("level"), *(len(m.label) for m in maskings)]) + max(
        [len("masked"), *(len(m.count) for m in maskings)]
    )
    for masking in maskings:
        text = styled(masking.cells(pieces), max(20, width - taken - 8))
        table.add_row(masking.label, masking.count, text)
    return table
