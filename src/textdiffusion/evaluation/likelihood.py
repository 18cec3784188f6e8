"""The likelihood bound of any denoiser, with its Monte Carlo error."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..canvas import Canvas, check_ids
from ..corruptions import Absorbing, Corruption
from ..denoisers import Denoiser, as_denoiser
from ..errors import SettingsError
from ..objectives import BlockNelbo, CountNelbo, NextToken, Objective
from ..randomness import RowGenerator
from ..shapes import PerText, Tokens, Where

_TOKENS_AT_ONCE = 8192
"""Noised tokens per network call; the logits of the masked ones are in memory together."""


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo estimate for each text, in nats per sequence."""

    mean: PerText
    standard_error: PerText
    """Standard error of the mean over the samples; nan with one sample."""


def nelbo(
    denoiser: Denoiser | Callable[[Tensor], Tensor],
    tokens: Tokens,
    *,
    mask_id: int,
    samples: int,
    generator: torch.Generator | None = None,
    editable: Where | None = None,
    objective: Objective | None = None,
) -> Estimate:
    """Negative evidence lower bound on log p(tokens), nats per sequence, each [batch].

    By default the count form (LLaDA, arXiv:2502.09992 eq. 6), which has the least variance, block by block
    where the network reads blocks, and the exact likelihood where it predicts the next token; `Nelbo()` gives
    the integral over time. `editable` are the tokens that are scored, given the others: by default all, but
    the first where the network says each token from the one before it. The samples of each text are
    stratified, which makes the standard error an upper estimate. Without a `generator` the draws are those of
    seed 0.

    Raises:
        SettingsError: no ids, texts of no tokens, a mask where a token is scored, or too few samples.
    """
    check_ids(tokens)
    if samples < 1:
        raise SettingsError(f"samples is {samples}; at least 1 is needed.")
    source = torch.Generator().manual_seed(0) if generator is None else generator
    seeds = torch.randint(2**62, (len(tokens),), generator=source, device=source.device).tolist()
    network = as_denoiser(denoiser)
    rule = objective or bound_of(network)
    holes = _all_said(network, tokens) if editable is None else editable
    _check_scored(tokens, holes, mask_id)
    if network.shift and bool(holes[:, 0].any()):
        raise SettingsError(
            "the first token is to be scored, but this network says each token from the one before it; leave "
            "it out with editable."
        )
    mean, error = torch.empty(2, len(tokens), dtype=torch.float64)
    for row, seed in enumerate(seeds):
        text = Canvas(tokens[row : row + 1].long(), holes[row : row + 1], torch.ones_like(holes[:1]))
        nats = _samples(rule, network, Absorbing(mask_id), text, samples, seed)
        mean[row], error[row] = nats.mean(), nats.std() / samples**0.5 if samples > 1 else torch.nan
    return Estimate(mean, error)


def bound_of(network: Denoiser) -> Objective:
    """What measures a network of this kind, with the least variance that is to be had."""
    if network.next_token:
        return NextToken()
    return CountNelbo() if network.block_size is None else BlockNelbo(network.block_size)


def _all_said(network: Denoiser, tokens: Tokens) -> Where:
    """All tokens that the network can be asked about."""
    said = torch.ones_like(tokens, dtype=torch.bool)
    said[:, :1] = not network.shift
    return said


def _check_scored(tokens: Tokens, holes: Where, mask_id: int) -> None:
    if tokens.shape[1] == 0:
        raise SettingsError("the texts have no tokens; give ids [batch, length] with a length of at least 1.")
    if holes.shape != tokens.shape:
        raise SettingsError(
            f"editable has shape {tuple(holes.shape)}; give one flag for each of the tokens "
            f"{tuple(tokens.shape)}."
        )
    if bool(((tokens == mask_id) & holes).any()):
        raise SettingsError(
            f"a token to be scored is the mask itself (id {mask_id}), which is no text; give whole texts, or "
            "leave it out with editable."
        )


def _samples(
    rule: Objective, network: Denoiser, corruption: Corruption, text: Canvas, samples: int, seed: int
) -> Float[Tensor, " samples"]:
    """The bound on one text, once for each draw of noise, a bounded number of tokens at a time."""
    at_once = max(1, _TOKENS_AT_ONCE // text.tokens.shape[1])
    found = []
    for first in range(0, samples, at_once):
        rows = min(at_once, samples - first)
        draws = RowGenerator.for_batch(
            seed, 0, first=first, rows=rows, total=samples, device=text.tokens.device
        )
        copies = Canvas(*(part.expand(rows, -1) for part in (text.tokens, text.editable, text.valid)))
        with torch.inference_mode():
            found.append(rule(network, corruption, copies, draws).nats.sum(1).cpu().double())
    return torch.cat(found)
