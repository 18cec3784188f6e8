"""What completions are worth: right blanks, right among the first, right characters; punctuation apart."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..intervals import Means, Row, Statistic, bootstrap, ratio
from .puzzles import Puzzle
from .solvers import Answer
from .units import is_punctuation

TOP = (1, 5, 10)
"""How many tokens a top-k accuracy looks at."""
KINDS = ("", "words_", "punctuation_")
"""All blanks, and these apart; names of measures begin so."""
Decode = Callable[[Sequence[int]], str]
Table = NDArray[np.float64]

_ARGMAX, _SAMPLED = "argmax", "sampled"
_MEASURES = (_ARGMAX, _SAMPLED, *(f"top_{k}" for k in TOP))
_PER_KIND = 1 + len(_MEASURES)
_SAID, _TRUE, _COMMON = range(len(KINDS) * _PER_KIND, len(KINDS) * _PER_KIND + 3)
_WIDTH = _COMMON + 1


@dataclass(frozen=True)
class Completions:
    """What one solver made of the puzzles of a round."""

    puzzles: Sequence[Puzzle]
    decode: Decode
    answers: Sequence[Answer] | None
    """Its best; None where the protocol asks for a drawn one alone."""
    draws: Sequence[Sequence[Sequence[int]]]
    """Drawn completions: one list for all puzzles, as often as was drawn."""

    @property
    def shown(self) -> list[Sequence[int]]:
        """The completion of each puzzle that is shown, and whose characters are counted."""
        return list(self.draws[0]) if self.answers is None else [answer.ids for answer in self.answers]

    def table(self) -> Table:
        """A line for each text, with blanks and right ones, by kind; then characters."""
        return np.array([self._line(number) for number in range(len(self.puzzles))]).reshape(-1, _WIDTH)

    def _line(self, number: int) -> list[float]:
        puzzle = self.puzzles[number]
        answer = None if self.answers is None else self.answers[number]
        drawn = [puzzle.right(each[number]) for each in self.draws]
        right: list[NDArray[np.float64]] = [
            np.array(puzzle.right(answer.ids) if answer else [0.0] * puzzle.blanks, dtype=np.float64),
            np.mean(drawn, axis=0, dtype=np.float64) if drawn else np.zeros(puzzle.blanks),
        ]
        worst = [max(ranks, default=None) for ranks in puzzle.by_blank(answer.ranks)] if answer else []
        right += [np.array([rank is not None and rank < k for rank in worst], dtype=np.float64) for k in TOP]
        marks = np.array([is_punctuation(said) for said in puzzle.said], dtype=bool)
        line = list[float]()
        for kind in (np.ones_like(marks), ~marks, marks):
            line.append(float(kind.sum()))
            line += [float(values[kind].sum()) if len(values) else 0.0 for values in right]
        return [*line, *self._characters(number)]

    def _characters(self, number: int) -> list[float]:
        puzzle = self.puzzles[number]
        filled = (self.decode(ids).strip() for ids in puzzle.by_blank(self.shown[number]))
        said, true = Counter("".join(filled)), Counter("".join(puzzle.said))
        return [float(part.total()) for part in (said, true, said & true)]

    def _measured(self) -> Iterator[tuple[str, int]]:
        """The measures that were taken, each with its column behind the count of blanks."""
        for place, name in enumerate(_MEASURES):
            if bool(self.draws) if place == _MEASURES.index(_SAMPLED) else self.answers is not None:
                yield name, 1 + place

    def row(self, table: Table, seed: int) -> Row:
        """All measures in intervals over texts, and what was counted."""
        statistics: dict[str, Statistic] = {}
        for place, kind in enumerate(KINDS):
            first = place * _PER_KIND
            if table[:, first].any():
                statistics |= {
                    f"{kind}{name}": partial(_share, first + column, first)
                    for name, column in self._measured()
                }
        statistics["character_f1"] = _character_f1
        row: Row = {}
        for name, number in bootstrap(table, statistics, seed).items():
            row |= number.row(name)
        blanks = {f"{kind}blanks": int(table[:, at * _PER_KIND].sum()) for at, kind in enumerate(KINDS)}
        tokens = sum(len(puzzle.truth) for puzzle in self.puzzles)
        return {
            **row,
            **blanks,
            "documents": int((table[:, 0] > 0).sum()),
            "tokens": tokens,
            "torn": sum(puzzle.torn for puzzle in self.puzzles),
            "draws": len(self.draws),
        }

    @property
    def headline(self) -> str:
        """The measure by which solvers are compared."""
        return _SAMPLED if self.answers is None else _ARGMAX

    def against(self, own: Table, first: Table, seed: int) -> Row:
        """How much more of the blanks it has right than the first solver, texts drawn anew in pairs."""
        column = 1 + _MEASURES.index(self.headline)
        table = np.stack([own[:, column], own[:, 0], first[:, column], first[:, 0]], axis=1)
        (number,) = bootstrap(table, {"difference": _difference}, seed).values()
        return number.row("difference")


def spread(table: Table, numbers: Sequence[int], count: int) -> Table:
    """The lines under their numbers, and lines of nothing for texts of which nothing is hidden."""
    found = np.zeros((count, table.shape[1]))
    found[list(numbers)] = table
    return found


def _share(over: int, under: int, means: Means) -> Means:
    return ratio(means[..., over], means[..., under])


def _difference(means: Means) -> Means:
    return ratio(means[..., 0], means[..., 1]) - ratio(means[..., 2], means[..., 3])


def _character_f1(means: Means) -> Means:
    return ratio(2.0 * means[..., _COMMON], means[..., _SAID] + means[..., _TRUE])
