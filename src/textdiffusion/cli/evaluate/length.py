"""`textdiffusion evaluate length`: how well a model knows where its texts end."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.console import Console
from rich.table import Table

from ...data.prompted import read_prompted
from ...data.sources import available_splits
from ...errors import IncompatibleError, SettingsError
from ...evaluation.length import STUDIES, Example, Row, Subject, examples_of
from ...generation import Decoding
from ...language_model import DiffusionLM, load
from ..flags import IN_A_ROW, Parser, build, own
from ..quiet import quiet_libraries

_MEASURED = ("test", "validation")
"""Splits to measure on, the best first."""
_TRAINED = "train"


@dataclass(frozen=True)
class Asked:
    """Which model, about what."""

    model: str | None = None
    """Model folder or Hub id; `starter`, which comes with this program, when left out."""
    data: str = ""
    """Text, or prompts with answers: a file, a folder of splits, or a data set of the Hub."""
    split: str | None = None
    """Split to measure on; test, else validation, else the whole file when left out."""
    train_data: str = ""
    """Text that the constants are fitted on; the training split of `data` when left out."""
    given: int = 16
    """Leading tokens of each text that serve as its prompt; where data have prompts these are taken."""
    limit: int = 200
    """Most texts that are measured, drawn by the seed."""
    train_limit: int = 2000
    """Most texts that the constants are fitted on."""
    studies: tuple[str, ...] = tuple(STUDIES)
    """Which studies are made."""
    batch: int = 16
    """Texts at once."""
    seed: int = 0
    """Of the choice of texts, of cuts, and of what is generated."""
    device: str | None = None
    """auto, cpu, cuda or mps; the fastest there is when left out."""
    dtype: str | None = None
    """How weights are held: float32, bfloat16, float16, int8 (for CPUs), or auto, as saved."""
    json: bool = False
    """Print one JSON object per line."""

    def __post_init__(self) -> None:
        """Refuse what could only fail after the model is loaded.

        Raises:
            SettingsError, UnknownNameError: see the message.
        """
        if not self.data:
            raise SettingsError("no text to measure on; give --data FILE, or a folder of splits.")
        for name in ("given", "limit", "train_limit", "batch"):
            if self.__dict__[name] < 1:
                raise SettingsError(f"{name} is {self.__dict__[name]}; it must be at least 1.")
        for name in self.studies:
            STUDIES[name]

    def measured_split(self) -> str:
        """The split to measure on.

        Raises:
            SettingsError: the data have nothing but a training split.
        """
        there = available_splits(self.data)
        if self.split is not None or not there:
            return self.split or _MEASURED[0]
        found = next((name for name in _MEASURED if name in there), None)
        if found is None:
            raise SettingsError(
                f"{self.data} has no split to measure on (it has {', '.join(there)}); name one with --split."
            )
        return found

    def fitted_source(self) -> str:
        """Where the constants are fitted.

        Raises:
            SettingsError: there is no training split apart from what is measured.
        """
        if self.train_data:
            return self.train_data
        if _TRAINED not in available_splits(self.data) or self.measured_split() == _TRAINED:
            raise SettingsError(
                "the constants to compare with are fitted on a training split, and there is none apart from "
                "the text that is measured; give --train-data FILE."
            )
        return self.data


def run(prog: str, argv: Sequence[str]) -> int:
    """Make the studies and print their rows."""
    parser = Parser(prog, "Study how well a model knows where its texts end.", tuples=IN_A_ROW)
    parser.add_fields(Asked)
    parser.add_fields(Decoding, title="decoding", skip={"settings"})
    given = parser.read(argv)
    asked, options = build(Asked, given), own(Decoding, given)
    Decoding().changed(options).recipe()  # raises now what would be raised after loading
    split, source = asked.measured_split(), asked.fitted_source()
    quiet_libraries()
    named = {"name": asked.model, "device": asked.device, "dtype": asked.dtype}
    lm = load(**{name: value for name, value in named.items() if value is not None}, compile=False)
    if not lm.format.ends:
        raise IncompatibleError(f"the tokenizer of {lm.name} has no end of text; choose another model.")
    examples, left_out = _examples(asked, lm, asked.data, split, asked.limit)
    training, _ = _examples(asked, lm, source, _TRAINED, asked.train_limit)
    lengths = [example.needs for example in training]
    subject = Subject(lm, examples, lengths, lm.decoding(None, options), asked.seed, asked.batch)
    notes = Console(stderr=True, highlight=False)
    notes.print(
        f"{len(examples)} texts of {asked.data}, {split}; {left_out} more do not fit; constants by "
        f"{len(training)} texts of {source}"
    )
    _show(asked, (row for name in asked.studies for row in STUDIES[name](subject)))
    return 0


def _examples(
    asked: Asked, lm: DiffusionLM, source: str, split: str, limit: int
) -> tuple[list[Example], int]:
    texts = read_prompted(source, split=split)
    return examples_of(texts, lm, given=asked.given, limit=limit, seed=asked.seed)


def _show(asked: Asked, rows: Iterator[Row]) -> None:
    """JSON lines as they come, or a table for each study when it is done."""
    if asked.json:
        for row in rows:
            print(json.dumps(row), flush=True)
        return
    console = Console(highlight=False)
    for study, found in groupby(rows, lambda row: row["study"]):
        listed = list(found)
        names = [key for key in listed[0] if key != "study" and not key.endswith("_error")]
        table = Table(*names, title=str(study), title_justify="left")
        for row in listed:
            table.add_row(*(_cell(row, name) for name in names))
        console.print(table)


def _cell(row: Row, name: str) -> str:
    value, error = row.get(name), row.get(f"{name}_error")
    if value is None:
        return ""
    shown = f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return shown if error is None else f"{shown} ± {error:.3f}"
