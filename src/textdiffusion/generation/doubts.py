"""What in a draft is wrong, by a model of masks, which is asked about each token in sight of the others."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..errors import SettingsError
from ..randomness import move
from ..shapes import Tokens, Where
from .start import Start, check_noise_rate

ROUNDS = 3
"""How often a draft is read at most, each time without what the reading before took for wrong."""


def remasked(
    denoiser: Denoiser,
    corruption: Corruption,
    draft: Canvas,
    noise_rate: float,
    *,
    looks: int,
    banned: Sequence[int] = (),
) -> Start:
    """A draft with masks in place of tokens that are more probably others, each of them.

    An error is taken for a token drawn evenly from all V words. With p(v) for what the other tokens tell of a
    place and r for the noise rate, Bayes' rule says of the token x that stands there that it is the right one
    with odds (1 - r + r/V) p(x) to r/V (1 - p(x)), and that v was meant with r/V p(v). So x is hidden where
    some v has p(v) / p(x) above 1 + V (1 - r) / r, as that is when writing v restores more than it spoils.

    p(v) is read where x is hidden: in each of the `looks` an even share of the text is, spread over it
    (pseudo-likelihood, Besag 1975; arXiv:1910.14659). What is more probably wrong than right is then hidden
    from all looks, as it would mislead them, and the draft is read anew, up to `ROUNDS` times. What is
    `banned` was never meant, and where it stands (an unknown character, say) it is left alone.

    Raises:
        SettingsError: `looks` is below 1, or the rate is no share.
    """
    if looks < 1:
        raise SettingsError(f"looks is {looks}; at least 1 is needed to find what is improbable.")
    check_noise_rate(noise_rate)
    begun = time.perf_counter()
    reader = _Reader(denoiser, corruption, draft, looks, tuple(banned))
    doubted = torch.zeros_like(draft.editable)
    for _ in range(ROUNDS):
        found = reader.read(doubted)
        again = draft.editable & (found.wrong(noise_rate) > 0.0)
        settled, doubted = torch.equal(again, doubted), again
        if settled:
            break
    hidden = draft.editable & (found.gain(noise_rate) > 0.0)
    assert corruption.mask_id is not None
    tokens = draft.tokens.masked_fill(hidden, corruption.mask_id)
    read, seconds = draft.valid.sum(1) * reader.calls, time.perf_counter() - begun
    return Start(tokens, noise_rate, reader.calls, read, seconds)


@dataclass(frozen=True)
class _Found:
    """Log-probabilities in the places of a draft, by the tokens around them."""

    here: Float[Tensor, "batch length"]
    """Of the token that stands there; -inf where it is none that could be judged."""
    best: Float[Tensor, "batch length"]
    """Of the most probable one."""
    words: int

    def wrong(self, rate: float) -> Float[Tensor, "batch length"]:
        """Log-odds that another token was meant."""
        others = torch.log1p(-self.here.exp().clamp(max=1.0 - 1e-12))
        return self._judged(others - self.here - self._trust(rate))

    def gain(self, rate: float) -> Float[Tensor, "batch length"]:
        """Log-odds that the most probable token was meant, and not the one that stands there."""
        better = self.best > self.here
        return self._judged(torch.where(better, self.best - self.here - self._trust(rate), -torch.inf))

    def _judged(self, odds: Float[Tensor, "batch length"]) -> Float[Tensor, "batch length"]:
        return odds.masked_fill(self.here == -torch.inf, -torch.inf)

    def _trust(self, rate: float) -> float:
        """How much likelier it is that a token stands where it was meant than where another was, as a log."""
        return math.log1p(self.words * (1.0 - rate) / rate)


class _Reader:
    """Asks about all tokens of a draft, an even share at a time, and counts the calls."""

    def __init__(
        self,
        denoiser: Denoiser,
        corruption: Corruption,
        draft: Canvas,
        looks: int,
        banned: Sequence[int],
    ) -> None:
        self.denoiser, self.corruption, self.draft = denoiser, corruption, draft
        self.looks, self.banned, self.calls = looks, banned, 0

    def read(self, doubted: Where) -> _Found:
        """One round, in which what is doubted is seen by nobody."""
        draft = self.draft
        here = torch.zeros(draft.tokens.shape, dtype=torch.float64, device=draft.tokens.device)
        best, words = here.clone(), 1
        place = draft.editable.long().cumsum(1) - 1
        for look in range(self.looks):
            asked = draft.editable & (place % self.looks == look)
            if not bool(asked.any()):
                continue
            log_p = self._log_p(asked, asked | doubted)
            own = log_p.gather(-1, draft.tokens[asked][:, None])[:, 0]
            here, best = here.masked_scatter(asked, own), best.masked_scatter(asked, log_p.amax(-1))
            words = int((log_p[0] > -torch.inf).sum())
        return _Found(here, best, words)

    def _log_p(self, asked: Where, hidden: Where) -> Float[Tensor, "asked vocab"]:
        draft, noise = self.draft, self.corruption
        assert noise.mask_id is not None
        xt: Tokens = draft.tokens.masked_fill(hidden, noise.mask_id)
        shown = 1.0 - hidden.sum(1, keepdim=True).double() / draft.editable.sum(1, keepdim=True).clamp(min=1)
        now = move(noise.schedule.inverse(shown.cpu()), xt.device).float()
        with torch.inference_mode():
            logits = self.denoiser(xt, now, attend=draft.attend, positions=draft.positions, where=asked)
            clean = noise.clean_logits(logits)
            clean[:, [id for id in self.banned if id < clean.shape[-1]]] = -torch.inf
            self.calls += 1
            return clean.double().log_softmax(-1)
