"""What an engine has done so far, for who watches it."""

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

_REMEMBERED = 1024
"""Requests whose times are kept."""


@dataclass(frozen=True)
class Spread:
    """Times in seconds, of the last 1024 requests; nan before the first."""

    p50: float
    p95: float


@dataclass(frozen=True)
class Metrics:
    """Numbers at one moment; all but `queued` and `running` only grow."""

    queued: int
    """Requests that wait for their turn."""
    running: int
    """Requests that are written."""
    finished: int
    failed: int
    """Requests that ended in an error, deadlines included."""
    cancelled: int
    refused: int
    """Requests for which the queue was full."""
    passes: int
    """Calls of the network, those that one request had for itself included."""
    shared: int
    """Questions that were answered in a pass with others."""
    tokens_read: int
    """Tokens of text in all passes, each once a pass."""
    tokens_padded: int
    """Tokens of padding in them."""
    waited: Spread
    """From arrival until writing began."""
    took: Spread
    """From arrival until the last token."""

    @property
    def padding_share(self) -> float:
        """Padding among all tokens that were in passes."""
        return self.tokens_padded / max(1, self.tokens_read + self.tokens_padded)


@dataclass
class Counters:
    """What is counted on the way; written by one thread, read by any."""

    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    passes: int = 0
    shared: int = 0
    tokens_read: int = 0
    tokens_padded: int = 0
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def shown(self, queued: int, running: int) -> Metrics:
        """The numbers as they stand."""
        return Metrics(
            queued,
            running,
            self.finished,
            self.failed,
            self.cancelled,
            self.refused,
            self.passes,
            self.shared,
            self.tokens_read,
            self.tokens_padded,
            spread(tuple(self.waits)),
            spread(tuple(self.times)),
        )


def spread(seconds: Collection[float]) -> Spread:
    """The middle one, and the one that 95 of 100 do not exceed (nearest rank)."""
    ordered = sorted(seconds)
    if not ordered:
        return Spread(math.nan, math.nan)
    p50, p95 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95))
    return Spread(p50, p95)
