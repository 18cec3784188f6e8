"""The table of metrics of written text.

Each is measured of human text as well: what a number is worth is seen beside that one alone.
"""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from ...registry import Registry
from ..intervals import Means, ratio
from ..variety import distinct_n, repetition, self_bleu, token_entropy
from .mauve import mauve
from .metric import ABOVE, BELOW, LESS, MORE, Material, Metric
from .texts import Texts

_SUSPECT = {"token-entropy": BELOW, "repetition": ABOVE, "self-bleu": ABOVE, "copied": ABOVE}
"""Where text is no better for looking likely."""


def likelihood(texts: Texts, material: Material) -> Sequence[Sequence[float]]:
    """-log p of each text before the scorer given its prompt, with its tokens and its bytes.

    Generative perplexity (as in SEDD, arXiv:2310.16834) is exp of nats per token of the scorer's own
    tokenizer; bits per byte can be compared among tokenizers. Both fall when a text repeats itself, or when
    chances are sharpened on the sly, as draws in low precision do (arXiv:2409.02908).
    """
    return material.judge.nats(texts)


def entropies(texts: Texts, material: Material) -> Sequence[float]:
    """Entropy of how often each token occurs in a text, in nats; it grows with the length of the text."""
    return [token_entropy(ids) for ids in texts.written]


def repetitions(texts: Texts, material: Material) -> Sequence[float]:
    """Share of a text's 3-grams of tokens that stood in it before (as seq-rep-n, arXiv:1908.04319)."""
    return [repetition(ids, 3) for ids in texts.written]


def lengths(texts: Texts, material: Material) -> Sequence[float]:
    """Tokens that were written; measures of variety hang on it."""
    return [float(len(ids)) for ids in texts.written]


def distinct_1(texts: Texts, material: Material) -> float:
    """Share of different tokens among all tokens of all texts (arXiv:1510.03055); less the more texts."""
    return distinct_n(texts.written, 1)


def distinct_2(texts: Texts, material: Material) -> float:
    """Share of different pairs of tokens among all pairs of all texts (arXiv:1510.03055)."""
    return distinct_n(texts.written, 2)


def alikeness(texts: Texts, material: Material) -> float:
    """Mean BLEU-4, on tokens, of each text with all others as references (Texygen, arXiv:1802.01886)."""
    return fmean(self_bleu(texts.written))


def copied(texts: Texts, material: Material) -> Sequence[float]:
    """Share of a text's runs of eight words that stand in the training text (as in arXiv:2111.09509)."""
    return [material.copied.share(text) for text in texts.texts]


def longest_copy(texts: Texts, material: Material) -> Sequence[float]:
    """Words in the longest stretch of a text that stands, run by run, in the training text."""
    return [material.copied.longest(text) for text in texts.texts]


def _perplexity(means: Means) -> Means:
    return np.exp(ratio(means[..., 0], means[..., 1]))


def _bits_per_byte(means: Means) -> Means:
    return ratio(means[..., 0], means[..., 2] * np.log(2.0))


_LIKELY = "text that repeats itself, is alike in all samples, or is copied looks likely to any scorer"

METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "perplexity": Metric(
            likelihood,
            "exp of nats per token before the scorer, given the prompt",
            LESS,
            _perplexity,
            _LIKELY,
            _SUSPECT,
            needs_scorer=True,
        ),
        "bits-per-byte": Metric(
            likelihood,
            "the same in bits for each byte, which can be compared among tokenizers",
            LESS,
            _bits_per_byte,
            _LIKELY,
            _SUSPECT,
            needs_scorer=True,
        ),
        "mauve": Metric(
            mauve,
            "overlap with human text in the scorer's hidden states, 1 where it is the same",
            MORE,
            gamed="copies of training text lie where human text does, and few texts make it high by chance",
            guards={"copied": ABOVE},
            least=1000,
            needs_scorer=True,
            by_name=True,
        ),
        "token-entropy": Metric(entropies, "entropy of the tokens of a text, in nats"),
        "distinct-1": Metric(distinct_1, "share of different tokens among all"),
        "distinct-2": Metric(distinct_2, "share of different pairs of tokens among all"),
        "self-bleu": Metric(alikeness, "how much of each text stands in the others, BLEU-4"),
        "repetition": Metric(repetitions, "share of a text's 3-grams that stood in it before"),
        "copied": Metric(
            copied, "share of a text's runs of 8 words that stand in the training text", needs_training=True
        ),
        "longest-copy": Metric(
            longest_copy, "words in the longest stretch that stands in the training text", needs_training=True
        ),
        "tokens": Metric(lengths, "tokens of a text"),
    },
)
