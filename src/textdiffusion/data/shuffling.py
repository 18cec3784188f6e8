"""Another order for what arrives one by one."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def shuffled(items: Iterable[T], size: int, generator: np.random.Generator) -> Iterator[T]:
    """The items in another order: each is drawn evenly from the `size` at hand; 1 keeps the order."""
    source = iter(items)
    at_hand = list(islice(source, size))
    for item in source:
        place = int(generator.integers(len(at_hand)))
        yield at_hand[place]
        at_hand[place] = item
    for place in generator.permutation(len(at_hand)) if size > 1 else range(len(at_hand)):
        yield at_hand[int(place)]
