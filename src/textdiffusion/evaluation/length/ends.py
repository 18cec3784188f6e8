"""Whether the model finds the end of a text of which all is given, or some of it here and there."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ...canvas import Canvas
from ...lengths import cut
from ...objectives.end_position import end_odds
from ...randomness import random_subset
from ..intervals import Row, column, measured
from .examples import Example, Subject, needs_of

SHARES = tuple(tenth / 10 for tenth in range(10))
"""How much of an answer is shown."""
_MEDIAN = 0.5


def given_the_text(subject: Subject) -> Iterator[Row]:
    """What the model gives to the end of text at its place, with the whole text before it and noise behind.

    The probability of the end, of the end or what stands behind it, whether no token is more probable than
    the end, and one over its rank in the mean (MRR).
    """
    found = [line for batch in subject.batches() for line in _at_the_end(subject, batch)]
    names = ("end_probability", "ended_probability", "top1", "mrr")
    statistics = {name: column(place) for place, name in enumerate(names)}
    yield {"study": "end", "texts": len(found), **measured(found, statistics, subject.seed)}


@torch.no_grad()
def _at_the_end(subject: Subject, batch: Sequence[Example]) -> list[list[float]]:
    lm = subject.lm
    canvas = subject.canvas([example.given + example.rest for example in batch])
    xt = subject.corruption.all_noise(canvas, subject.draws(batch))
    first = canvas.editable & (canvas.editable.cumsum(1) == 1)
    now = torch.ones(len(batch), 1, device=xt.device)
    logits = lm.denoiser(xt, now, attend=canvas.attend, positions=canvas.positions, where=first)
    clean = subject.corruption.clean_logits(logits)
    end = clean[:, lm.format.ends[0]]
    rank = 1 + (clean > end[:, None]).sum(1)
    chance = (end - clean.logsumexp(-1)).exp()
    ended = end_odds(clean, lm.format.ends).sigmoid()
    return torch.stack([chance, ended, (rank == 1).float(), 1.0 / rank], dim=1).tolist()


def given_some_answer(subject: Subject) -> Iterator[Row]:
    """Where the model says that the text ends when a share of its answer, here and there, is shown.

    The end is read where it has become as likely as not. Told are how often that is right, and by how many
    tokens it is off.
    """
    for number, share in enumerate(SHARES):
        found = [line for batch in subject.batches() for line in _off_by(subject, batch, share, number)]
        statistics = {"accuracy": column(0), "mean_absolute_error": column(1)}
        told = measured(found, statistics, subject.seed)
        yield {"study": "unmasked", "unmasked": share, "texts": len(found), **told}


def _off_by(subject: Subject, batch: Sequence[Example], share: float, number: int) -> list[list[float]]:
    canvas, needs = subject.canvas([example.given for example in batch]), needs_of(subject, batch)
    draws = subject.draws(batch, fold=number)
    noise = subject.corruption.all_noise(canvas, draws)
    truth, answer = _answers(canvas, batch)
    counts = (share * (needs - 1).double()).round().long()
    shown = random_subset(answer, counts, draws.uniform(canvas.tokens.shape[1], draw=3))
    xt = torch.where(shown, truth, noise)
    ended = subject.reader.distribution(subject.lm.denoiser, subject.corruption, canvas, xt)
    off = (cut(ended, _MEDIAN) - needs).abs()
    return torch.stack([(off == 0).float(), off.float()], dim=1).tolist()


def _answers(canvas: Canvas, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """The canvas with the answers where they belong, and where that is."""
    truth, where = canvas.tokens.clone(), torch.zeros_like(canvas.editable)
    for row, example in enumerate(batch):
        here = slice(len(example.given), len(example.given) + len(example.rest))
        truth[row, here] = torch.tensor(example.rest, device=truth.device)
        where[row, here] = True
    return truth, where
