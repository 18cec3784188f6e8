"""Any sampler that writes masked positions step by step, put together from two policies."""

from dataclasses import dataclass, field, replace

import torch

from ..corruptions import Corruption
from ..errors import IncompatibleError
from ..predictions import Predict
from ..randomness import RowGenerator, move
from ..shapes import Times
from .base import Sampler, State
from .policies import WHAT, Commit, Moment, Nothing, Reopen


@dataclass(frozen=True)
class Unmask(Sampler):
    """Write what `commit` picks, then take back what `reopen` picks."""

    commit: Commit
    """Which positions are written."""
    reopen: Reopen = field(default_factory=Nothing)
    """Which written positions become noise again."""

    def step(
        self,
        predict: Predict,
        state: State,
        s: Times,
        t: Times,
        corruption: Corruption,
        generator: RowGenerator,
    ) -> State:
        moment = Moment.of(state, s, t, corruption)
        asked = self.commit.ask(state, moment, generator)
        if bool(asked.any()):
            drawn = move(generator.uniform(state.tokens.shape[1], WHAT), asked.device)[asked]
            token, probability = predict(state.tokens, t, asked).draw(drawn)
            confidence = state.confidence.masked_scatter(asked, probability.to(state.confidence.dtype))
            written = self.commit.settle(asked, confidence, moment)
            state = replace(
                state,
                tokens=torch.where(written, state.tokens.masked_scatter(asked, token), state.tokens),
                confidence=torch.where(written, confidence, state.confidence),
                settled=state.settled | written,
            )
        if isinstance(self.reopen, Nothing):
            return state
        back = self.reopen.choose(state, moment, generator)
        return replace(
            state,
            tokens=torch.where(back, corruption.noise(state.tokens, generator), state.tokens),
            confidence=state.confidence.masked_fill(back, torch.nan),
            settled=state.settled & ~back,
        )

    def finished(self, state: State) -> bool:
        return isinstance(self.reopen, Nothing) and not bool(state.open.any())

    def check(self, corruption: Corruption) -> None:
        if not corruption.masks_only:
            raise IncompatibleError(
                f"this sampler writes masked positions, but {type(corruption).__name__} noise is not all "
                "mask; use the sampler posterior."
            )
