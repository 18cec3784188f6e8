"""Refinement: a text is changed where the network is sure that another token belongs there."""

from dataclasses import dataclass, replace

import torch

from ..corruptions import Corruption
from ..predictions import Predict
from ..randomness import RowGenerator, move
from ..shapes import Times, Where
from .answer import Answer, top
from .base import Finished, Sampler, State, complete
from .limits import check_share, check_whole
from .moment import WHAT, allowed, noise_rate


@dataclass(frozen=True)
class AnyPosition(Sampler):
    """A step replaces the few surest tokens that the network would rather have, wherever they stand.

    Which it would rather have is a matter of the noise too: where that is seldom, a token that stands there
    needs much to speak against it. So the other is to be the likelier of the two by `Corruption.origin`,
    which is Bayes' rule where noise looks like text.

    Masks are never right: they are replaced as others are, as many of them as the grid wants anyhow, and at
    least one when nothing else is. A text is finished when a step changes nothing, and then as it stands.
    """

    threshold: float = 0.7
    """Probability above which another token takes the place of the one that stands there, from 0 to 1."""
    replacements: int = 2
    """Most tokens that a step replaces for being sure."""

    def __post_init__(self) -> None:
        """Refuse a threshold that is no probability, and steps that change nothing."""
        check_share("threshold", self.threshold)
        check_whole("replacements", self.replacements, least=1)

    def step(
        self,
        predict: Predict,
        state: State,
        s: Times,
        t: Times,
        corruption: Corruption,
        generator: RowGenerator,
    ) -> State:
        asked = state.window
        if not bool(asked.any()):
            return state
        drawn = move(generator.uniform(state.tokens.shape[1], WHAT), asked.device)[asked]
        answer = Answer.of(state, asked, predict(state.tokens, t, asked).of_clean(), drawn)
        hidden = asked & _hidden(state, corruption)
        other = _rather(answer, corruption, t)
        sure = top(other & (answer.confidence > self.threshold), answer.confidence, self._most(state))
        due = hidden.sum(1) - allowed(state, noise_rate(s, corruption))
        due = due.maximum((~sure.any(1)).long())
        changed = sure | top(hidden, answer.confidence, due)
        over = (~changed.any(1) & ~hidden.any(1))[:, None] | (s == 0.0)
        return replace(
            state,
            tokens=torch.where(changed, answer.token, state.tokens),
            settled=state.settled | changed | (asked & over),
            confidence=torch.where(changed, answer.confidence, state.confidence),
        )

    @property
    def any_noise(self) -> bool:
        return True

    @property
    def many_paths(self) -> str:
        return "it writes places more than once"

    def finished(self, before: State, after: State) -> Finished:
        return complete(before, after) & ((before.tokens == after.tokens) | ~after.window).all(1)

    def check(self, corruption: Corruption) -> None:
        """Whatever stands in a text can be wrong."""

    def _most(self, state: State) -> torch.Tensor:
        return torch.full_like(state.tokens[:, 0], self.replacements)


def _rather(answer: Answer, corruption: Corruption, t: Times) -> Where:
    """Where the token that was drawn is likelier than the one that stands there."""
    asked, here = answer.asked, answer.state.tokens[answer.asked]
    law = corruption.origin(answer.prediction.own.softmax(-1), here, t.expand(asked.shape)[asked])
    drawn, stands = (law.gather(-1, token[:, None])[:, 0] for token in (answer.token[asked], here))
    return torch.zeros_like(asked).masked_scatter(asked, drawn > stands)


def _hidden(state: State, corruption: Corruption) -> Where:
    if corruption.mask_id is None:
        return torch.zeros_like(state.window)
    return state.tokens == corruption.mask_id
