"""How probable the end is at each place of a canvas before anything is written, as the canvas grows."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ...canvas import Canvas
from ...objectives.end_position import end_odds
from ..intervals import Means, Row, column, measured
from .examples import Example, Subject

SMALLEST = 8
"""Tokens of the smallest canvas; each further one has twice as many."""
QUARTERS = 4
FIRST = 0
"""Where others have the number of a quarter, the first place of a canvas."""


def before_anything_is_written(subject: Subject) -> Iterator[Row]:
    """The probability of the end, and of what stands behind it, where all of an answer is noise.

    Told are the first place of the canvas and the mean over each quarter of it, beside the share of texts
    that have ended there or before. `bias` is the difference: above 0 the model ends too soon, which it does
    the more the larger a canvas of fillers it was tuned on (LLaDA, arXiv:2502.09992, suppresses the end).
    The canvases are those that every text has room for.
    """
    room = min(subject.lm.longest - len(example.given) for example in subject.examples)
    sizes = [SMALLEST << power for power in range(room.bit_length()) if SMALLEST << power <= room] or [room]
    statistics = {"end_probability": column(0), "ended_share": column(1), "bias": _bias}
    for size in sizes:
        found = np.concatenate([_asked(subject, batch, size) for batch in subject.batches()])
        for part in range(FIRST, QUARTERS + 1):
            told = measured(found[:, part].tolist(), statistics, subject.seed)
            yield {"study": "bias", "room": size, "quarter": part, "texts": len(found), **told}


@torch.no_grad()
def _asked(subject: Subject, batch: Sequence[Example], size: int) -> Means:
    """What the model says and what is true, [texts, the first place and each quarter, 2]."""
    lm = subject.lm
    given = [example.given for example in batch]
    canvas = Canvas.from_prompts(given, [size] * len(batch), pad_id=lm.format.pad_id)
    canvas = canvas.to(lm.model.device)
    xt = subject.corruption.all_noise(canvas, subject.draws(batch))
    now = torch.ones(len(batch), 1, device=xt.device)
    logits = lm.denoiser(xt, now, attend=canvas.attend, positions=canvas.positions, where=canvas.editable)
    odds = end_odds(subject.corruption.clean_logits(logits), lm.format.ends)
    chance = odds.double().sigmoid().reshape(len(batch), size).cpu().numpy()
    needs = np.array([example.needs for example in batch])
    ended = np.arange(1, size + 1)[None] >= needs[:, None]
    both = np.stack([chance, ended.astype(np.float64)], axis=-1)
    quarters = np.array_split(both, QUARTERS, axis=1)
    parts = [both[:, :1], *quarters]
    return np.stack([part.mean(1) for part in parts], axis=1)


def _bias(means: Means) -> Means:
    return means[..., 0] - means[..., 1]
