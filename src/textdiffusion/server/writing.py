"""One text while it is written: what of it can no longer change, as soon as that is so."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..generation import Frame
from ..serving import Handle
from ..serving.request import Order
from ..tokens import TextFormat
from ..views.pieces import INCOMPLETE, split_pieces
from .steps import Steps, shown


@dataclass(frozen=True)
class Wanted:
    """One text that is asked for."""

    order: Order
    seed: int
    prompt: int
    """Which of the request's prompts it is for."""
    ids: Sequence[int]
    """What is given; anything in the holes."""
    holes: Sequence[bool] | None
    """Which of them are written; none, but what follows, when left out."""
    read: Callable[[Sequence[int]], str]
    """From written ids, their end left out, to the text that the client gets."""
    grows: bool = True
    """Whether the text of the first of the ids is the first part of the text."""
    strips: bool = False
    """Whether space around it is no part of it."""

    @property
    def given(self) -> int:
        """Tokens that are given."""
        return len(self.ids) - sum(self.holes or ())

    def places(self, width: int) -> list[int]:
        """Where it is written in a canvas."""
        if self.holes is None:
            return list(range(len(self.ids), width))
        return [place for place, hole in enumerate(self.holes) if hole]


@dataclass(frozen=True)
class Token:
    """A written token."""

    id: int
    piece: str
    """What it adds to the text."""
    start: int
    """Characters of the text before it."""
    confidence: float | None
    """Probability with which it was written; None where none was read."""
    likely: Sequence[tuple[str, float]]
    """Tokens that could have stood there, and how probable each was."""

    @property
    def logprob(self) -> float:
        """In nats; -9999, as JSON has no infinity, where there is none."""
        return math.log(self.confidence) if self.confidence else -9999.0


@dataclass(frozen=True)
class End:
    """How a text ended."""

    reason: str
    """stop: the text is whole, or was cut where that was asked; length: its room was full."""
    ids: Sequence[int]
    tokens: int
    """Written tokens of the text, its end left out."""
    all_ids: Sequence[int]
    """The ids of the whole canvas as they stood at last."""


@dataclass(frozen=True)
class News:
    """What has become of a text."""

    text: str = ""
    """Settled for good, behind what was before."""
    tokens: Sequence[Token] = ()
    """That begin in it, if tokens are told."""
    step: dict[str, Any] | None = None
    """The whole canvas after a step, if steps are told."""
    end: End | None = None
    """With the last news."""


@dataclass(frozen=True)
class Tells:
    """What a client wants to hear beside the text."""

    tokens: bool = False
    steps: bool = False


class Text:
    """Reads the frames of one text; the last of its news has the end."""

    def __init__(
        self, wanted: Wanted, handle: Handle, text_format: TextFormat, stops: Sequence[str], tells: Tells
    ) -> None:
        """`stops` cut the text."""
        self.wanted, self.handle, self.format, self.stops, self.tells = (
            wanted,
            handle,
            text_format,
            stops,
            tells,
        )
        self.sent = ""
        self._steps = Steps(text_format, wanted.ids, wanted.holes) if tells.steps else None

    async def news(self) -> AsyncIterator[News]:
        """The first news come when the writing begins; whoever stops listening gives the text up."""
        begun = False
        try:
            async for frame in self.handle:
                step = None if self._steps is None else self._steps.event(frame)
                ids, over = self._final(frame)
                text, stopped = self._cut(ids, whole=over)
                if (over or stopped) and self._steps is None:
                    yield self._last(ids, text, frame, whole=True)
                    return
                fresh = self._fresh(ids, text, frame)
                if step is not None or fresh.text or not begun:
                    yield replace(fresh, step=step)
                begun = True
            written = self.handle.result()[0]
            ids, frame = written.token_ids, written.frames[-1]
            text, stopped = self._cut(ids, whole=True)
            room = len(self.wanted.places(frame.tokens.shape[1]))
            whole = stopped or self.wanted.holes is not None or len(ids) < room
            yield self._last(ids, text, frame, whole=whole)
        finally:
            self.handle.cancel()

    def _final(self, frame: Frame) -> tuple[list[int], bool]:
        """The first of the written ids, as far as they stay, and whether an end of text follows them."""
        if not self.wanted.grows:
            return [], False
        places = self.wanted.places(frame.tokens.shape[1])
        stays, tokens = frame.final[0].tolist(), frame.tokens[0].tolist()
        first = next((number for number, place in enumerate(places) if not stays[place]), len(places))
        ids = [tokens[place] for place in places[:first]]
        written = ids if self.wanted.holes is not None else self.format.written(ids)
        return written, len(written) < len(ids)

    def _cut(self, ids: Sequence[int], *, whole: bool) -> tuple[str, bool]:
        """The text of some ids that can be told, and whether it ends because it was asked to.

        While it is not the whole text, what more ids may change is left out: a character that is not whole,
        space at the end that may have to go, and what may become a place to stop.
        """
        ids = ids if whole else self.format.steady(ids)
        text = self.wanted.read(ids) if ids else ""
        if self.wanted.strips:
            text = text.lstrip() if not whole else text.strip()
        found = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if found:
            text = text[: min(found)]
            return text.rstrip() if self.wanted.strips else text, True
        if whole:
            return text, False
        text = text.rstrip(INCOMPLETE)
        text = text[: len(text) - max((_begun(text, stop) for stop in self.stops), default=0)]
        return text.rstrip() if self.wanted.strips else text, False

    def _fresh(self, ids: Sequence[int], text: str, frame: Frame) -> News:
        """What is new of the text."""
        if not text.startswith(self.sent):
            return News()
        before, self.sent = len(self.sent), text
        tokens = self._tokens(ids, frame) if self.tells.tokens and len(text) > before else []
        return News(text[before:], [one for one in tokens if before <= one.start < len(text)])

    def _last(self, ids: Sequence[int], text: str, frame: Frame, *, whole: bool) -> News:
        fresh = self._fresh(ids, text, frame)
        counted = len(ids)
        if self.stops and len(text) < len(self.wanted.read(ids) if ids else ""):
            counted = sum(one.start < len(text) for one in self._tokens(ids, frame))
        end = End("stop" if whole else "length", list(ids), counted, frame.tokens[0].tolist())
        return replace(fresh, end=end)

    def _tokens(self, ids: Sequence[int], frame: Frame) -> list[Token]:
        """The written tokens, with their places in the text."""
        before = list(self.wanted.ids) if self.wanted.holes is None else []
        row = [*before, *ids]
        pieces = [piece or "" for piece in split_pieces(row, [False] * len(row), self.format.decode)][
            len(before) :
        ]
        start, found = 0, list[Token]()
        if self.wanted.strips:
            whole = "".join(pieces)
            start = len(whole.lstrip()) - len(whole)
        confidence, likely = frame.confidence[0].tolist(), frame.likely
        for place, id, piece in zip(self.wanted.places(frame.tokens.shape[1]), ids, pieces, strict=False):
            known = None if math.isnan(confidence[place]) else confidence[place]
            others = [] if likely is None else shown(likely, place, self.format)
            found.append(Token(id, piece, max(0, start), known, others))
            start += len(piece)
        return found


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the first of a place to stop."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
