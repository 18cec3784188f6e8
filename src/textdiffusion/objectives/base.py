"""From a batch of clean texts to a loss per token."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..canvas import Canvas
from ..corruptions import Corruption, Interpolating
from ..denoisers import Denoiser
from ..errors import IncompatibleError
from ..randomness import RowGenerator
from ..shapes import Logits, PerAsked, PerText, PerToken, Times, Tokens, Where


@dataclass(frozen=True)
class Scores:
    """What one look at a batch cost, token by token; zero or false where nothing was asked."""

    nats: PerToken
    """The loss: its sum over the text estimates the objective for the text, in nats."""
    cross_entropy: PerToken
    """-log p(x_0) at the asked positions, unweighted, without gradient."""
    asked: Where
    """Positions that the network was asked about."""
    correct: Where
    """Asked positions at which the most probable token is the true one."""
    rate: PerText | PerToken
    """Share of the editable positions that noise struck, of the text or of the block that a token is in."""


class Objective(ABC):
    """A loss; the sum over tokens divided by the number of editable tokens is nats per token."""

    block_size: int | None = None
    """Tokens in a block that the network must see as one; None where it reads whole texts."""
    shift: bool | None = None
    """Whether the network's output at i - 1 must say token i; None where either will do."""
    fills: bool = False
    """Whether rows must be filled up behind the end of their texts."""

    @abstractmethod
    def __call__(
        self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, generator: RowGenerator
    ) -> Scores:
        """Corrupt the editable tokens, ask the network and score it."""

    def exact(self, scored: int) -> bool:
        """Whether every draw of noise says the same of a text of so many editable tokens."""
        return False

    def told(self, ends: Sequence[int]) -> "Objective":
        """The same, knowing the ids that end a text or stand behind its end; most need not know."""
        return self

    def at(self, step: int, steps: int) -> "Objective":
        """What is learnt in optimiser step `step`, from 0, of the `steps` that this objective has in all.

        Most stay the same. It hangs on nothing else, so that a training which was interrupted goes on alike.
        """
        return self

    @abstractmethod
    def bound(self, corruption: Corruption) -> "Objective":
        """The bound on -log p by which a network that learns by this objective is measured, in nats."""

    def check(self, corruption: Corruption) -> None:  # noqa: B027  most objectives suit every corruption
        """Raise IncompatibleError if the objective has no meaning for this corruption."""


class Tunable(Objective):
    """An objective that chooses some of its settings by how its bound comes out on held-out text."""

    @abstractmethod
    def moments(self, scores: Scores, canvas: Canvas) -> Float[Tensor, "batch numbers"]:
        """What `choice` needs to know of each text that `bound` has scored, to be added up over texts."""

    @abstractmethod
    def choice(self, moments: Float[Tensor, " numbers"]) -> dict[str, float]:
        """The best settings by the moments of all texts, by the names under which they are logged."""

    @abstractmethod
    def chosen(self, choice: Mapping[str, float]) -> "Tunable":
        """The objective with the settings of a choice."""


def needs_mask(objective: Objective, corruption: Corruption) -> None:
    """Raise IncompatibleError unless all noise is the mask, whatever token it hides."""
    needs_even(objective, corruption)
    if not corruption.masks_only:
        raise IncompatibleError(
            f"{type(objective).__name__} counts masked tokens, but {type(corruption).__name__} noise is not "
            "all mask; use the objective nelbo or cross-entropy."
        )


def needs_even(objective: Objective, corruption: Corruption) -> None:
    """Raise IncompatibleError if noise strikes some tokens sooner than others."""
    if not corruption.even:
        raise IncompatibleError(
            f"{type(objective).__name__} takes all tokens alike, but {type(corruption).__name__} noise "
            "strikes some sooner than others; use the objective nelbo."
        )


def uniform_noise(objective: Objective, corruption: Corruption) -> Interpolating:
    """The corruption, if it draws words evenly and nothing else.

    Raises:
        IncompatibleError: its noise is another.
    """
    if not isinstance(corruption, Interpolating) or corruption.mask_share > 0.0:
        raise IncompatibleError(
            f"{type(objective).__name__} is for noise of words alone, each as likely, which "
            f"{type(corruption).__name__} noise is not; use the noise uniform, or the objective nelbo."
        )
    return corruption


def ask(denoiser: Denoiser, canvas: Canvas, xt: Tokens, t: Times, asked: Where) -> Logits:
    """The network's answers at `asked`, [asked, vocab]: the vocabulary head runs on no other position."""
    return denoiser(xt, t, attend=canvas.attend, positions=canvas.positions, where=asked)


@dataclass(frozen=True)
class Reading:
    """The network's word at the asked positions, one row each."""

    nll: PerAsked
    correct: Bool[Tensor, " asked"]
    asked: Where

    @classmethod
    def of(
        cls, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, xt: Tokens, t: Times, asked: Where
    ) -> "Reading":
        """Ask about `asked` only."""
        logits = ask(denoiser, canvas, xt, t, asked)
        return cls(*corruption.nll(logits, canvas.tokens[asked]), asked)

    def scores(self, canvas: Canvas, loss: PerAsked, hit: Where) -> Scores:
        """Put the losses of the asked positions (one number each) back in their places."""
        zero = torch.zeros(self.asked.shape, dtype=loss.dtype, device=loss.device)
        return Scores(
            nats=zero.masked_scatter(self.asked, loss),
            cross_entropy=zero.masked_scatter(self.asked, self.nll.detach().to(loss.dtype)),
            asked=self.asked,
            correct=torch.zeros_like(self.asked).masked_scatter(self.asked, self.correct),
            rate=hit.sum(1) / canvas.editable.sum(1).clamp(min=1),
        )
