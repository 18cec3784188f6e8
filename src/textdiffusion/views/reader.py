"""From the frames of a batch to one text as plain data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan

from ..errors import SettingsError
from ..generation.frames import Frame
from ..shapes import Where
from .cells import MASK, Role, Snapshot
from .pieces import Decode, split_pieces
from .trace import Trace


@dataclass(frozen=True)
class TextReader:
    """Reads one text of a batch out of the frames; looking changes nothing in them."""

    row: int
    start: int
    """First column that is not padding."""
    roles: tuple[Role, ...]
    """One entry per position that is not padding."""
    decode: Decode
    """Ids to text; ids that shall not be seen become nothing."""
    mask_id: int | None
    """None where noise is random tokens; they are then shown as they stand."""
    given: tuple[str, ...] = ()
    """What was given, a piece per position of the role prompt; those left out are decoded like the others."""
    mask: str = MASK

    @classmethod
    def of_row(
        cls,
        row: int,
        *,
        editable: Where,
        valid: Where,
        decode: Decode,
        mask_id: int | None,
        given: Sequence[str] = (),
    ) -> "TextReader":
        """The reader of text `row` of a canvas; padding on both sides is left out.

        Raises:
            SettingsError: the batch has no such row, or the row is nothing but padding.
        """
        if not 0 <= row < len(editable):
            raise SettingsError(f"There is no text {row} in a batch of {len(editable)}; count from 0.")
        real = [i for i, is_real in enumerate(valid[row].tolist()) if is_real]
        if not real:
            raise SettingsError(f"Text {row} of the batch is nothing but padding; choose another one.")
        start, stop = real[0], real[-1] + 1
        free: list[bool] = editable[row, start:stop].tolist()
        roles: list[Role] = ["editable" if is_free else "prompt" for is_free in free]
        return cls(row, start, tuple(roles), decode, mask_id, tuple(given))

    def read(self, frame: Frame) -> Snapshot:
        """This reader's text as it stands in `frame`.

        Raises:
            SettingsError: the frame is of another, smaller canvas.
        """
        span = slice(self.start, self.start + len(self.roles))
        rows, columns = frame.tokens.shape
        if self.row >= rows or span.stop > columns:
            raise SettingsError(
                f"A frame of {rows} texts x {columns} positions has no text {self.row} of {span.stop}; "
                "make the reader from the canvas that these frames come from."
            )
        ids: list[int] = frame.tokens[self.row, span].tolist()
        return Snapshot(
            step=frame.step,
            tokens=tuple(ids),
            pieces=self._pieces(ids),
            settled=tuple(frame.settled[self.row, span].tolist()),
            confidence=tuple(_known(c) for c in frame.confidence[self.row, span].tolist()),
            nfe=frame.nfe,
            seconds=round(frame.seconds, 6),
        )

    def _pieces(self, ids: list[int]) -> tuple[str | None, ...]:
        decoded = split_pieces(ids, [i == self.mask_id for i in ids], self.decode)
        given = iter(self.given)
        return tuple(
            next(given, piece) if role == "prompt" else piece
            for piece, role in zip(decoded, self.roles, strict=True)
        )

    def record(self, frames: Iterable[Frame], *, model: str, sampler: str, seed: int | None) -> Trace:
        """Read all `frames` to the end and keep this text of each.

        Raises:
            SettingsError: there were no frames, or they belong to another canvas.
        """
        steps, snapshots = 0, []
        for frame in frames:
            steps = frame.steps
            snapshots.append(self.read(frame))
        if not snapshots:
            raise SettingsError("No frames to record; pass the frames of a generation from its start.")
        return Trace(model, sampler, seed, steps, self.mask, self.roles, tuple(snapshots))


def _known(confidence: float) -> float | None:
    # Six digits are more than anyone looks at and keep files small.
    return None if isnan(confidence) else float(f"{confidence:.6g}")
