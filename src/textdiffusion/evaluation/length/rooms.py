"""How good the room is that is read from the prompt alone, against constants that need no model."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from ...lengths import LENGTH_READERS, LengthReader, cut
from ..intervals import Means, Row, column, measured
from .examples import Subject

QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.99)


def from_the_prompt(subject: Subject) -> Iterator[Row]:
    """The room that each reader of the model gives, and that constants fitted on the training split give.

    `valid` is the share of the prompts whose room holds the answer with its end; `excess` and `deficit` what
    it is too large or too small, `rmse` the root of its mean square, and `saved` what the whole canvas has
    more: tokens, in the mean over all prompts. A calibrated reader is valid as often as its quantile says.
    """
    for name, reader in _readers(subject).items():
        rooms = _read(subject, reader)
        for quantile, found in rooms.items():
            yield _told(subject, found, reader=name, quantile=quantile)
    lengths = np.asarray(subject.training)
    yield _told(subject, _constant(subject, round(float(lengths.mean()))), reader="constant mean")
    yield _told(subject, _constant(subject, int(lengths.max())), reader="constant max")
    for quantile in QUANTILES:
        value = int(np.quantile(lengths, quantile, method="inverted_cdf"))
        yield _told(subject, _constant(subject, value), reader="constant quantile", quantile=quantile)


def _readers(subject: Subject) -> Mapping[str, LengthReader]:
    found = {name: make(subject.lm.learnt) for name, make in LENGTH_READERS.items()}
    known = {name: reader for name, reader in found.items() if reader is not None}
    return {"end": subject.reader, **known}  # also of a model that has not learnt to fill rooms


@torch.no_grad()
def _read(subject: Subject, reader: LengthReader) -> dict[float, list[int]]:
    """The room of each example by quantile."""
    found: dict[float, list[int]] = {quantile: [] for quantile in QUANTILES}
    for batch in subject.batches():
        canvas = subject.canvas([example.given for example in batch])
        xt = subject.corruption.all_noise(canvas, subject.draws(batch))
        ended = reader.distribution(subject.lm.denoiser, subject.corruption, canvas, xt)
        for quantile, rooms in found.items():
            rooms += cut(ended, quantile).minimum(canvas.editable.sum(1)).tolist()
    return found


def _constant(subject: Subject, value: int) -> list[int]:
    return [min(value, subject.lm.longest - len(example.given)) for example in subject.examples]


def _told(subject: Subject, rooms: Sequence[int], *, reader: str, quantile: float | None = None) -> Row:
    found = []
    for room, example in zip(rooms, subject.examples, strict=True):
        off, whole = room - example.needs, subject.lm.longest - len(example.given)
        found.append([float(n) for n in (off >= 0, max(off, 0), max(-off, 0), off**2, whole - room)])
    names = {"valid": 0, "excess": 1, "deficit": 2, "saved": 4}
    statistics = {**{name: column(place) for name, place in names.items()}, "rmse": _root}
    told = measured(found, statistics, subject.seed)
    return {"study": "rooms", "reader": reader, "quantile": quantile, "texts": len(found), **told}


def _root(means: Means) -> Means:
    return np.sqrt(means[..., 3])
