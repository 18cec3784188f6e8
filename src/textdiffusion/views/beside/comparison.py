"""Recorded texts on one clock: what stood where, at any moment of a race."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from math import isfinite

from ...errors import SettingsError
from ..trace import Trace

SHORTEST, LONGEST = 4.0, 30.0
"""Seconds within which an animation can be followed, and is watched to its end."""
HOLD = 3.0
"""Seconds that the finished texts stay before an animation begins again."""


@dataclass(frozen=True)
class Contestant:
    """One text of a comparison."""

    label: str
    """What stands above it: whose it is, and how it was written."""
    trace: Trace
    """Its snapshots, each with the time that was measured when it was made."""
    tokens: int
    """New tokens up to the end of the text."""
    unit: str = "Step"
    """What is counted: a step, or a token where each step writes one."""

    @cached_property
    def times(self) -> Sequence[float]:
        """Seconds after which each snapshot was there."""
        return [shot.seconds for shot in self.trace.snapshots]

    @property
    def seconds(self) -> float:
        """Seconds until the text was finished."""
        return self.times[-1]

    @property
    def speed(self) -> float:
        """New tokens in a second."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def done(self, index: int) -> float:
        """Share of the steps that lie behind snapshot `index`, in [0, 1]; all of them at the last."""
        return 1.0 if self.is_last(index) else self.trace.snapshots[index].step / max(1, self.trace.steps)

    def is_last(self, index: int) -> bool:
        """Whether the text is finished at snapshot `index`."""
        return index == len(self.times) - 1

    def state(self, index: int) -> str:
        """How far it is at snapshot `index`, and when that was; at the end also how fast it went."""
        shot = self.trace.snapshots[index]
        calls = f"{shot.nfe} call{'' if shot.nfe == 1 else 's'}"
        told = f"{self.unit} {shot.step} / {self.trace.steps}, {calls}, {shot.seconds:.2f} s"
        return f"{told}, done, {self.speed:.0f} tokens/s" if self.is_last(index) else told


@dataclass(frozen=True)
class Moment:
    """A time at which something changes."""

    tick: int
    """On the clock of the animation, in its units."""
    indices: tuple[int, ...]
    """The newest snapshot of each contestant."""


@dataclass(frozen=True)
class Comparison:
    """Texts that began at the same time, and how fast their clock runs when they are shown."""

    contestants: tuple[Contestant, ...]
    speed: float = 1.0
    """Measured seconds that pass in one second of an animation; 1 is real time."""

    def __post_init__(self) -> None:
        """Refuse a clock that stands still, and a race without runners."""
        if not self.contestants:
            raise SettingsError("there is nothing to compare; give at least one text.")
        if not (isfinite(self.speed) and self.speed > 0.0):
            raise SettingsError(f"speed is {self.speed}; give a number above 0, 1 for real time.")

    @property
    def seconds(self) -> float:
        """Measured seconds until the last text was finished."""
        return max(each.seconds for each in self.contestants)

    def clock(self, seconds: float) -> str:
        """What an animation must say at a measured time: which it is, and how fast it passes."""
        slower = self.speed < 1.0
        factor = 1.0 / self.speed if slower else self.speed
        pace = "in real time" if factor == 1.0 else f"{factor:.3g} times {'slower' if slower else 'faster'}"
        return f"{seconds:.2f} s on the measured clock, shown {pace}"

    def at(self, seconds: float) -> tuple[int, ...]:
        """The newest snapshot of each contestant at a measured time."""
        return tuple(max(0, bisect_right(each.times, seconds) - 1) for each in self.contestants)

    def moments(self, tick: float) -> list[Moment]:
        """All changes in the order of their times, which are rounded to ticks of the animation in seconds.

        Each time is rounded by itself, so that no error adds up; changes that fall on one tick come together.
        """
        placed = [[round(seconds / self.speed / tick) for seconds in c.times] for c in self.contestants]
        ticks = sorted({0}.union(*placed))
        return [Moment(now, tuple(max(0, bisect_right(each, now) - 1) for each in placed)) for now in ticks]


def followable(seconds: float) -> float:
    """The speed at which a race of that many seconds can be followed.

    Real time if it lasts long enough for that and not too long; else the least of 1, 2, 5, 10, ... times
    slower, or faster, that makes it so.
    """
    if seconds <= 0.0:
        return 1.0
    if seconds < SHORTEST:
        return 1.0 / next(factor for factor in _round_numbers() if seconds * factor >= SHORTEST)
    return float(next(factor for factor in _round_numbers() if seconds / factor <= LONGEST))


def _round_numbers() -> Iterator[int]:
    return (digit * 10**power for power in count() for digit in (1, 2, 5))
