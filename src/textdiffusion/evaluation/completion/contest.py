"""Everybody fills the same blanks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...errors import DataError, SettingsError
from ..intervals import Row
from .protocols import Chosen, Protocol, Ratio
from .puzzles import Puzzle
from .scores import Completions, Decode, Table, spread
from .solvers import Solver


@dataclass(frozen=True)
class Entrant:
    """One row of the table: who fills."""

    name: str
    """What it is called in the report."""
    model: str
    """The model that it is, or whose tokens it counts."""
    solver_name: str
    solver: Solver
    reader: int
    """Which set of puzzles it is given."""
    decode: Decode


@dataclass(frozen=True)
class Sample:
    """A worked example."""

    original: str
    masked: str
    completed: str
    accuracy: float


@dataclass(frozen=True)
class Result:
    """What one entrant reached at one ratio."""

    row: Row
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Asking:
    """How much is asked."""

    draws: int = 4
    """Completions drawn for each text, where the protocol asks for more than one; 0 draws none."""
    report_samples: int = 3
    """Texts that are shown as Original, Masked and Completed."""

    def __post_init__(self) -> None:
        """Refuse less than nothing.

        Raises:
            SettingsError: see the message.
        """
        for name in ("draws", "report_samples"):
            if self.__dict__[name] < 0:
                raise SettingsError(f"{name} is {self.__dict__[name]}; give 0 or more.")


def hold(
    name: str,
    protocol: Protocol,
    chosen: Chosen,
    entrants: Sequence[Entrant],
    asking: Asking,
    seed: int,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Result]:
    """Results as they come: ratio by ratio, entrant by entrant, each compared with the first.

    Raises:
        DataError: nothing is hidden at some ratio.
    """
    for round_ in chosen.rounds:
        first: Table | None = None
        for entrant in entrants:
            every = round_.sets[entrant.reader]
            numbers = [number for number, puzzle in enumerate(every) if puzzle.blanks]
            if not numbers:
                raise DataError(
                    f"nothing is hidden of any text at ratio {round_.ratio:g}; give longer texts or ratios."
                )
            if progress is not None:
                progress(f"{name}, {round_.ratio:g}: {entrant.name}")
            found = _completions([every[number] for number in numbers], protocol, entrant, asking, seed)
            table = spread(found.table(), numbers, len(every))
            row = {**_told(name, round_.ratio, entrant), **found.row(table, seed)}
            if first is None:
                first = table
            else:
                row |= found.against(table, first, seed)
            yield Result(row, list(_samples(found, asking.report_samples)))


def _completions(
    puzzles: Sequence[Puzzle], protocol: Protocol, entrant: Entrant, asking: Asking, seed: int
) -> Completions:
    solver, draws = entrant.solver, 1 if protocol.once else asking.draws
    best = None if protocol.once else solver.best(puzzles)
    drawn = [solver.draw(puzzles, seed + number) for number in range(draws)]
    return Completions(puzzles, entrant.decode, best, drawn)


def _told(name: str, ratio: Ratio, entrant: Entrant) -> Row:
    return {
        "protocol": name,
        "ratio": ratio,
        "name": entrant.name,
        "solver": entrant.solver_name,
        "model": entrant.model,
    }


def _samples(found: Completions, count: int) -> Iterable[Sample]:
    for puzzle, ids in list(zip(found.puzzles, found.shown, strict=True))[:count]:
        right = puzzle.right(ids)
        completed = puzzle.completed(ids, found.decode)
        yield Sample(puzzle.original, puzzle.masked, completed, sum(right) / len(right))
