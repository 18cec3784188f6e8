"""What came of each way of writing: figures beside those of human text, what deceives, and who is best."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..intervals import Measured
from .metric import BELOW, Material, Metric
from .texts import Texts

Figures = Mapping[str, Measured]
"""Of one way, or of human text, by the names of the metrics."""


def figures_of(
    texts: Texts, material: Material, metrics: Mapping[str, Metric], seed: int
) -> dict[str, Measured]:
    """All figures of some texts.

    Raises:
        SettingsError: a metric cannot be had, or gave no numbers.
    """
    return {name: metric.figure(texts, material, seed) for name, metric in metrics.items()}


@dataclass(frozen=True)
class Suspicion:
    """A figure that looks better than the texts are."""

    metric: str
    way: str
    guard: str
    """The figure that shows it."""
    value: float
    low: float
    """Human text has the guard from here ..."""
    high: float
    """... to here."""


def suspicions(
    way: str, figures: Figures, human: Figures, metrics: Mapping[str, Metric]
) -> Iterator[Suspicion]:
    """Figures of a way that a guard makes doubtful, whose interval lies apart from human text's, and ill."""
    for name, metric in metrics.items():
        for guard, side in metric.guards.items():
            if guard not in figures:
                continue
            own, norm = figures[guard], human[guard]
            if norm.low is None or norm.high is None:
                continue
            low, high = (own.value if end is None else end for end in (own.low, own.high))
            if high < norm.low if side == BELOW else low > norm.high:
                yield Suspicion(name, way, guard, own.value, norm.low, norm.high)


def told(found: Iterable[Suspicion], metrics: Mapping[str, Metric]) -> Iterator[str]:
    """Which metrics are not to be believed of which ways, and why, line by line."""
    by_reason: dict[str, dict[str, dict[str, Suspicion]]] = {}
    named: dict[str, dict[str, None]] = {}
    for each in found:
        reason = metrics[each.metric].gamed
        named.setdefault(reason, {})[each.metric] = None
        by_reason.setdefault(reason, {}).setdefault(each.way, {})[each.guard] = each
    for reason, by_way in by_reason.items():
        yield f"{' and '.join(named[reason])} may deceive: {reason}. Not to be believed of"
        for way, guards in by_way.items():
            yield f"  {way}: {', '.join(map(_outside, guards.values()))}"


def loss(metric: Metric, value: float, human: float) -> float:
    """How bad a figure is: less is better."""
    return metric.better * -value if metric.better else abs(value - human)


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Numbers of the points (cost, loss) than which none is both cheaper and better, the cheapest first."""
    found, best = list[int](), math.inf
    for number in sorted(range(len(points)), key=lambda number: points[number]):
        if points[number][1] < best:
            found.append(number)
            best = points[number][1]
    return found


def _outside(found: Suspicion) -> str:
    return f"{found.guard} {found.value:.3g} (human text {found.low:.3g} to {found.high:.3g})"
