"""Solvers that count training text: a constant, frequencies, n-grams from one side and from both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...randomness import RowGenerator, draw_categorical
from .ngrams import Chances, NGrams
from .puzzles import Puzzle
from .solvers import Answer, Solver, Subject, seeds_of


@dataclass(frozen=True)
class Counting(Solver):
    """Each hole by itself, given what is shown around it."""

    chances: Callable[[Sequence[int], Sequence[int]], Chances]
    """The chance of each token, given what is shown before a hole up to the next one, and behind it."""
    barred: Sequence[int]
    """Ids that nobody may write."""
    fixed: bool = False
    """Whether its most probable token is all that it ever draws."""

    def best(self, puzzles: Sequence[Puzzle]) -> list[Answer]:
        return [self._answer(puzzle) for puzzle in puzzles]

    def draw(self, puzzles: Sequence[Puzzle], seed: int) -> list[list[int]]:
        if self.fixed:
            return [answer.ids for answer in self.best(puzzles)]
        found = []
        for puzzle, own in zip(puzzles, seeds_of(puzzles, seed), strict=True):
            numbers = RowGenerator.for_rows([own]).uniform(len(puzzle.truth))[0]
            rows = (torch.from_numpy(self._chances(puzzle, place))[None] for place in _places(puzzle))
            pairs = zip(rows, numbers, strict=True)
            found.append([int(draw_categorical(row, number[None])) for row, number in pairs])
        return found

    def _answer(self, puzzle: Puzzle) -> Answer:
        ids, ranks = [], []
        for place, true in zip(_places(puzzle), puzzle.truth, strict=True):
            chances = self._chances(puzzle, place)
            ids.append(int(chances.argmax()))
            ranks.append(int((chances > chances[true]).sum() + (chances[:true] == chances[true]).sum()))
        return Answer(ids, ranks)

    def _chances(self, puzzle: Puzzle, place: int) -> Chances:
        ids, holes = puzzle.ids, puzzle.holes
        start, end = place, place + 1
        while start and not holes[start - 1]:
            start -= 1
        while end < len(ids) and not holes[end]:
            end += 1
        found = self.chances(ids[start:place], ids[place + 1 : end]).copy()
        found[list(self.barred)] = 0.0
        return found


def _places(puzzle: Puzzle) -> list[int]:
    return [place for place, hole in enumerate(puzzle.holes) if hole]


def _counting(
    subject: Subject, chances: Callable[[Sequence[int], Sequence[int]], Chances], *, fixed: bool
) -> Counting:
    return Counting(chances, subject.barred, fixed)


def _frequencies(subject: Subject) -> Callable[[Sequence[int], Sequence[int]], Chances]:
    alone = NGrams.of(subject.training, subject.lm.vocab_size, 1).after(())
    return lambda before, behind: alone


def constant(subject: Subject) -> Solver | None:
    """The most frequent token, whatever is asked."""
    return _counting(subject, _frequencies(subject), fixed=True) if subject.training else None


def unigram(subject: Subject) -> Solver | None:
    """Tokens as often as they occur."""
    return _counting(subject, _frequencies(subject), fixed=False) if subject.training else None


def n_gram(subject: Subject) -> Solver | None:
    """What follows the tokens that stand before."""
    if not subject.training:
        return None
    forward = NGrams.of(subject.training, subject.lm.vocab_size, subject.effort.order)
    return _counting(subject, lambda before, behind: forward.after(before), fixed=False)


def n_gram_both(subject: Subject) -> Solver | None:
    """What stands between these tokens, either side speaking for itself: p(x | left) p(x | right) / p(x)."""
    if not subject.training:
        return None
    sizes = (subject.lm.vocab_size, subject.effort.order)
    forward = NGrams.of(subject.training, *sizes)
    backward = NGrams.of(subject.training, *sizes, backwards=True)
    alone = forward.after(())

    def chances(before: Sequence[int], behind: Sequence[int]) -> Chances:
        found = forward.after(before) * backward.after(list(behind)[::-1]) / alone
        return np.asarray(found / found.sum())

    return _counting(subject, chances, fixed=False)
