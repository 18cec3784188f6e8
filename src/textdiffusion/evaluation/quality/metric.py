"""What a metric of written text is: what it looks at, what it gives, and how it can be deceived."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...errors import SettingsError
from ..intervals import Measured, Statistic, bootstrap, column, jackknife
from .copying import Copies
from .scorer import Scorer
from .texts import Texts

LESS, HUMAN, MORE = -1, 0, 1
"""What is better: less of a metric, as much as human text has, or more."""
BELOW, ABOVE = -1, 1
"""On which side of human text a metric shows that another one was deceived."""


@dataclass(frozen=True)
class Material:
    """What a metric may look at beside the texts."""

    human: Texts
    """Held-out texts with as much room; none of those that are measured as human text themselves."""
    scorer: Scorer | None = None
    copies: Copies | None = None
    """What the texts have in common with the training text."""

    @property
    def judge(self) -> Scorer:
        """The scorer.

        Raises:
            SettingsError: none was named.
        """
        if self.scorer is None:
            raise SettingsError("this metric reads the texts by another model; name one with --scorer.")
        return self.scorer

    @property
    def copied(self) -> Copies:
        """What was found of the texts in the training text.

        Raises:
            SettingsError: no training text was named.
        """
        if self.copies is None:
            raise SettingsError(
                "this metric looks the texts up in the training text; name it with --train-data."
            )
        return self.copies


Measure = Callable[[Texts, Material], Sequence[float] | Sequence[Sequence[float]] | float]
"""Numbers for each text, nan where there is nothing to measure; or one number for the set."""


_MEAN: Statistic = column(0)


@dataclass(frozen=True)
class Metric:
    """A row of the table of metrics."""

    measure: Measure
    """What is measured; its docstring says how, and where it comes from."""
    about: str
    """In one line."""
    better: int = HUMAN
    """LESS, MORE, or HUMAN: neither, but what human text has."""
    of: Statistic = _MEAN
    """The figure, made of the means over texts of the numbers for each."""
    gamed: str = ""
    """How it looks better than the texts are."""
    guards: Mapping[str, int] = field(default_factory=dict)
    """Metrics that show it, by the side of human text on which they then lie."""
    least: int = 0
    """Texts below which it says little."""
    needs_scorer: bool = False
    needs_training: bool = False
    by_name: bool = False
    """Measured only if it is asked for by its name."""

    def figure(self, texts: Texts, material: Material, seed: int) -> Measured:
        """The figure of some texts, with its standard error and interval.

        Raises:
            SettingsError: it did not give one number for each text, nor one for all.
        """
        found = self.measure(texts, material)
        if isinstance(found, int | float):
            return jackknife(lambda rows: self._whole(texts, rows, material), len(texts))
        table = np.asarray(found, dtype=np.float64).reshape(len(found), -1)
        if len(table) != len(texts):
            raise SettingsError(
                f"a metric gave {len(table)} numbers for {len(texts)} texts; it must give one for each text, "
                "or a single one for all."
            )
        known = table[~np.isnan(table).any(1)]
        if not len(known):
            return Measured(math.nan, None, None, None)
        return bootstrap(known, {"figure": self.of}, seed)["figure"]

    def _whole(self, texts: Texts, rows: Sequence[int], material: Material) -> float:
        found = self.measure(texts.only(rows), material)
        assert isinstance(found, int | float)
        return float(found)
