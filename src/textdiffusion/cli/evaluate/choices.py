"""`textdiffusion evaluate choices`: multiple choice, last words, gaps and questions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ...data.sources import available_splits
from ...errors import SettingsError
from ...evaluation.choices import TASKS, Benchmark, Report, Subject, compare, difference_row
from ...evaluation.intervals import Row
from ...evaluation.likelihood import Method
from ...evaluation.methods import Scoring
from ...generation import Decoding
from ...language_model import DiffusionLM, load
from ...views.files import write_whole
from ..flags import IN_A_ROW, Parser, build, own
from ..quiet import quiet_libraries


@dataclass(frozen=True)
class Asked:
    """Which model, about what."""

    task: str = ""
    """What is asked; the list of tasks stands below."""
    data: str = ""
    """Its records: a file, a folder of splits, or a data set of the Hub; the task's own there if left out."""
    split: str | None = None
    """Split to measure on; the task's usual one, or the whole file, when left out."""
    model: str | None = None
    """Model folder or Hub id; `starter`, which comes with this program, when left out."""
    baseline: str | None = None
    """A second model, asked about the same items and compared in pairs."""
    limit: int | None = None
    """Most items, drawn by the seed; all when left out."""
    length: int = Subject.length
    """New tokens of a written answer; a gap has as many as its true text."""
    mutual_information: bool = False
    """Score options without their prompts too, for acc_mutual_info."""
    save: Path | None = None
    """File of JSON lines for what was asked and answered, item by item."""
    seed: int = 0
    """Of the choice of items, of noise, and of what is written."""
    device: str | None = None
    """auto, cpu, cuda or mps; the fastest there is when left out."""
    dtype: str | None = None
    """How weights are held: float32, bfloat16, float16, int8 (for CPUs), or auto, as saved."""
    json: bool = False
    """Print one JSON object for each model."""

    def __post_init__(self) -> None:
        """Refuse what could only fail after the model is loaded.

        Raises:
            SettingsError, UnknownNameError: see the message.
        """
        if not self.task:
            raise SettingsError(f"say what is asked: --task with one of {', '.join(TASKS)}.")
        self.benchmark.measure.check()
        for name in ("limit", "length"):
            if self.__dict__[name] is not None and self.__dict__[name] < 1:
                raise SettingsError(f"{name} is {self.__dict__[name]}; it must be at least 1.")
        if not self.source:
            raise SettingsError(f"the task {self.task} has no data of its own; give --data FILE.")

    @property
    def benchmark(self) -> Benchmark[Any]:
        """The task."""
        return TASKS[self.task]

    @property
    def source(self) -> str:
        """Where the records are."""
        return self.data or self.benchmark.hub

    def chosen_split(self) -> str:
        """The split to measure on.

        Raises:
            SettingsError: the data have no split that the task is measured on.
        """
        there, usual = available_splits(self.source), self.benchmark.splits
        if self.split is not None or not there:
            return self.split or usual[0]
        found = next((name for name in usual if name in there), None)
        if found is None:
            raise SettingsError(
                f"{self.source} has no split to measure on (it has {', '.join(there)}); name one with --split."
            )
        return found


def run(prog: str, argv: Sequence[str]) -> int:
    """Ask the model, and the baseline if there is one, and print what came out."""
    parser = Parser(prog, "Ask a model questions that have right answers.", tuples=IN_A_ROW)
    parser.epilog = "tasks: " + "; ".join(f"{name}: {each.summary}" for name, each in TASKS.items())
    scoring = {entry.name for entry in fields(Scoring)}
    parser.add_fields(Asked)
    parser.add_fields(Scoring, title="how options are scored (sampler, steps, ... also write answers)")
    parser.add_fields(Decoding, title="how answers are written", skip={"settings", *scoring})
    given = parser.read(argv)
    asked, method, options = build(Asked, given), build(Scoring, given).chosen(), own(Decoding, given)
    Decoding().changed(options).recipe()  # raises now what would be raised after loading
    split = asked.chosen_split()
    quiet_libraries()
    names = [asked.model] if asked.baseline is None else [asked.model, asked.baseline]
    subjects = [_subject(asked, _load(asked, name), method, options) for name in names]
    items = asked.benchmark.items(asked.source, split)
    reports = list(compare(asked.benchmark, subjects, items, limit=asked.limit, seed=asked.seed))
    told = {"task": asked.task, "data": asked.source, "split": split, "seed": asked.seed}
    rows = [told | report.row() for report in reports]
    if len(reports) > 1:
        rows.append(told | difference_row(*reports, seed=asked.seed))
    if asked.save is not None:
        _save(asked.save, reports)
    _show(asked, rows, reports)
    return 0


def _load(asked: Asked, name: str | None) -> DiffusionLM:
    named = {"name": name, "device": asked.device, "dtype": asked.dtype}
    return load(**{key: value for key, value in named.items() if value is not None}, compile=False)


def _subject(asked: Asked, lm: DiffusionLM, method: Method, options: dict[str, Any]) -> Subject:
    return Subject(
        lm,
        method,
        lm.decoding(None, options),
        length=asked.length,
        mutual=asked.mutual_information,
        seed=asked.seed,
    )


def _save(path: Path, reports: Sequence[Report]) -> None:
    """What was asked and answered, a line for each item and model."""
    lines = [{"model": each.name} | row for each in reports for row in each.outcome.rows]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_whole(path, text.encode("utf-8", "surrogatepass"))


def _show(asked: Asked, rows: Sequence[Row], reports: Sequence[Report]) -> None:
    """JSON lines, or a table with a column for each model."""
    if asked.json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table("", *(str(row["model"]) for row in rows))
    for name in reports[0].numbers:
        table.add_row(name, *(_cell(row, name) for row in rows))
    console = Console(highlight=False)
    console.print(table)
    for report in reports:
        told = {"left_out": report.left_out, **report.outcome.told, "seconds": report.seconds}
        known = ", ".join(f"{name} {value:.4g}" for name, value in told.items())
        console.print(f"{report.name}: {report.items} items of {asked.source}; {known}", soft_wrap=True)


def _cell(row: Row, name: str) -> str:
    """A number with its 95 % interval."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    ends = "" if low is None else f" [{low:.4g}, {high:.4g}]"
    return f"{row[name]:.4g}{ends}"
