"""The one drawing policy: how a moment of a text becomes coloured cells, the same in every view."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

MASK = "__"
"""How a place that is still noise is shown."""

Kind = Literal["prompt", "mask", "new", "settled"]
"""prompt: given. mask: still noise. new: written or rewritten in this step. settled: written before."""

_WRITTEN: frozenset[Kind] = frozenset(("new", "settled"))
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

Role = Literal["prompt", "editable"]
"""Whether a position was given or is there to be written."""


@dataclass(frozen=True)
class Cell:
    """One position of the text as it is shown; the texts of all cells in a row are the whole text."""

    text: str
    kind: Kind
    confidence: float | None = None
    """Probability of the written token when it settled, in [0, 1]; None where none was read."""


@dataclass(frozen=True)
class Snapshot:
    """One text after one step, as plain data; all tuples have one entry per position."""

    step: int
    tokens: tuple[int, ...]
    pieces: tuple[str | None, ...]
    """What each token adds to the text; None where a mask stands."""
    settled: tuple[bool, ...]
    confidence: tuple[float | None, ...]
    nfe: int
    seconds: float


def cells_of(
    now: Snapshot, before: Snapshot | None, roles: Sequence[Role], *, mask: str = MASK, last: bool = False
) -> list[Cell]:
    """One cell per position of `now`.

    `before` is the snapshot one step earlier, None for the first. In the `last` snapshot nothing is new any
    more; a mask that is left stays a mask. A mask is set off by a space from a word or mask before it.
    """
    cells: list[Cell] = []
    apart = True
    for i, role in enumerate(roles):
        kind: Kind = "prompt" if role == "prompt" else _kind(i, now, before, last)
        piece = now.pieces[i]
        text = piece if piece is not None else (mask if apart else f" {mask}")
        cells.append(Cell(text, kind, now.confidence[i] if kind in _WRITTEN else None))
        apart = text[-1].isspace() or is_wide(text[-1]) if text else apart
    return cells


def masked_cells(pieces: Sequence[str], masked: Sequence[bool], *, prefix: int) -> list[Cell]:
    """Cells of a finished text with some places masked; the first `prefix` pieces count as a prompt."""
    shown = tuple(None if hidden else piece for piece, hidden in zip(pieces, masked, strict=True))
    size = len(shown)
    now = Snapshot(0, (0,) * size, shown, tuple(not hidden for hidden in masked), (None,) * size, 0, 0.0)
    roles: list[Role] = ["prompt" if i < prefix else "editable" for i in range(size)]
    return cells_of(now, None, roles)


def joined(cells: Iterable[Cell]) -> str:
    """The text that the cells show."""
    return "".join(cell.text for cell in cells)


def visible(text: str) -> str:
    r"""`text` with control characters written out, so that generated text can never steer a terminal.

    Newlines and tabs stay; a carriage return is shown as ``\r``, an escape as ``\x1b``. Characters that turn
    the direction of writing are written out too.
    """
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or not _steers(c) else _written_out(c) for c in text)


def one_line(text: str) -> str:
    """`text` on one line: as `visible`, and newlines and tabs are written out too."""
    return "".join(_written_out(c) if _steers(c) or _breaks(c) else c for c in text)


def is_wide(character: str) -> bool:
    """Whether it takes two columns of a terminal, as Chinese does, where no spaces part the words."""
    return unicodedata.east_asian_width(character) in "WF"


def _kind(i: int, now: Snapshot, before: Snapshot | None, last: bool) -> Kind:
    if now.pieces[i] is None or not now.settled[i]:
        return "mask"
    if last or before is None:
        return "settled"
    changed = before.tokens[i] != now.tokens[i] or _core(before.pieces[i]) != _core(now.pieces[i])
    return "new" if changed or not before.settled[i] else "settled"


def _core(piece: str | None) -> str | None:
    # The space before a word comes and goes with its neighbours; that alone is no change.
    return piece if piece is None else piece.strip()


def _steers(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") or character in _TURNS


def _breaks(character: str) -> bool:
    return unicodedata.category(character) in ("Zl", "Zp")


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
