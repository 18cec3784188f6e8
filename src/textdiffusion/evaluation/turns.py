"""Contestants that write by turns, and the run of each that stands for all of its runs."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ..generation import Frame

Run = Sequence[Frame]
"""All frames of one text, or of one batch."""


def take_turns(contestants: Sequence[Callable[[], Iterable[Frame]]], rounds: int) -> list[list[Run]]:
    """The runs of each contestant, one for each round.

    A round goes before that is thrown away, so that none pays for what is loaded or compiled at first; and
    since all run in every round, a slow spell of the machine hits all of them. Frames are kept as they come,
    on the device that they were made on: whatever is made of them is made afterwards.
    """
    for write in contestants:
        deque(write(), maxlen=0)
    found: list[list[Run]] = [[] for _ in contestants]
    for _ in range(rounds):
        for runs, write in zip(found, contestants, strict=True):
            runs.append(list(write()))
    return found


def seconds_of(run: Run) -> float:
    """Seconds until the last frame was there."""
    return run[-1].seconds


def middle(runs: Sequence[Run]) -> Run:
    """The run that took the middle time, of an even number the quicker of the middle two."""
    return sorted(runs, key=seconds_of)[(len(runs) - 1) // 2]


def first_settled(run: Run) -> float | None:
    """Seconds until something stood where nothing did in the first frame; None if nothing ever does."""
    open_at_first = ~run[0].settled
    return next((frame.seconds for frame in run if bool((frame.settled & open_at_first).any())), None)
