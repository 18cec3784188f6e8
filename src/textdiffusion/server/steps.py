"""A step of the denoising as a page can draw it: every token, how sure it was, and what else was likely."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from ..generation import Frame
from ..generation.frames import Likely
from ..tokens import TextFormat
from ..views.reader import TextReader


class Steps:
    """Reads the frames of one text as plain data."""

    def __init__(self, text_format: TextFormat, ids: Sequence[int], holes: Sequence[bool] | None) -> None:
        """Of given `ids` with `holes` in them, or with what is written behind them."""
        self.format, self.given, self.holes = text_format, len(ids), holes
        self.reader: TextReader | None = None

    def event(self, frame: Frame) -> dict[str, Any]:
        """The canvas after a step; the first event says besides which places were given."""
        first = self.reader is None
        reader = self.reader = self.reader or self._reader(frame.tokens.shape[1])
        now = reader.read(frame)
        written = [place for place, role in enumerate(reader.roles) if role == "editable"]
        open_places = sum(not now.settled[place] for place in written)
        found: dict[str, Any] = {
            "step": now.step,
            "steps": frame.steps,
            "noise": round(open_places / max(1, len(written)), 6),
            "nfe": now.nfe,
            "seconds": now.seconds,
            "tokens": list(now.tokens),
            "pieces": list(now.pieces),
            "settled": list(now.settled),
            "final": frame.final[0].tolist(),
            "confidence": list(now.confidence),
        }
        if first:
            found["roles"] = list(reader.roles)
        if frame.likely is not None:
            found["alternatives"] = [
                shown(frame.likely, place, self.format) for place in range(len(reader.roles))
            ]
            found["alternative_ids"] = frame.likely.ids[0].tolist()
        return found

    def _reader(self, width: int) -> TextReader:
        holes = [False] * self.given + [True] * (width - self.given) if self.holes is None else self.holes
        editable, mask = torch.tensor([list(holes)]), self.format.mask_id
        valid = torch.ones_like(editable)
        return TextReader.of_row(0, editable=editable, valid=valid, decode=self.format.decode, mask_id=mask)


def shown(likely: Likely, place: int, text_format: TextFormat) -> list[tuple[str, float]]:
    """The likeliest tokens of a place and their probabilities; none where the network was not asked."""
    ids, probabilities = likely.ids[0, place].tolist(), likely.probability[0, place].tolist()
    pairs = zip(ids, probabilities, strict=True)
    return [(text_format.decode([id]), float(f"{p:.6g}")) for id, p in pairs if not math.isnan(p)]
