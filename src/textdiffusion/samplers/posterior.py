"""Ancestral sampling for any corruption: the whole posterior, token by token, with or without a corrector."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..corruptions import Corruption
from ..predictions import Predict, Prediction
from ..randomness import RowGenerator, draw_categorical, move
from ..shapes import PerToken, Times, Tokens, Where
from .base import Finished, Sampler, State, complete
from .limits import check_share
from .moment import BACK, CLEAN, WHAT, WHICH

Law = Float[Tensor, "asked vocab"]


class Tail(ABC):
    """How the last step gets rid of what noise is left."""

    @abstractmethod
    def __call__(
        self, p_x0: Law, xt: Int[Tensor, " asked"], t: Float[Tensor, " asked"], corruption: Corruption
    ) -> Law:
        """The law of the clean tokens, which may still be steered."""

    @abstractmethod
    def drawn_from(self, law: Law, prediction: Prediction) -> Law:
        """What of that law is drawn from; `prediction` says what is best together."""


@dataclass(frozen=True)
class Drawn(Tail):
    """By the posterior, as every other step does it."""

    def __call__(
        self, p_x0: Law, xt: Int[Tensor, " asked"], t: Float[Tensor, " asked"], corruption: Corruption
    ) -> Law:
        return corruption.origin(p_x0, xt, t)

    def drawn_from(self, law: Law, prediction: Prediction) -> Law:
        return law


@dataclass(frozen=True)
class MostProbable(Tail):
    """The most probable token of p_x0 alone, wherever noise may be (Duo, arXiv:2506.10892)."""

    def __call__(
        self, p_x0: Law, xt: Int[Tensor, " asked"], t: Float[Tensor, " asked"], corruption: Corruption
    ) -> Law:
        return p_x0

    def drawn_from(self, law: Law, prediction: Prediction) -> Law:
        best = law.argmax(-1) if prediction.joint is None else prediction.best()
        return F.one_hot(best, law.shape[-1]).to(law.dtype)


@dataclass(frozen=True)
class Posterior(Sampler):
    """x_s ~ q(x_s | x_t, x_0 ~ model) at every position that may be noise (D3PM, arXiv:2107.03006 eq. 4)."""

    tail: Tail = field(default_factory=Drawn)
    """The last step."""

    def keeps(self, corruption: Corruption) -> bool:
        return corruption.masks_only

    @property
    def any_noise(self) -> bool:
        return True

    @property
    def rewrites(self) -> bool:
        return True

    def step(
        self,
        predict: Predict,
        state: State,
        s: Times,
        t: Times,
        corruption: Corruption,
        generator: RowGenerator,
    ) -> State:
        asked = state.window & corruption.may_be_noise(state.tokens)
        if not bool(asked.any()):
            return replace(state, settled=state.settled | state.window)
        xt, (at_s, at_t) = state.tokens[asked], _at(asked, s, t)
        prediction, last = predict(state.tokens, t, asked), (at_s <= 0.0)[:, None]
        ends = bool(last.any())

        def back(p_x0: Law) -> Law:
            p_x0 = p_x0.to(at_t.dtype)
            if not ends:
                return corruption.posterior(p_x0, xt, at_s, at_t)
            # A schedule may leave some noise at 0, a text may not.
            tail = self.tail(p_x0, xt, at_t, corruption)
            if bool(last.all()):
                return tail
            return torch.where(last, tail, corruption.posterior(p_x0, xt, at_s, at_t))

        law = _together(prediction, corruption, xt, at_t, asked, generator).posterior(back)
        if ends:
            law = torch.where(last, self.tail.drawn_from(law, prediction), law)
        tokens, confidence = _drawn(state, asked, law, prediction, generator)
        return _moved(state, tokens, confidence, corruption, s)

    def finished(self, before: State, after: State) -> Finished:
        return complete(before, after)

    def check(self, corruption: Corruption) -> None:
        """Every corruption has a posterior."""


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """x_s ~ kappa q(x_s | x_t, x_0) + (1 - kappa) q(x_s | x_0), x_0 ~ model (Psi, arXiv:2602.21185).

    Either law keeps the noise on its schedule. The second forgets x_t: the clean token is drawn anew and
    struck anew, so that masks too are taken back (with masks alone this is a ReMDM, arXiv:2503.00307, whose
    chance to take back is (1 - kappa) (1 - alpha_s)).
    """

    kappa: float = 0.98
    """Share of the posterior, from 0 to 1; 1 is the sampler posterior."""

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        check_share("kappa", self.kappa)

    @property
    def any_noise(self) -> bool:
        return True

    @property
    def rewrites(self) -> bool:
        return True

    def step(
        self,
        predict: Predict,
        state: State,
        s: Times,
        t: Times,
        corruption: Corruption,
        generator: RowGenerator,
    ) -> State:
        device, length = state.tokens.device, state.tokens.shape[1]
        corrected = move(generator.uniform(length, WHICH), device) >= self.kappa
        asked = state.window & corruption.may_be_noise(state.tokens)
        tokens, confidence = state.tokens, state.confidence
        if bool(asked.any()):
            xt, (at_s, at_t) = state.tokens[asked], _at(asked, s, t)
            fresh = ((at_s <= 0.0) | corrected[asked])[:, None]

            def back(p_x0: Law) -> Law:
                p_x0 = p_x0.to(at_t.dtype)
                law = corruption.origin(p_x0, xt, at_t)
                if bool(fresh.all()):
                    return law
                return torch.where(fresh, law, corruption.posterior(p_x0, xt, at_s, at_t))

            prediction = predict(state.tokens, t, asked)
            law = _together(prediction, corruption, xt, at_t, asked, generator).posterior(back)
            tokens, confidence = _drawn(state, asked, law, prediction, generator)
        rate = 1.0 - corruption.survival(tokens, s)
        again = (s > 0.0) & (move(generator.uniform(length, BACK), device) < rate)
        struck = state.window & corrected & again
        tokens = torch.where(struck, corruption.noise(tokens, generator), tokens)
        return _moved(state, tokens, confidence, corruption, s)

    def finished(self, before: State, after: State) -> Finished:
        done = complete(before, after)
        return done if self.kappa == 1.0 else torch.zeros_like(done)

    def check(self, corruption: Corruption) -> None:
        """Every corruption has a posterior."""


def _at(asked: Where, *times: Times) -> tuple[Float[Tensor, " asked"], ...]:
    return tuple(time.expand_as(asked)[asked] for time in times)


def _together(
    prediction: Prediction,
    corruption: Corruption,
    xt: Int[Tensor, " asked"],
    t: Float[Tensor, " asked"],
    asked: Where,
    generator: RowGenerator,
) -> Prediction:
    """The prediction itself, or one clean text of it, where its tokens hang on each other.

    To draw x_0 before x_s changes nothing else: the posterior is a mean over the clean tokens.
    """
    uniform = move(generator.uniform(asked.shape[1], CLEAN), asked.device)[asked]
    return prediction.together(uniform, lambda p_x0: corruption.origin(p_x0.to(t.dtype), xt, t))


def _drawn(
    state: State, asked: Where, law: Law, prediction: Prediction, generator: RowGenerator
) -> tuple[Tokens, PerToken]:
    """The tokens with those at `asked` drawn by a law, and what the model gives to each of these."""
    drawn = draw_categorical(law, move(generator.uniform(asked.shape[1], WHAT), asked.device)[asked])
    confidence = prediction.probabilities().gather(-1, drawn[:, None])[:, 0].to(state.confidence.dtype)
    return state.tokens.masked_scatter(asked, drawn), state.confidence.masked_scatter(asked, confidence)


def _moved(state: State, tokens: Tokens, confidence: PerToken, corruption: Corruption, s: Times) -> State:
    """The state with new tokens at time s: what may be noise is not settled before the end."""
    noisy = corruption.may_be_noise(tokens) & (s > 0.0)
    return replace(
        state,
        tokens=tokens,
        settled=torch.where(state.window, ~noisy, state.settled),
        confidence=confidence.masked_fill(noisy & state.window, torch.nan),
    )
