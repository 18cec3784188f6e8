"""The likelihood bound of any denoiser, with its Monte Carlo error."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..canvas import Canvas
from ..corruptions import Absorbing
from ..denoisers import Denoiser, as_denoiser
from ..errors import SettingsError
from ..objectives import CountNelbo, Objective
from ..randomness import RowGenerator
from ..shapes import PerText, Tokens, Where


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

    The count form by default (LLaDA, arXiv:2502.09992 eq. 6), which has the least variance; `Nelbo()` gives
    the integral over time. `editable` (all by default) are the tokens that are scored, given the others. The
    samples of each text are stratified, which makes the standard error an upper estimate. Without a
    `generator` the draws are those of seed 0.
    """
    if samples < 1:
        raise SettingsError(f"samples is {samples}; at least 1 is needed.")
    source = torch.Generator().manual_seed(0) if generator is None else generator
    seeds = torch.randint(2**62, (len(tokens),), generator=source, device=source.device).tolist()
    corruption, network, rule = Absorbing(mask_id), as_denoiser(denoiser), objective or CountNelbo()
    mean, error = torch.empty(2, len(tokens), dtype=torch.float64)
    for row, seed in enumerate(seeds):
        copies = tokens[row : row + 1].expand(samples, -1)
        holes = torch.ones_like(copies, dtype=torch.bool) if editable is None else editable[row].expand_as(copies)
        draws = RowGenerator.for_batch(seed, 0, first=0, rows=samples, total=samples, device=tokens.device)
        with torch.inference_mode():
            canvas = Canvas(copies, holes, torch.ones_like(holes))
            nats = rule(network, corruption, canvas, draws).nats.double().sum(1)
        mean[row], error[row] = nats.mean(), nats.std() / samples**0.5 if samples > 1 else torch.nan
    return Estimate(mean, error)
