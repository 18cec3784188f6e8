"""The one way in which the package calls a network."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import IncompatibleError
from ..shapes import Attend, Logits, Positions, Times, Tokens, Where
from ..soft_tokens import SoftTokens

Seen = Bool[Tensor, "batch key"] | Bool[Tensor, "batch query key"]
"""As `Attend`, where the keys are more than the tokens that ask."""


class Denoiser(ABC):
    """Predicts the clean token at the asked positions; adapters are frozen views, not modules."""

    @property
    def uses_time(self) -> bool:
        """Whether the output hangs on t itself, so that unchanged tokens at another time need a new call."""
        return False

    @property
    def block_size(self) -> int | None:
        """Tokens in a block that sees itself and what stands before it; None where every token sees all."""
        return None

    @property
    def shift(self) -> bool:
        """Whether the network's output at i - 1 says token i (DiffuLLaMA, arXiv:2410.17891).

        Adapters give the logits of token i at i all the same; the first of a text cannot be asked about.
        """
        return False

    @property
    def next_token(self) -> bool:
        """Whether it sees nothing but what stands before: an autoregressive network."""
        return self.shift and self.block_size == 1

    @property
    def longest(self) -> int | None:
        """Longest text that the network's positions allow; None where there is no limit."""
        return None

    @abstractmethod
    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        """Logits of x_0: [batch, length, vocab], or with `where` the rows ``logits[where]``, [asked, vocab].

        With `where` they are a tensor of their own, which the caller may change.
        `attend` None lets every token see every other; `positions` None counts from 0 in each row.
        """

    def hidden(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where,
    ) -> Float[Tensor, "asked width"]:
        """The network's last hidden states at `where`, of which a call makes its logits there.

        Raises:
            IncompatibleError: it has none that can be read, as a plain function has not.
        """
        raise IncompatibleError(f"a {type(self).__name__} has no hidden states that a head could read.")

    def soft(
        self,
        xt: SoftTokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        """As a call, of soft tokens: each is read as the weighted mean of what its tokens are read as.

        Raises:
            IncompatibleError: it takes nothing but ids.
        """
        raise IncompatibleError(
            f"a {type(self).__name__} reads ids alone and cannot be given soft tokens; train it by another "
            "objective, such as nelbo."
        )


class Past(ABC):
    """What a network remembers of the tokens that it has read: room for a canvas, filled from the left."""

    @abstractmethod
    def at(self, start: int, *, reads: int = 0) -> "Past":
        """The same memory, with the next tokens to be read standing at `start`.

        They see what is remembered before `start`, and behind themselves up to `reads`.
        """

    @abstractmethod
    def of_rows(self, rows: Int[Tensor, " some"]) -> "Past":
        """A copy of the memory of some texts."""


class CachingDenoiser(Denoiser):
    """A denoiser that need not read again what has not changed."""

    @abstractmethod
    def past(self, batch: int, length: int) -> Past:
        """Empty memory for `batch` texts of `length` tokens."""

    @abstractmethod
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
        """Read `xt` from where `past` stands, remember it there, and answer as a call does, for `xt` alone.

        `attend` tells which of all tokens that may be seen are text: those of `past` and of `xt`. Query by
        query it says all, and the network's own blocks are not kept. With a shift the first token of `xt`
        cannot be asked about.
        """

    @abstractmethod
    def follow(
        self,
        past: Past,
        xt: Tokens,
        t: Times,
        *,
        attend: Seen | None = None,
        positions: Positions | None = None,
    ) -> Float[Tensor, "batch vocab"]:
        """Read `xt` as `resume` does, and answer for the token behind it; for networks with a shift alone."""


class Encoded(ABC):
    """What a network of canvases keeps of finished text."""

    @abstractmethod
    def of_rows(self, rows: Int[Tensor, " some"]) -> "Encoded":
        """The same of some texts."""


class CanvasDenoiser(Denoiser):
    """A denoiser that reads finished text from left to right, once, and a canvas behind it in sight of all.

    It may be told what it expected of the canvas when it looked last (self-conditioning, arXiv:2208.04202).
    """

    @property
    @abstractmethod
    def canvas_length(self) -> int:
        """Tokens in the canvases of its training."""

    @abstractmethod
    def encode(self, past: Encoded | None, tokens: Tokens, *, real: Where, positions: Positions) -> Encoded:
        """The memory of `past` and of tokens behind it; those that are not `real` are padding."""

    @abstractmethod
    def decode(
        self,
        past: Encoded,
        canvas: Tokens,
        *,
        real: Where,
        positions: Positions,
        expected: Float[Tensor, "batch length vocab"] | None = None,
    ) -> Logits:
        """Logits everywhere on the canvas; `expected` are log-probabilities of its tokens."""


def before(where: Where) -> Where:
    """The places whose outputs say the tokens at `where`, if the output at i - 1 says token i."""
    return torch.cat([where[:, 1:], torch.zeros_like(where[:, :1])], dim=1)


def last_place(xt: Tokens) -> Where:
    """The last token of each row."""
    return (torch.arange(xt.shape[1], device=xt.device) == xt.shape[1] - 1).expand_as(xt)


@dataclass(frozen=True)
class FunctionDenoiser(Denoiser):
    """Any function from ids [batch, length] to logits [batch, length, vocab]; told no time and no padding."""

    function: Callable[[Tensor], Tensor]

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        logits = self.function(xt)
        if not isinstance(logits, Tensor) or logits.shape[:2] != xt.shape or logits.ndim != 3:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise IncompatibleError(
                f"the denoiser returned {got} for ids of shape {tuple(xt.shape)}; it must return a tensor of "
                "logits [batch, length, vocab]."
            )
        return logits if where is None else logits[where]


def as_denoiser(denoiser: Denoiser | Callable[[Tensor], Tensor]) -> Denoiser:
    """The denoiser itself, or a plain function wrapped as one."""
    return denoiser if isinstance(denoiser, Denoiser) else FunctionDenoiser(denoiser)
