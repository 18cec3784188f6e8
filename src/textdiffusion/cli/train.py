"""`textdiffusion train`: from a recipe to a model folder."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ..errors import SettingsError
from ..registry import did_you_mean
from ..training.foreign import asks_to_resume
from ..training.recipe import TrainingRecipe, read_recipe
from ..training.run import train
from ..training.sharding import is_first_process
from .flags import IN_A_ROW, Parser, build, own
from .quiet import quiet_libraries

_PACKAGE = Path(__file__).parents[1]
RECIPE_FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")
"""Where recipes lie that come with the program: in the installed package, or at the root of its source."""


@dataclass(frozen=True)
class Run:
    """Which recipe, and from where."""

    config: str | None = None
    """Recipe file in YAML or JSON, the name of one that comes with this program, or another system's file."""
    resume: bool = False
    """Go on from the last checkpoint in the output folder."""


def run(prog: str, argv: Sequence[str]) -> int:
    """Train by a recipe; a flag that is given overrides the recipe's key."""
    parser = Parser(prog, "Train a model from a recipe; any key may be given as a flag.", tuples=IN_A_ROW)
    parser.add_fields(Run, title="recipe")
    parser.add_fields(TrainingRecipe, title="keys of a recipe")
    given = parser.read(argv)
    order = build(Run, given)
    file = None if order.config is None else find_recipe(order.config)
    recipe = read_recipe(file, own(TrainingRecipe, given))
    resume = given.get("resume", asks_to_resume(file))
    quiet_libraries()
    speaks = is_first_process()
    try:
        folder = train(recipe, resume=resume, console=Console(stderr=True, quiet=not speaks))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command with --resume goes on.") from None
    if speaks:
        print(f"The model is in {folder}. Try it:")
        print(f"  textdiffusion generate --model {shlex.quote(str(folder))}")
    return 0


def find_recipe(name: str) -> Path:
    """The recipe file of that name: the path itself, or one that comes with the program.

    Raises:
        SettingsError: there is neither; the nearest name is offered.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    packaged = dict(_packaged())
    key = name.removesuffix(".yaml")
    if key not in packaged:
        known = f" Recipes that come with this program: {', '.join(packaged)}." if packaged else ""
        raise SettingsError(f"there is no recipe {name!r}.{did_you_mean(key, packaged)}{known}")
    return packaged[key]


def _packaged() -> Iterator[tuple[str, Path]]:
    for folder in RECIPE_FOLDERS:
        for path in sorted(folder.rglob("*.yaml")):
            yield path.relative_to(folder).with_suffix("").as_posix(), path
