"""Nats per token, perplexity and bits per byte of documents, of one model and of two side by side."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..language_model import DiffusionLM
from .batches import TOKENS_AT_ONCE
from .documents import Corpus
from .intervals import Means, Row, Statistic, bootstrap, ratio
from .likelihood import Method, score

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Likelihood:
    """What a model gives to documents, a number for each."""

    nats: Numbers
    errors: Numbers
    """Standard errors of the nats over the draws of noise; 0 where they are exact, nan where unknown."""
    tokens: Numbers
    bytes: Numbers

    def row(self, seed: int) -> Row:
        """The three measures with standard errors and intervals over documents, and errors over draws.

        The former hold the latter: documents are drawn anew with the noise that was drawn for them.
        """
        tokens, size = float(self.tokens.sum()), float(self.bytes.sum())
        found = bootstrap(np.stack([self.nats, self.tokens, self.bytes], axis=1), _MEASURES, seed)
        drawn = float(np.sqrt((self.errors**2).sum()))
        slopes = (1.0 / tokens, found["perplexity"].value / tokens, 1.0 / (size * math.log(2.0)))
        row: Row = {}
        for (name, number), slope in zip(found.items(), slopes, strict=True):
            row |= number.row(name)
            row[f"{name}_sampling_error"] = None if math.isnan(drawn) else drawn * slope
        counts = {"documents": len(self.nats), "tokens": int(tokens), "bytes": int(size)}
        return {**row, "standard_error": row["nats_per_token_error"], **counts}


def likelihood_of(
    lm: DiffusionLM,
    corpus: Corpus,
    method: Method,
    *,
    tokens_at_once: int = TOKENS_AT_ONCE,
    progress: Callable[[float], None] | None = None,
) -> Likelihood:
    """What the model gives to each document, its windows added up.

    Raises:
        SettingsError, IncompatibleError: as `score`.
    """
    found = score(lm, corpus.passages, method, tokens_at_once=tokens_at_once, progress=progress)
    starts = np.cumsum([0, *(len(document.passages) for document in corpus.documents)])[:-1]
    return Likelihood(
        np.add.reduceat(found.mean.numpy(), starts),
        np.sqrt(np.add.reduceat(found.standard_error.numpy() ** 2, starts)),
        np.array([document.tokens for document in corpus.documents], dtype=np.float64),
        np.array([document.bytes for document in corpus.documents], dtype=np.float64),
    )


def difference(one: Likelihood, other: Likelihood, seed: int, *, by_token: bool) -> Row:
    """What the first has more than the second on the same documents, drawn anew in pairs.

    `by_token` where both read the text as the same tokens; bytes are the same for all.
    """
    table = np.stack([one.nats, one.bytes, other.nats, other.bytes, one.tokens], axis=1)
    measures: dict[str, Statistic] = {"bits_per_byte_difference": _by_byte}
    if by_token:
        measures = {"nats_per_token_difference": _by_token, "perplexity_ratio": _times, **measures}
    row: Row = {}
    for name, number in bootstrap(table, measures, seed).items():
        row |= number.row(name)
    return {**row, "documents": len(one.nats)}


def _nats_per_token(means: Means) -> Means:
    return ratio(means[..., 0], means[..., 1])


def _perplexity(means: Means) -> Means:
    return np.exp(_nats_per_token(means))


def _bits_per_byte(means: Means) -> Means:
    return ratio(means[..., 0], means[..., 2] * math.log(2.0))


def _by_byte(means: Means) -> Means:
    first, second = (ratio(means[..., at], means[..., at + 1] * math.log(2.0)) for at in (0, 2))
    return first - second


def _by_token(means: Means) -> Means:
    return ratio(means[..., 0] - means[..., 2], means[..., 4])


def _times(means: Means) -> Means:
    return np.exp(_by_token(means))


_MEASURES: dict[str, Statistic] = {
    "nats_per_token": _nats_per_token,
    "perplexity": _perplexity,
    "bits_per_byte": _bits_per_byte,
}
