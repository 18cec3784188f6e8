"""Losses by noise level: collected while training and measuring, and read for signs of trouble at the end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..objectives import Scores
from ..randomness import move
from ..shapes import Where

LEVELS = 10
"""Level k holds the texts, or blocks of text, whose mask rate is nearest to k/10, from 10 % to 100 %."""
BUCKETS = (0.25, 0.5, 0.75, 1.0)
"""Upper edges of the four mask-ratio buckets of the accuracy."""
LOSS_AT, ACCURACY_TO = "loss_at_", "accuracy_to_"
"""What stands before the level, or the edge of the bucket, in percent, in the names of logged figures."""
_PARTS = [2, 3 * LEVELS, 2 * len(BUCKETS), 2]


@dataclass
class LevelMeter:
    """Sums of losses and hits, in all and per noise level; nats and counts, on the device until read."""

    sums: Tensor = field(default_factory=lambda: torch.zeros(sum(_PARTS), dtype=torch.float64))
    """Nats of the loss and editable tokens; cross-entropy, correct and asked tokens by level; correct and
    asked tokens by bucket; nats and places of steps that learnt where texts end."""

    @staticmethod
    def rows(scores: Scores, editable: Where) -> Float[Tensor, "batch sums"]:
        """The sums of each row, which `add` takes; they begin with nats and editable tokens."""
        rate = scores.rate if scores.rate.ndim == 2 else scores.rate[:, None]
        rate = rate.float().expand_as(scores.nats).contiguous()
        level = (rate * LEVELS).round().clamp(1, LEVELS).long() - 1
        bucket = torch.bucketize(rate, torch.tensor(BUCKETS[:-1], device=rate.device))
        whole = torch.stack([of.detach().float().sum(1) for of in (scores.nats, editable)], dim=1)
        return torch.cat(
            [
                whole,
                *(_by(level, LEVELS, of) for of in (scores.cross_entropy, scores.correct, scores.asked)),
                *(_by(bucket, len(BUCKETS), of) for of in (scores.correct, scores.asked)),
                torch.zeros_like(whole),
            ],
            dim=1,
        )

    def add_unlevelled(self, rows: Float[Tensor, "batch sums"]) -> None:
        """Take in some rows that have no noise level."""
        self.add(torch.cat([rows[:, :2], torch.zeros_like(rows[:, 2:])], dim=1))

    def add_ends(self, rows: Float[Tensor, "batch sums"]) -> None:
        """Take in some rows of a step that learnt where texts end, whose nats are no nats of tokens."""
        self.add(torch.cat([torch.zeros_like(rows[:, 2:]), rows[:, :2]], dim=1))

    def add(self, rows: Float[Tensor, "batch sums"]) -> None:
        """Take in some rows."""
        self.sums = move(self.sums, rows.device) + move(rows, rows.device).sum(0)

    def numbers(self) -> Tensor:
        """Everything in one row of numbers, which may be added to that of another meter."""
        return self.sums

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> "LevelMeter":
        """The meter that gave these numbers."""
        return cls(torch.tensor(numbers, dtype=torch.float64))

    @property
    def mean_loss(self) -> float:
        """Nats per editable token; nan before anything was added."""
        nats, tokens = self._parts[0].tolist()
        return nats / tokens if tokens else math.nan

    @property
    def tokens(self) -> float:
        """Editable tokens of which `mean_loss` is the mean."""
        return float(self._parts[0][1])

    def losses(self) -> dict[int, float]:
        """Mean cross-entropy in nats per asked token by mask level in percent; empty levels left out."""
        nats, _, asked = self._parts[1].view(3, -1).tolist()
        return {10 * (k + 1): nats[k] / asked[k] for k in range(LEVELS) if asked[k]}

    def report(self) -> dict[str, float]:
        """Losses by level, accuracies by bucket and in all, and the share of struck tokens, as logged."""
        correct, asked = self._parts[2].view(2, -1).tolist()
        found = {f"{LOSS_AT}{level}": loss for level, loss in self.losses().items()}
        edges = [f"{ACCURACY_TO}{int(100 * edge)}" for edge in BUCKETS]
        found |= {name: c / a for name, c, a in zip(edges, correct, asked, strict=True) if a}
        if sum(asked):
            tokens = float(self._parts[0][1])
            found |= {"accuracy": sum(correct) / sum(asked), "masked_share": sum(asked) / tokens}
        nats, places = self._parts[3].tolist()
        return {**found, "end_loss": nats / places} if places else found

    @property
    def _parts(self) -> tuple[Tensor, ...]:
        return torch.split(self.sums, _PARTS)


def _by(place: Int[Tensor, "batch length"], places: int, of: Tensor) -> Float[Tensor, "batch places"]:
    """The numbers of each row, added up by place."""
    return torch.zeros(len(of), places, device=of.device).scatter_add(1, place, of.float())


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
