"""Whether the rest of a text ends where it should, by how much of the text is given."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..intervals import Means, Row, column, measured, ratio
from .examples import Example, Subject

QUARTERS = (1, 2, 3, 4)


def by_quarter(subject: Subject) -> Iterator[Row]:
    """Precision, recall and F1 of "the text has ended here" over the places behind a cut.

    Each text is cut at a random token of its first, second, third or last quarter, and all behind it is
    written anew on the whole canvas. A place counts as ended where an end or what stands behind one is
    written, whatever stands before it. Quarters are those of the text, as behind its end nothing would be
    left to find. Also told is by how many tokens the text came out too long.
    """
    for quarter in QUARTERS:
        draw = np.random.default_rng([subject.seed, quarter])
        found = [line for batch in subject.batches() for line in _counts(subject, batch, quarter, draw)]
        statistics = {
            "precision": _precision,
            "recall": _recall,
            "f1": _f1,
            "length_difference": column(3),
            "absolute_length_difference": column(4),
        }
        told = measured(found, statistics, subject.seed)
        yield {"study": "quarters", "quarter": quarter, "texts": len(found), **told}


def _precision(means: Means) -> Means:
    return ratio(means[..., 0], means[..., 0] + means[..., 1])


def _recall(means: Means) -> Means:
    return ratio(means[..., 0], means[..., 0] + means[..., 2])


def _f1(means: Means) -> Means:
    return ratio(2.0 * means[..., 0], 2.0 * means[..., 0] + means[..., 1] + means[..., 2])


def _counts(
    subject: Subject, batch: Sequence[Example], quarter: int, draw: np.random.Generator
) -> list[list[float]]:
    """Places rightly, wrongly and not said to be behind the end, and what the text is longer, for each."""
    lm = subject.lm
    texts = [example.given + example.rest for example in batch]
    cuts = [_place(len(text), quarter, draw) for text in texts]
    seeds = [example.seed for example in batch]
    given = [list(text[:place]) for text, place in zip(texts, cuts, strict=True)]
    task = lm.continuing(given, length=None, seeds=seeds, decoding=subject.decoding)
    for frame in lm.stream(task):
        last = frame.tokens
    found = []
    for row, (text, place) in enumerate(zip(texts, cuts, strict=True)):
        ids = last[row].cpu()[task.canvas.editable[row]].tolist()
        said = np.isin(ids, lm.format.ends)
        true = np.arange(len(ids)) >= len(text) - place
        longer = (int(said.argmax()) if said.any() else len(ids)) - (len(text) - place)
        counts = [(said & true).sum(), (said & ~true).sum(), (~said & true).sum()]
        found.append([*map(float, counts), float(longer), float(abs(longer))])
    return found


def _place(size: int, quarter: int, draw: np.random.Generator) -> int:
    """A random place in that quarter of so many tokens; at least one of them is given."""
    low, high = ((quarter - 1) * size // 4, quarter * size // 4)
    return max(1, int(draw.integers(low, max(low + 1, high))))
