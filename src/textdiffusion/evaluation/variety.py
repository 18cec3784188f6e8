"""How varied token sequences are: n-grams that differ, that come again, and the entropy of the tokens.

All of them depend on length: a longer text repeats itself more. Compare texts that had equal room.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence


def distinct_n(texts: Iterable[Sequence[Hashable]], n: int) -> float:
    """Share of different n-grams among all n-grams of the texts, none across two texts (arXiv:1510.03055).

    Between 0 and 1; 1 where there are none. Of a single text with ``[text]``.
    """
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 1.0


def repetition(text: Sequence[Hashable], n: int = 3) -> float:
    """Share of a text's n-grams that stood in it before; 0 where there are none."""
    return 1.0 - distinct_n([text], n)


def token_entropy(text: Sequence[Hashable]) -> float:
    """Entropy, in nats, of how often each token occurs in a text; 0 for an empty one."""
    return math.fsum(count / len(text) * math.log(len(text) / count) for count in Counter(text).values())


def _grams(text: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return list(zip(*(text[start:] for start in range(n)), strict=False))
