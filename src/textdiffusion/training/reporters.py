"""Loggers that a training may report to: whether they are there, and the project they report under."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import SettingsError

REPORTERS = ("none", "tensorboard", "wandb", "swanlab", "trackio", "all")
_NO_PACKAGE = ("none", "all")
_PROJECT_VARIABLES = ("WANDB_PROJECT", "SWANLAB_PROJECT")
"""Where transformers looks for the project of Weights & Biases and of SwanLab."""


def check_reporter(name: str) -> None:
    """Raise SettingsError where the package of a logger is not installed."""
    if name not in _NO_PACKAGE and importlib.util.find_spec(name) is None:
        raise SettingsError(
            f"report_to is {name!r}, but the package {name} is not installed; install textdiffusion[{name}] "
            "or choose another."
        )


@contextmanager
def named_project(name: str) -> Iterator[None]:
    """Name the project to the loggers that read it from the environment; "" leaves it as it is."""
    before = {variable: os.environ.get(variable) for variable in _PROJECT_VARIABLES}
    if name:
        os.environ.update(dict.fromkeys(_PROJECT_VARIABLES, name))
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value
