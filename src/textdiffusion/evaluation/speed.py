"""What a generation costs: seconds, network calls, memory, and what an approximate cache gets wrong."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..generation import Frame
from .memory import weighed

CPU = torch.device("cpu")


class Work(NamedTuple):
    """What a contestant did in one round."""

    tokens: int
    """New tokens."""
    nfe: int
    """Network calls."""
    first_settled: float | None = None
    """Seconds until the first of the tokens stood there; None where nobody looked."""


@dataclass(frozen=True)
class Cost:
    """What one way of generating takes, over several rounds."""

    seconds: Sequence[float]
    """Wall time of each round, the warm-up left out."""
    tokens: int
    """New tokens of a round."""
    nfe: int
    """Network calls of a round."""
    megabytes: float | None
    """Most memory taken above what was held before, in the round that warms up; None where it is unknown."""
    first_settled: float | None = None
    """Seconds until the first token stood there, in the middle round; None where nobody looked."""

    @property
    def median(self) -> float:
        """Seconds of the middle round."""
        return statistics.median(self.seconds)

    @property
    def tokens_per_second(self) -> float:
        """New tokens in a second of the middle round."""
        return self.tokens / self.median

    def speed_against(self, other: "Cost") -> float:
        """How many times faster than `other`: the middle one of the ratios within the rounds.

        A slow spell of the machine hits both sides of a round, and so leaves the ratio alone.
        """
        return statistics.median(b / a for a, b in zip(self.seconds, other.seconds, strict=True))


def race(
    contestants: Mapping[str, Callable[[], Work]],
    rounds: int,
    *,
    device: torch.device = CPU,
) -> dict[str, Cost]:
    """Let the contestants take turns for some rounds, after one round that warms up and weighs them."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    first: dict[str, list[float]] = {name: [] for name in contestants}
    work = {name: weighed(write, device) for name, write in contestants.items()}
    for _ in range(rounds):
        for name, write in contestants.items():
            begin = time.perf_counter()
            done = write()
            seconds[name].append(time.perf_counter() - begin)
            first[name] += [] if done.first_settled is None else [done.first_settled]
    return {
        name: Cost(
            seconds[name],
            done.tokens,
            done.nfe,
            megabytes,
            statistics.median(first[name]) if first[name] else None,
        )
        for name, (done, megabytes) in work.items()
    }


@torch.inference_mode()
def staleness(denoiser: Denoiser, corruption: Corruption, canvas: Canvas, frames: Sequence[Frame]) -> float:
    """KL divergence, in nats per token, of what a cache let the network say from what it would have said.

    Each written token is a draw from the former, whose probability p is in the frames; the latter's, q, is
    asked for here, by reading the whole text as it stood before. q/p - 1 - log(q/p) has the divergence as its
    mean and is never negative (Schulman, 2020, joschu.net/blog/kl-approx.html). It needs frames of a
    generation at temperature 1 without cuts.
    """
    total, count = 0.0, 0
    for before, after in pairwise(frames):
        new = canvas.editable & after.settled & ~before.settled & ~after.confidence.isnan()
        if not bool(new.any()):
            continue
        now = torch.zeros(len(canvas.tokens), 1, device=canvas.tokens.device)
        logits = denoiser(before.tokens, now, attend=canvas.attend, positions=canvas.positions, where=new)
        exact, _ = corruption.nll(logits, after.tokens[new])
        logs = -exact.double() - after.confidence[new].double().log()
        total, count = total + float((logs.expm1() - logs).sum()), count + int(new.sum())
    return total / max(1, count)
