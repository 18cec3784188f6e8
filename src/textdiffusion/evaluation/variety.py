"""How varied token sequences are: n-grams that differ, that come again, and the entropy of the tokens.

All of them depend on length: a longer text repeats itself more. Compare texts that had equal room.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

Gram = tuple[Hashable, ...]


def distinct_n(texts: Iterable[Sequence[Hashable]], n: int) -> float:
    """Share of different n-grams among all n-grams of the texts, none across two texts (arXiv:1510.03055).

    Between 0 and 1; 1 where there are none. Of a single text with ``[text]``.
    """
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 1.0


def self_bleu(texts: Sequence[Sequence[Hashable]], order: int = 4) -> list[float]:
    """BLEU of each text with all the others as its references (Texygen, arXiv:1802.01886).

    Between 0, where a text shares nothing with another, and 1, where it stands there twice. N-grams up to
    `order`; those of which none is shared count as half an n-gram, and so on (Chen and Cherry 2014), as
    sacreBLEU does for sentences.
    """
    counts = [[Counter(_grams(text, n)) for text in texts] for n in range(1, order + 1)]
    most = [_most(of_size) for of_size in counts]
    sizes = Counter(map(len, texts))
    return [
        _bleu([_shared(of[row], top) for of, top in zip(counts, most, strict=True)], text, sizes)
        for row, text in enumerate(texts)
    ]


def repetition(text: Sequence[Hashable], n: int = 3) -> float:
    """Share of a text's n-grams that stood in it before; 0 where there are none."""
    return 1.0 - distinct_n([text], n)


def token_entropy(text: Sequence[Hashable]) -> float:
    """Entropy, in nats, of how often each token occurs in a text; 0 for an empty one."""
    return math.fsum(count / len(text) * math.log(len(text) / count) for count in Counter(text).values())


def _grams(text: Sequence[Hashable], n: int) -> list[Gram]:
    return list(zip(*(text[start:] for start in range(n)), strict=False))


def _most(counts: Sequence[Counter[Gram]]) -> dict[Gram, tuple[int, int]]:
    """For each n-gram the most that a text has of it, and the most that another one has."""
    found: dict[Gram, tuple[int, int]] = {}
    for of_text in counts:
        for gram, count in of_text.items():
            first, second = found.get(gram, (0, 0))
            found[gram] = (count, first) if count > first else (first, max(second, count))
    return found


def _shared(of_text: Counter[Gram], most: Mapping[Gram, tuple[int, int]]) -> tuple[int, int]:
    """How many n-grams of a text another one has as often, and how many it has."""
    shared = 0
    for gram, count in of_text.items():
        first, second = most[gram]
        shared += min(count, second if count == first else first)
    return shared, of_text.total()


def _bleu(shares: Sequence[tuple[int, int]], text: Sequence[Hashable], sizes: Mapping[int, int]) -> float:
    """The geometric mean of the shares, less for a text shorter than the other one nearest in length."""
    present = [(shared, total) for shared, total in shares if total]
    others = [size for size, count in sizes.items() if count - (size == len(text))]
    if not any(shared for shared, _ in present) or not others:
        return 0.0
    logs, halves = 0.0, 1.0
    for shared, total in present:
        halves *= 1.0 if shared else 2.0
        logs += math.log((shared or 1.0 / halves) / total)
    nearest = min(others, key=lambda size: (abs(size - len(text)), size))
    return math.exp(logs / len(present) + min(0.0, 1.0 - nearest / len(text)))
