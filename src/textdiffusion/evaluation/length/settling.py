"""Writing a text until its end stands still, and how early that is."""

from collections.abc import Iterator, Sequence

import torch

from ...lengths import cut
from ..intervals import Row, column, measured
from .examples import Example, Subject, needs_of

THRESHOLD = 0.9
"""Probability with which the text must have ended at a place."""


def until_the_end(subject: Subject) -> Iterator[Row]:
    """The procedure unmask until the end: go on until two steps in a row put the end at one place.

    At each step the end is read where the text has ended with a probability above `THRESHOLD`. Told are how
    often that comes to pass before the last step, how much of the steps it takes, how often it is the end of
    the true text, and how often that of the text that is written in the end. A text whose end never settles
    takes all steps and is not right.
    """
    found = [line for batch in subject.batches() for line in _settled(subject, batch)]
    names = ("settled", "steps", "share_of_steps", "right", "kept")
    statistics = {name: column(place) for place, name in enumerate(names)}
    told = measured(found, statistics, subject.seed)
    yield {"study": "until-end", "threshold": THRESHOLD, "texts": len(found), **told}


def _settled(subject: Subject, batch: Sequence[Example]) -> list[list[float]]:
    lm, needs = subject.lm, needs_of(subject, batch)
    seeds = [example.seed for example in batch]
    task = lm.continuing(
        [list(example.given) for example in batch], length=None, seeds=seeds, decoding=subject.decoding
    )
    canvas = task.canvas.to(lm.model.device)
    before = torch.full_like(needs, -1)
    place, when, steps = before.clone(), before.clone(), torch.zeros_like(needs)
    alive = torch.ones_like(needs, dtype=torch.bool)
    for frame in lm.stream(task):
        ended = subject.reader.distribution(lm.denoiser, subject.corruption, canvas, frame.tokens)
        said = torch.where((ended >= THRESHOLD).any(1), cut(ended, THRESHOLD), -1)
        still = alive & (when < 0) & (said > 0) & (said == before)
        place, when = torch.where(still, said, place), torch.where(still, frame.step, when)
        before, steps = said, torch.where(alive, frame.step, steps)
        alive, last = alive & ~frame.settled.all(1), frame.tokens  # others of the batch may go on
    written = torch.isin(last, torch.tensor(lm.format.ends, device=last.device)) & canvas.editable
    behind = written.cumsum(1) == 0
    wrote = (behind & canvas.editable).sum(1) + 1
    settled = when >= 0
    taken = torch.where(settled, when, steps).float()
    right, kept = (settled & (place == needs)).float(), (settled & (place == wrote)).float()
    return torch.stack([settled.float(), taken, taken / steps, right, kept], dim=1).tolist()
