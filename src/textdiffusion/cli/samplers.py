"""`textdiffusion samplers`: what there is, and where it comes from."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from ..samplers import SAMPLERS
from ..samplers.recipes import sampler_settings
from .flags import Parser, build
from .listing import Listing, described


def run(prog: str, argv: Sequence[str]) -> int:
    """List the samplers."""
    parser = Parser(prog, "List the samplers: what each does, its source, and whether it is exact.")
    parser.add_fields(Listing)
    if build(Listing, parser.read(argv)).json:
        for row in rows():
            print(json.dumps(row))
        return 0
    console = Console(highlight=False)
    console.print(described((row["name"], row["summary"], _details(row)) for row in rows()))
    return 0


def _details(row: dict[str, Any]) -> list[str]:
    settings = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in row["settings"].items())
    defaults = ", ".join(f"{name} {value}" for name, value in row["defaults"].items())
    told = [f"own settings: {settings}"] * bool(settings) + [f"published with {defaults}"] * bool(defaults)
    return [row["source"], row["exact"], *told]


def rows() -> list[dict[str, Any]]:
    """One entry per sampler: its settings, and those of a generation that it was published with."""
    return [
        {
            "name": name,
            "summary": recipe.summary,
            "source": recipe.source,
            "exact": recipe.exact,
            "settings": sampler_settings(recipe.sampler),
            "defaults": dict(recipe.defaults),
        }
        for name, recipe in SAMPLERS.items()
    ]
