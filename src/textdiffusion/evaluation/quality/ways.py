"""The ways of writing that are held against each other: samplers, numbers of steps, temperatures, ..."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from ...errors import SettingsError
from ...generation import Decoding
from ...samplers import SAMPLERS


@dataclass(frozen=True)
class Sweep:
    """What is varied; each sampler is tried with all of the rest that has a meaning for it."""

    samplers: tuple[str, ...] = ()
    """Samplers to try; the model's own decoding when left out."""
    steps: tuple[int, ...] = ()
    """Numbers of steps to try; one for each token when left out."""
    temperatures: tuple[float, ...] = ()
    """Temperatures to try."""
    schedules: tuple[str, ...] = ()
    """Grids of steps to try."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further settings by sampler, lists being tried one by one: '{threshold: {threshold: [0.9, 0.6]}}'."""
    top_p: float | None = None
    """Keep the most probable tokens until their probabilities reach p, in every way."""
    block_size: int | None = None
    """Tokens written at a time, left to right, in every way."""

    def __post_init__(self) -> None:
        """Refuse what a sampler does not have before a model is loaded.

        Raises:
            SettingsError, UnknownNameError: see the message.
        """
        for name, own in self.settings.items():
            if SAMPLERS.canonical(name) not in map(SAMPLERS.canonical, self.samplers):
                raise SettingsError(
                    f"settings of {name}, which is not among the samplers; add it to --samplers."
                )
            if not isinstance(own, Mapping):
                raise SettingsError(f"settings of {name} are {own!r}; give names and values in braces.")
        if self.samplers:
            self.ways(Decoding())

    def ways(self, own: Decoding) -> dict[str, Decoding]:
        """Decodings by a name that tells what was varied; `own` are the model's settings, where it is asked.

        Raises:
            SettingsError, UnknownNameError: a setting that a sampler does not have, or out of range.
        """
        found = {}
        for sampler in self.samplers or ("",):
            tried = self._of(sampler)
            base = own if not sampler else Decoding().changed({"sampler": sampler})
            for chosen in product(*tried.values()):
                options = dict(zip(tried, chosen, strict=True))
                told = {
                    name: value for name, value in options.items() if len(tried[name]) > 1 or name in _COUNTED
                }
                found[_name(sampler, told)] = base.changed({**self._shared(), **options})
        return found

    def _shared(self) -> dict[str, Any]:
        shared = {"top_p": self.top_p, "block_size": self.block_size}
        return {name: value for name, value in shared.items() if value is not None}

    def _of(self, sampler: str) -> dict[str, Sequence[Any]]:
        """What is tried with a sampler, by the names of the options."""
        tried: dict[str, Sequence[Any]] = {"temperature": self.temperatures}
        if not sampler or not SAMPLERS[sampler].one_per_call:
            tried = {"steps": self.steps, "schedule": self.schedules, **tried}
        own = next((dict(of) for name, of in self.settings.items() if _same(name, sampler)), {})
        tried |= {
            str(name).replace("-", "_"): values if isinstance(values, list) else [values]
            for name, values in own.items()
        }
        return {name: values for name, values in tried.items() if values}


_COUNTED = ("steps",)
"""Options that are always told, and the other way round."""


def _name(sampler: str, options: Mapping[str, Any]) -> str:
    said = [sampler.replace("_", "-") or "as saved"]
    for name, value in options.items():
        said.append(f"{value} steps" if name in _COUNTED else f"{name.replace('_', ' ')} {value}")
    return ", ".join(said)


def _same(name: str, sampler: str) -> bool:
    return bool(sampler) and SAMPLERS.canonical(name) == SAMPLERS.canonical(sampler)
