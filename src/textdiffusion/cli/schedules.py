"""`textdiffusion schedules`: the grids of sampling steps and the noise schedules of training."""

import dataclasses
import inspect
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from ..schedules import SCHEDULES, STEP_GRIDS
from .flags import Parser, build
from .listing import Listing, described

STEPS = 10
"""Steps at which the levels of the grids are told; the published tables have as many."""


def run(prog: str, argv: Sequence[str]) -> int:
    """List step grids and noise schedules."""
    parser = Parser(prog, "List the grids of sampling steps and the noise schedules of training.")
    parser.add_fields(Listing)
    if build(Listing, parser.read(argv)).json:
        for row in [*grid_rows(), *noise_rows()]:
            print(json.dumps(row))
        return 0
    console = Console(highlight=False)
    print_grids(console)
    console.print()
    _print_noise(console)
    return 0


def grid_rows() -> list[dict[str, Any]]:
    """One entry per step grid, with the share of noise before each of `STEPS` steps."""
    return [
        {
            "name": name,
            "kind": "step grid",
            "summary": grid.summary,
            "source": grid.source,
            "levels": [round(level, 6) for level in grid.rates(STEPS)[:-1].tolist()],
        }
        for name, grid in STEP_GRIDS.items()
    ]


def noise_rows() -> list[dict[str, Any]]:
    """One entry per noise schedule: its formula with the source, and its own settings."""
    return [
        {
            "name": name,
            "kind": "noise schedule",
            "formula": inspect.cleandoc(schedule.__doc__ or "").partition("\n")[0],
            "settings": {entry.name: entry.default for entry in dataclasses.fields(schedule)},  # type: ignore[arg-type]
        }
        for name, schedule in SCHEDULES.items()
    ]


def print_grids(console: Console) -> None:
    """The step grids in figures."""
    console.print(f"Step grids (--schedule): share of the text that is noise before each of {STEPS} steps")
    told = [(row, f"{row['summary']}; {row['source']}") for row in grid_rows()]
    console.print(described((row["name"], _figures(row["levels"]), [detail]) for row, detail in told))


def _print_noise(console: Console) -> None:
    console.print("Noise schedules (of a training): chance alpha(t) that a token is still clean at time t")
    rows = noise_rows()
    console.print(described((row["name"], row["formula"], _settings(row["settings"])) for row in rows))


def _figures(levels: Sequence[float]) -> str:
    return " ".join(f"{level:.2f}" for level in levels)


def _settings(settings: dict[str, Any]) -> list[str]:
    shown = ", ".join(f"{name} {value}" for name, value in settings.items())
    return [f"own settings: {shown}"] if shown else []
