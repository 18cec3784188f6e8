"""Losses by noise level: collected while training and measuring, and read for signs of trouble at the end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..objectives import Scores
from ..randomness import move

LEVELS = 10
"""Level k holds the rows whose mask rate is nearest to k/10, from 10 % to 100 %."""
BUCKETS = (0.25, 0.5, 0.75, 1.0)
"""Upper edges of the four mask-ratio buckets of the accuracy."""


@dataclass
class LevelMeter:
    """Sums of losses and hits, in all and per noise level; nats and counts, on the device until read."""

    totals: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))
    """Nats of the loss and editable tokens."""
    sums: Tensor = field(default_factory=lambda: torch.zeros(3, LEVELS, dtype=torch.float64))
    """Cross-entropy, correct and asked tokens per level."""
    buckets: Tensor = field(default_factory=lambda: torch.zeros(2, len(BUCKETS), dtype=torch.float64))
    """Correct and asked tokens per mask-ratio bucket."""

    @staticmethod
    def rows(scores: Scores, editable: Tensor) -> Tensor:
        """What `add` reads of each row: nats, editable tokens, cross-entropy, correct, asked, mask rate."""
        parts = (scores.nats, editable, scores.cross_entropy, scores.correct, scores.asked)
        return torch.stack([*(part.detach().float().sum(1) for part in parts), scores.rate.float()], dim=1)

    def add_unlevelled(self, rows: Tensor) -> None:
        """Take in some rows that have no noise level."""
        self.totals = move(self.totals, rows.device) + move(rows[:, :2], rows.device).sum(0)

    def add(self, rows: Tensor) -> None:
        """Take in some rows."""
        self.add_unlevelled(rows)
        numbers, rate = move(rows[:, :5], rows.device).T, rows[:, 5].contiguous()
        level = (rate * LEVELS).round().clamp(1, LEVELS).long() - 1
        bucket = torch.bucketize(rate, torch.tensor(BUCKETS[:-1], device=rate.device))
        self.sums = move(self.sums, rows.device).index_add(1, level, numbers[2:])
        self.buckets = move(self.buckets, rows.device).index_add(1, bucket, numbers[3:])

    def numbers(self) -> Tensor:
        """Everything in one row of numbers, which may be added to that of another meter."""
        return torch.cat([part.flatten() for part in (self.totals, self.sums, self.buckets)])

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> "LevelMeter":
        """The meter that gave these numbers."""
        table = torch.tensor(numbers, dtype=torch.float64)
        totals, sums, buckets = torch.split(table, [2, 3 * LEVELS, 2 * len(BUCKETS)])
        return cls(totals, sums.view(3, -1), buckets.view(2, -1))

    @property
    def mean_loss(self) -> float:
        """Nats per editable token; nan before anything was added."""
        nats, tokens = self.totals.tolist()
        return nats / tokens if tokens else math.nan

    def losses(self) -> dict[int, float]:
        """Mean cross-entropy in nats per asked token by mask level in percent; empty levels left out."""
        nats, _, asked = self.sums.tolist()
        return {10 * (k + 1): nats[k] / asked[k] for k in range(LEVELS) if asked[k]}

    def report(self) -> dict[str, float]:
        """Losses by level and accuracies by bucket under the names that go to the logs."""
        correct, asked = self.buckets.tolist()
        found = {f"loss_at_{level}": loss for level, loss in self.losses().items()}
        edges = [f"accuracy_to_{int(100 * edge)}" for edge in BUCKETS]
        found |= {name: c / a for name, c, a in zip(edges, correct, asked, strict=True) if a}
        return found


def diagnose(history: Sequence[dict[int, float]]) -> list[str]:
    """What the losses by level say of a training, in words; no sentence means that nothing looks wrong.

    The four checks of the Text Diffusion Learning Guide: every level falls, 100 % stays the highest, no
    spikes, and the levels keep apart. `history` holds one reading per report, oldest first.
    """
    readings = [reading for reading in history if reading]
    if len(readings) < 3:
        return ["too few reports to judge the losses by noise level; train longer or report more often."]
    third = max(1, len(readings) // 3)
    early, late = _mean(readings[:third]), _mean(readings[-third:])
    return [*_not_falling(early, late), *_not_highest(late), *_spikes(readings), *_collapsed(late)]


def _mean(readings: Sequence[dict[int, float]]) -> dict[int, float]:
    levels = sorted({level for reading in readings for level in reading})
    found = {level: [r[level] for r in readings if level in r] for level in levels}
    return {level: sum(values) / len(values) for level, values in found.items()}


def _not_falling(early: dict[int, float], late: dict[int, float]) -> list[str]:
    stuck = [level for level in early if level in late and late[level] >= 0.995 * early[level]]
    if not stuck:
        return []
    names = ", ".join(f"{level} %" for level in stuck)
    return [f"the loss does not fall at {names} masked: train longer, or change the learning rate."]


def _not_highest(late: dict[int, float]) -> list[str]:
    top = max(late)
    higher = [level for level in late if level < top and late[level] > 1.02 * late[top]]
    if not higher:
        return []
    names = ", ".join(f"{level} %" for level in higher)
    return [
        f"{names} masked is harder than {top} %: the model does not use the visible tokens; check the "
        "masking."
    ]


def _spikes(readings: Sequence[dict[int, float]]) -> list[str]:
    for level in sorted(readings[0]):
        curve = [reading[level] for reading in readings if level in reading]
        for before, now in zip(curve[len(curve) // 4 :], curve[len(curve) // 4 + 1 :], strict=False):
            if now > 1.5 * before + 0.5 or not math.isfinite(now):
                jump = f"jumps from {before:.2f} to {now:.2f}"
                return [f"the loss at {level} % masked {jump}: lower the learning rate."]
    return []


def _collapsed(late: dict[int, float]) -> list[str]:
    if len(late) < 3:
        return []
    low, high = min(late.values()), max(late.values())
    if high - low > 0.05 * high:
        return []
    return [
        f"all noise levels cost about the same ({low:.2f} to {high:.2f} nats): the model has learnt token "
        "frequencies only; train longer or make it larger."
    ]
