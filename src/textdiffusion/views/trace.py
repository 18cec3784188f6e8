"""A recorded text: every step as plain data that is saved, loaded and drawn without a model."""

import json
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DataError
from .cells import Cell, Role, Snapshot, cells_of, joined
from .files import write_whole

FORMAT = "textdiffusion trace"
VERSION = 1

T = TypeVar("T")


@dataclass(frozen=True)
class Trace:
    """How one text condensed: who made it, which positions were given, and a snapshot per step."""

    model: str
    sampler: str
    seed: int | None
    steps: int
    """Steps planned in all; there may be fewer or more snapshots where a sampler sets its own pace."""
    mask: str
    """How a place that is still noise is shown."""
    roles: tuple[Role, ...]
    """One entry per position; padding is not part of a trace."""
    snapshots: tuple[Snapshot, ...]
    """The first is the noise before the first network call."""

    @property
    def text(self) -> str:
        """The finished text, prompt included."""
        return joined(self.cells(len(self.snapshots) - 1))

    def cells(self, index: int) -> list[Cell]:
        """Snapshot `index` (from 0) as every view shows it."""
        before = self.snapshots[index - 1] if index else None
        last = index == len(self.snapshots) - 1
        return cells_of(self.snapshots[index], before, self.roles, mask=self.mask, last=last)

    def title(self, index: int) -> str:
        """``Step i / N`` of snapshot `index` (from 0)."""
        return f"Step {self.snapshots[index].step} / {self.steps}"

    def written_at(self) -> list[list[int | None]]:
        """Per snapshot and position the step that wrote the token there; None for prompt and noise."""
        table: list[list[int | None]] = []
        for index, now in enumerate(self.snapshots):
            row: list[int | None] = []
            for i, role in enumerate(self.roles):
                since = table[-1][i] if index else None
                if role == "prompt" or not now.settled[i] or now.pieces[i] is None:
                    row.append(None)
                elif since is not None and self.snapshots[index - 1].tokens[i] == now.tokens[i]:
                    row.append(since)
                else:
                    row.append(now.step)
            table.append(row)
        return table

    def save(self, path: Path) -> None:
        """Write the trace as JSON, whole or not at all; `load` reads it back equal in every field.

        Raises:
            DataError: the folder is missing or not writable.
        """
        write_whole(path, json.dumps(_plain(self), ensure_ascii=False, separators=(",", ":")).encode())

    @classmethod
    def load(cls, path: Path) -> "Trace":
        """Read what `save` wrote.

        Raises:
            DataError: there is no such file, or it is foreign, truncated or of a newer version.
        """
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"Cannot read {path}: {error.strerror}.") from error
        except ValueError as error:
            raise DataError(f"{path} is not whole JSON; give a file that --save FILE.json wrote.") from error
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            raise DataError(f"{path} is not a {FORMAT}; give a file that --save FILE.json wrote.")
        if plain.get("version") != VERSION:
            given = plain.get("version")
            raise DataError(f"{path} is version {given!r}, this program reads {VERSION}; upgrade it.")
        try:
            return _trace(plain)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is a damaged {FORMAT} ({error}); save it again.") from error


def _plain(trace: Trace) -> dict[str, Any]:
    table = {piece: i for i, piece in enumerate(dict.fromkeys(p for s in trace.snapshots for p in s.pieces))}
    # No piece at all (a mask) is null in the table, so that each frame is a list of numbers alone.
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": trace.model,
        "sampler": trace.sampler,
        "seed": trace.seed,
        "steps": trace.steps,
        "mask": trace.mask,
        "roles": list(trace.roles),
        "pieces": list(table),
        "frames": [
            {
                "step": s.step,
                "nfe": s.nfe,
                "seconds": s.seconds,
                "tokens": list(s.tokens),
                "pieces": [table[p] for p in s.pieces],
                "settled": [int(is_settled) for is_settled in s.settled],
                "confidence": list(s.confidence),
            }
            for s in trace.snapshots
        ],
    }


def _trace(plain: dict[str, Any]) -> Trace:
    roles = tuple(_role(r) for r in _list(plain["roles"]))
    pieces = [None if p is None else _typed(p, str) for p in _list(plain["pieces"])]
    snapshots = tuple(_snapshot(_typed(frame, dict), pieces, len(roles)) for frame in _list(plain["frames"]))
    if not snapshots:
        raise ValueError("it has no frames")
    return Trace(
        model=_typed(plain["model"], str),
        sampler=_typed(plain["sampler"], str),
        seed=None if plain["seed"] is None else _typed(plain["seed"], int),
        steps=_typed(plain["steps"], int),
        mask=_typed(plain["mask"], str),
        roles=roles,
        snapshots=snapshots,
    )


def _snapshot(frame: dict[str, Any], pieces: list[str | None], length: int) -> Snapshot:
    def column(name: str) -> list[Any]:
        values = _list(frame[name])
        if len(values) != length:
            raise ValueError(f"{name} has {len(values)} entries for {length} positions")
        return values

    return Snapshot(
        step=_typed(frame["step"], int),
        tokens=tuple(_typed(t, int) for t in column("tokens")),
        pieces=tuple(pieces[_index(p, len(pieces))] for p in column("pieces")),
        settled=tuple(bool(_typed(s, int)) for s in column("settled")),
        confidence=tuple(None if c is None else _number(c) for c in column("confidence")),
        nfe=_typed(frame["nfe"], int),
        seconds=_number(frame["seconds"]),
    )


def _typed(value: Any, kind: type[T]) -> T:
    # Exact types: in JSON's eyes true is not 1 and 1 is not "1".
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} stands where {kind.__name__} belongs")
    return value


def _list(value: Any) -> list[Any]:
    return _typed(value, list)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not isfinite(value):
        raise TypeError(f"{value!r:.40} stands where a number belongs")
    return float(value)


def _index(value: Any, size: int) -> int:
    index = _typed(value, int)
    if not 0 <= index < size:
        raise ValueError(f"piece {index} of {size}")
    return index


def _role(value: Any) -> Role:
    if value == "prompt":
        return "prompt"
    if value == "editable":
        return "editable"
    raise ValueError(f"role {value!r:.40}")
