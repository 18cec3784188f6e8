"""A denoiser as one request sees it: its calls are questions, which others' calls may be answered with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..denoisers import CachingDenoiser, CanvasDenoiser, Denoiser
from ..denoisers.base import Encoded, Past, Seen
from ..denoisers.transformer import KeyValues
from ..denoisers.view import View
from ..shapes import Attend, Logits, Positions, Times, Tokens, Where
from ..soft_tokens import SoftTokens
from .questions import Apart, Look, Question, is_alone
from .resuming import Resumption

Ask = Callable[[Question], Any]


@dataclass(frozen=True)
class Shared(View):
    """One without a memory: whole texts share passes, all else is asked apart."""

    ask: Ask

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        if is_alone(attend) or len(xt) == 0:
            call = partial(self.denoiser, xt, t, attend=attend, positions=positions, where=where)
            said: Logits = self.ask(Apart(call, xt.numel()))
        else:
            said = self.ask(Look.of(xt, t, attend, positions, where))
        return said

    def hidden(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where,
    ) -> Float[Tensor, "asked width"]:
        call = partial(self.denoiser.hidden, xt, t, attend=attend, positions=positions, where=where)
        said: Float[Tensor, "asked width"] = self.ask(Apart(call, xt.numel()))
        return said

    def soft(
        self,
        xt: SoftTokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        call = partial(self.denoiser.soft, xt, t, attend=attend, positions=positions, where=where)
        said: Logits = self.ask(Apart(call, xt.largest.numel()))
        return said


@dataclass(frozen=True)
class SharedCaching(Shared, CachingDenoiser):
    """One with a memory, of which each request has its own."""

    def past(self, batch: int, length: int) -> Past:
        return self._caching.past(batch, length)

    def resume(
        self,
        past: Past,
        xt: Tokens,
        t: Times,
        *,
        attend: Seen | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        given = positions is not None and where is not None and len(xt) > 0 and not is_alone(attend)
        if given and isinstance(past, KeyValues) and past.reads <= past.start + xt.shape[1]:
            assert positions is not None and where is not None
            size = self.denoiser.block_size
            said: Logits = self.ask(Resumption(past, xt, t, attend, positions, where, size))
        else:
            call = partial(self._caching.resume, past, xt, t, attend=attend, positions=positions, where=where)
            said = self.ask(Apart(call, xt.numel()))
        return said

    def follow(
        self,
        past: Past,
        xt: Tokens,
        t: Times,
        *,
        attend: Seen | None = None,
        positions: Positions | None = None,
    ) -> Float[Tensor, "batch vocab"]:
        call = partial(self._caching.follow, past, xt, t, attend=attend, positions=positions)
        said: Float[Tensor, "batch vocab"] = self.ask(Apart(call, xt.numel()))
        return said

    @property
    def _caching(self) -> CachingDenoiser:
        assert isinstance(self.denoiser, CachingDenoiser)
        return self.denoiser


@dataclass(frozen=True)
class SharedCanvas(Shared, CanvasDenoiser):
    """One that reads finished text once, and canvases behind it; each request's by itself."""

    @property
    def canvas_length(self) -> int:
        return self._canvases.canvas_length

    def encode(self, past: Encoded | None, tokens: Tokens, *, real: Where, positions: Positions) -> Encoded:
        call = partial(self._canvases.encode, past, tokens, real=real, positions=positions)
        said: Encoded = self.ask(Apart(call, tokens.numel()))
        return said

    def decode(
        self,
        past: Encoded,
        canvas: Tokens,
        *,
        real: Where,
        positions: Positions,
        expected: Float[Tensor, "batch length vocab"] | None = None,
    ) -> Logits:
        call = partial(self._canvases.decode, past, canvas, real=real, positions=positions, expected=expected)
        said: Logits = self.ask(Apart(call, canvas.numel()))
        return said

    @property
    def _canvases(self) -> CanvasDenoiser:
        assert isinstance(self.denoiser, CanvasDenoiser)
        return self.denoiser


def shared(denoiser: Denoiser, ask: Ask) -> Denoiser:
    """The denoiser of the same kind whose calls are asked by `ask`."""
    if isinstance(denoiser, CanvasDenoiser):
        return SharedCanvas(denoiser, ask)
    return SharedCaching(denoiser, ask) if isinstance(denoiser, CachingDenoiser) else Shared(denoiser, ask)
