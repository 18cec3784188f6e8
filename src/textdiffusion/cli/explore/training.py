"""`textdiffusion explore training`: how trainings went, from what they have logged."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ...errors import SettingsError
from ...training.history import History, Row, by_bucket, by_level, read_history
from ...views.files import writer_for
from ...views.learning import Learning, save_learning
from ...views.plotting import ENDINGS, require_matplotlib
from ..flags import IN_A_ROW, TEXT, Parser, build

_COLUMNS = {"loss": "nats", "standard_error": "±", "accuracy": "right", "entropy": "entropy"}
_CAPTION = "Held out, nats per token; last the share guessed right by how much was masked. * the lowest loss."


@dataclass(frozen=True)
class Shown:
    """What is shown beside it, and where."""

    beside: tuple[str, ...] = ()
    """Folders of further trainings, to compare them."""
    save: Path | None = None
    """Draw losses and accuracies, by step and by noise level (.png, .svg or .pdf)."""
    json: bool = False
    """Print one JSON object for each report."""

    def __post_init__(self) -> None:
        """Refuse what could only fail later.

        Raises:
            SettingsError, DataError: see the message.
        """
        if self.save is not None:
            writer_for(self.save, dict.fromkeys(ENDINGS, save_learning))
            require_matplotlib()


def run(prog: str, argv: Sequence[str]) -> int:
    """Show the measurements of held-out text, and draw all that was logged."""
    about = "See how a training went, or goes: what it has logged, from its newest checkpoint."
    parser = Parser(prog, about, takes="FOLDER", tuples=IN_A_ROW)
    parser.add_fields(Shown)
    given = parser.read(argv)
    shown = build(Shown, given)
    if TEXT not in given:
        raise SettingsError(f"name the folder of a training: `{prog} runs/quick`.")
    histories = [read_history(Path(name).expanduser()) for name in (given[TEXT], *shown.beside)]
    if shown.save is not None:
        save_learning(shown.save, [drawn(history) for history in histories])
        Console(stderr=True, highlight=False).print(f"saved {shown.save}", markup=False, soft_wrap=True)
    if shown.json:
        for history in histories:
            for whose in ("trained", "held_out"):
                for row in getattr(history, whose):
                    print(json.dumps({"training": history.name, "text": whose, **row}))
        return 0
    console = Console(highlight=False)
    for history in histories:
        _print(history, console)
    return 0


def drawn(history: History) -> Learning:
    """A history as it is drawn; its end is the last measurement of held-out text, or else the last report."""
    last: Row = next((rows[-1] for rows in (history.held_out, history.trained) if rows), {})
    accuracies = {"learnt": history.trained, "held out": history.held_out}
    errors = [float(row.get("standard_error", 0.0)) for row in history.held_out]
    return Learning(
        history.name,
        _curve(history.trained, "loss"),
        [(*point, error) for point, error in zip(_curve(history.held_out, "loss"), errors, strict=True)],
        {whose: _curve(rows, "accuracy") for whose, rows in accuracies.items()},
        list(by_level(last).items()),
        list(by_bucket(last).items()),
    )


def _curve(rows: Sequence[Row], name: str) -> list[tuple[float, float]]:
    return [(float(row["step"]), float(row[name])) for row in rows if name in row]


def _print(history: History, console: Console) -> None:
    if not history.held_out:
        console.print(f"{history.name}: {len(history.trained)} reports, none of held-out text", markup=False)
        return
    edges = list(by_bucket(history.held_out[-1]))
    heads = [f"to {edge:.0%}" for edge in edges]
    table = Table("step", *_COLUMNS.values(), *heads, title=history.name, caption=_CAPTION)
    for row in history.held_out:
        mark = " *" if row is history.best else ""
        cells = [f"{row[name]:.3f}" if name in row else "" for name in _COLUMNS]
        buckets = by_bucket(row)
        table.add_row(
            f"{row['step']}{mark}", *cells, *(f"{buckets[e]:.3f}" if e in buckets else "" for e in edges)
        )
    console.print(table)
