"""Any sampler that writes masked positions step by step, put together from three policies."""

from dataclasses import dataclass, field, replace

import torch

from ..corruptions import Corruption
from ..errors import IncompatibleError
from ..predictions import Predict
from ..randomness import RowGenerator, move
from ..shapes import Times
from .answer import Answer
from .base import Finished, Sampler, State
from .commit import Commit
from .moment import WHAT, Moment, noise_rate
from .pace import Even, Pace
from .reopen import Nothing, Reopen, Writing


@dataclass(frozen=True)
class Unmask(Sampler):
    """Write what `commit` picks, then take back what `reopen` picks, at the times that `pace` gives."""

    commit: Commit
    """Which positions are written."""
    reopen: Reopen = field(default_factory=Nothing)
    """Which written positions become noise again."""
    pace: Pace = field(default_factory=Even)
    """How fast the noise falls where."""

    def step(
        self,
        predict: Predict,
        state: State,
        s: Times,
        t: Times,
        corruption: Corruption,
        generator: RowGenerator,
    ) -> State:
        s, t = (self.pace(time, state.window, corruption.schedule) for time in (s, t))
        before, after = noise_rate(t, corruption), noise_rate(s, corruption)
        moment = Moment.of(state, before, after, self.reopen.chance(before, after))
        wanted = self.commit.ask(state, moment, generator)
        writing = Writing(moment, wanted, None)
        asked = wanted | self.reopen.ask(state, moment)
        if bool(asked.any()):
            drawn = move(generator.uniform(state.tokens.shape[1], WHAT), asked.device)[asked]
            answer = Answer.of(state, asked, predict(state.tokens, t, asked), drawn)
            writing = Writing(moment, self.commit.settle(wanted, answer, moment), answer)
            state = replace(
                state,
                tokens=torch.where(writing.where, answer.token, state.tokens),
                confidence=torch.where(writing.where, answer.confidence, state.confidence),
                settled=state.settled | writing.where,
            )
        return self.reopen.take_back(state, writing, corruption, generator)

    def keeps(self, corruption: Corruption) -> bool:
        return self.commit.keeps and self.reopen.keeps

    @property
    def beyond(self) -> bool:
        return self.reopen.beyond

    @property
    def rewrites(self) -> bool:
        return self.commit.rewrites

    @property
    def many_paths(self) -> str:
        return self.commit.many_paths or self.reopen.many_paths

    def finished(self, before: State, after: State) -> Finished:
        return self.commit.finished(before, after) & self.reopen.finished(before, after)

    def check(self, corruption: Corruption) -> None:
        if not corruption.masks_only:
            raise IncompatibleError(
                f"this sampler writes masked positions, but {type(corruption).__name__} noise is not all "
                "mask; use the sampler posterior."
            )
        if not corruption.even:
            raise IncompatibleError(
                f"this sampler writes masks whatever they hide, but {type(corruption).__name__} noise "
                "strikes some tokens sooner than others; use the sampler posterior or psi."
            )
