"""Where a text ends, asked of the first look at noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..errors import SettingsError
from ..randomness import RowGenerator
from ..shapes import Logits, PerAsked, Where
from .base import Objective, Reading, Scores, ask


@dataclass(frozen=True)
class EndPosition(Objective):
    """All that may be noised is noise, and each position is asked whether the text has ended there or before.

    P(ended at i) is what the network gives at i to the ends and to what stands behind them, so that nothing
    but the vocabulary is needed to read a length from one call (`lengths/`). The loss is -log P of the true
    answer at every position. It is a likelihood of these answers and as such its own bound, but none of the
    text. Rows must be filled up behind their ends: else the last place of a row would give the answer away.
    """

    ends: tuple[int, ...] = ()
    """Ids that end a text or stand behind its end; a training names those of its tokenizer."""
    fills = True

    def __call__(
        self, denoiser: Denoiser, corruption: Corruption, canvas: Canvas, generator: RowGenerator
    ) -> Scores:
        if not self.ends:
            raise SettingsError(
                "the objective end-position does not know what ends a text; name the ids in ends."
            )
        xt = corruption.all_noise(canvas, generator)
        now = torch.ones(len(xt), 1, device=xt.device)
        logits = ask(denoiser, canvas, xt, now, canvas.editable)
        odds = end_odds(corruption.clean_logits(logits), self.ends)
        truth = has_ended(canvas, self.ends)[canvas.editable]
        nll = F.binary_cross_entropy_with_logits(odds, truth.to(odds.dtype), reduction="none")
        reading = Reading(nll, (odds > 0) == truth, canvas.editable)
        return reading.scores(canvas, nll, canvas.editable)

    def bound(self, corruption: Corruption) -> Objective:
        """The loss itself: exact for the answers, and no bound on the likelihood of the text."""
        return self

    def told(self, ends: Sequence[int]) -> Objective:
        return self if self.ends else replace(self, ends=tuple(ends))


def end_odds(clean: Logits, ends: Sequence[int]) -> PerAsked:
    """Log of P(one of `ends`) / P(another token), by logits in which what is never clean is barred."""
    ids = torch.tensor(ends, dtype=torch.int64, device=clean.device)
    rest = clean.index_fill(-1, ids, -torch.inf)
    return clean.index_select(-1, ids).logsumexp(-1) - rest.logsumexp(-1)


def has_ended(canvas: Canvas, ends: Sequence[int]) -> Where:
    """True from the first end on that may be noised.

    The first token of a row is none, as many tokenizers begin and end a text with the same id.
    """
    ids = torch.tensor(ends, dtype=torch.int64, device=canvas.tokens.device)
    end = torch.isin(canvas.tokens, ids) & canvas.editable & (canvas.positions > 0)
    return end.cumsum(1) > 0
