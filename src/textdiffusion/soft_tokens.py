"""Soft tokens: weights over a few tokens in place of one, as Gaussian noise on one-hot vectors leaves them.

w = A x + B eps has a coordinate for each of K words, and at a low temperature softmax(w / temperature) is
nearly all in the largest ones. Only these are drawn: the coordinate of the word that stands there, and the
largest of the K - 1 others, which are the order statistics of as many normal numbers and belong to any words
with the same chance (Duo++, arXiv:2602.21185). No vector of the size of the vocabulary is made.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .errors import SettingsError
from .randomness import RowGenerator, home
from .settings import check_at_least_one
from .shapes import Tokens, Where

_OWN, _OTHERS, _WHICH = 8, 9, 10
"""Draws of a step: the noise of the word itself, the largest of the others, and which words these are."""
_TRIES = 512
"""Draws by which `left_out` is measured."""


@dataclass(frozen=True)
class SoftTokens:
    """In each place a few different tokens and their weights, which sum to 1; most weight first."""

    ids: Int[Tensor, "batch length top"]
    weights: Float[Tensor, "batch length top"]

    @classmethod
    def hard(cls, tokens: Tokens) -> "SoftTokens":
        """One token in each place, of weight 1."""
        return cls(tokens[..., None], torch.ones(*tokens.shape, 1, device=tokens.device))

    @property
    def largest(self) -> Tokens:
        """The token of the most weight in each place: what the arg-max sees."""
        return self.ids[..., 0]

    def only(self, where: Where, tokens: Tokens) -> "SoftTokens":
        """The same at `where`, and `tokens` of weight 1 elsewhere."""
        hard = torch.zeros_like(self.weights)
        hard[..., 0] = 1.0
        ids = torch.where(where[..., None], self.ids, tokens[..., None])
        return replace(self, ids=ids, weights=torch.where(where[..., None], self.weights, hard))


@dataclass(frozen=True)
class SoftNoise:
    """softmax((A x + B eps) / temperature) over all tokens but the mask, with A^2 + B^2 = 1.

    The weights of what is drawn are brought to a sum of 1: what the rest would have is left out, and
    `left_out` says how much that is.
    """

    mask_id: int
    vocab_size: int
    """Number of ids, the mask included."""
    temperature: float
    """Of the softmax; above 0."""
    top: int
    """How many of the other words are drawn beside the one that stands there; all, if there are fewer."""

    def __post_init__(self) -> None:
        """Refuse what gives no weights."""
        check_at_least_one(self, "top")
        if not 0.0 < self.temperature < math.inf:
            raise SettingsError(f"temperature is {self.temperature}; it must be above 0.")
        if self.vocab_size < 3:
            raise SettingsError(f"vocab_size is {self.vocab_size}; it takes a mask and 2 words at least.")

    @property
    def others(self) -> int:
        """Words that may come in the place of one."""
        return self.vocab_size - 2

    @property
    def drawn(self) -> int:
        """How many of these are drawn."""
        return min(self.top, self.others)

    def draw(self, x0: Tokens, ratio: Float[Tensor, "batch 1"], generator: RowGenerator) -> SoftTokens:
        """Soft tokens in the place of `x0` at a signal-to-noise ratio A / B for each row; x0 has no mask."""
        there = home(x0.device)
        ratio, word = ratio.to(there, torch.float64), x0.to(there) - (x0 > self.mask_id).long().to(there)
        size = (*x0.shape, self.drawn)
        noise = largest_normals(generator.uniform(size[1] * size[2], _OTHERS).view(size), self.others)
        own = ratio + torch.special.ndtri(generator.uniform(size[1], _OWN))
        which = different(generator.uniform(size[1] * size[2], _WHICH).view(size), self.others)
        which = which + (which >= word[..., None]).long()
        words = torch.cat([word[..., None], which], dim=-1)
        ids = words + (words >= self.mask_id).long()
        coordinates = torch.cat([own[..., None], noise], dim=-1)
        order = coordinates.argsort(dim=-1, descending=True)
        weights = (coordinates.gather(-1, order) * self._slope(ratio)[..., None]).softmax(-1)
        return SoftTokens(ids.gather(-1, order).to(x0.device), weights.float().to(x0.device))

    def left_out(self, ratio: float) -> float:
        """Share of the weight that the words which are not drawn would have, in the mean; not below it.

        Given the smallest that was drawn, z, the rest are normal numbers below z. Their expected weights take
        the place of their weights, by which the share comes out too large, if anything (Jensen).
        """
        if self.drawn == self.others:
            return 0.0
        uniform = RowGenerator.for_rows([0]).uniform(_TRIES * (self.drawn + 1)).view(_TRIES, -1)
        noise = largest_normals(uniform[:, 1:], self.others)
        own = ratio + torch.special.ndtri(uniform[:, :1])
        slope = self._slope(torch.tensor([[ratio]], dtype=torch.float64))
        most = (torch.cat([own, noise], dim=-1) * slope).logsumexp(-1)
        z = noise[:, -1]
        # exp(slope^2 / 2) Phi(z - slope), by erfcx, as either factor may be out of range.
        below = torch.special.erfcx((slope[0] - z) / math.sqrt(2.0)).log() - math.log(2.0)
        rest = slope[0] * z - z**2 / 2.0 + below - torch.special.log_ndtr(z)
        return float((rest + math.log(self.others - self.drawn) - most).sigmoid().mean())

    def _slope(self, ratio: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """B / temperature: what a unit of eps adds to the logarithm of a weight."""
        return 1.0 / (self.temperature * (1.0 + ratio**2).sqrt())


def largest_normals(uniform: Float[Tensor, "*shape top"], among: int) -> Float[Tensor, "*shape top"]:
    """The largest of `among` independent standard normal numbers, falling, from as many uniform ones.

    Exact: the largest of n uniform numbers is U^(1/n), and those below a number are uniform below it
    (Devroye, Non-Uniform Random Variate Generation, 1986, V.3). Phi is inverted on the side on which float64
    tells its values apart.
    """
    left = among - torch.arange(uniform.shape[-1], device=uniform.device)
    log_below = (uniform.log() / left).cumsum(-1)
    high = -torch.special.ndtri(-torch.expm1(log_below))
    low = torch.special.ndtri(log_below.exp())
    return torch.where(log_below > -math.log(2.0), high, low)


def different(uniform: Float[Tensor, "*shape top"], among: int) -> Int[Tensor, "*shape top"]:
    """Different numbers from 0 to below `among`, each choice in each order as likely.

    The first swaps of a shuffle (Fisher and Yates), without the array: a number that was swapped away is
    looked up among the swaps before it.
    """
    top = uniform.shape[-1]
    first = torch.arange(top, device=uniform.device)
    place = (first + (uniform * (among - first)).long()).clamp(max=among - 1)
    found, moved = torch.empty_like(place), torch.empty_like(place)
    for number in range(top):
        swaps = place[..., :number], moved[..., :number]
        found[..., number] = _held(place[..., number], *swaps)
        moved[..., number] = _held(first[number].expand(place.shape[:-1]), *swaps)
    return found


def _held(
    at: Int[Tensor, "*shape"], place: Int[Tensor, "*shape swaps"], moved: Int[Tensor, "*shape swaps"]
) -> Int[Tensor, "*shape"]:
    """What stands in a place after some swaps: what the last one there has moved to it, or its own number."""
    if not place.shape[-1]:
        return at
    number = torch.arange(1, place.shape[-1] + 1, device=at.device)
    last = ((place == at[..., None]) * number).amax(-1)
    swapped = moved.gather(-1, (last - 1).clamp(min=0)[..., None])[..., 0]
    return torch.where(last > 0, swapped, at)
