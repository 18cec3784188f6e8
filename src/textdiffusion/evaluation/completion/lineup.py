"""Who takes part in a contest, and how each of them writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import SettingsError
from ...generation import Decoding
from ...language_model import DiffusionLM
from . import SOLVERS
from .contest import Entrant
from .protocols import Protocol
from .solvers import Effort, Subject

BEST = "confidence"
"""Sampler of a diffusion model's one best completion, unless the user names another."""
_GREEDY: Mapping[str, Any] = {"temperature": 0.0, "top_k": 0, "top_p": 1.0}
_OF_ANY = ("temperature", "top_k", "top_p", "repetition_penalty")
"""Options that have a meaning for an autoregressive network too."""


@dataclass(frozen=True)
class Lineup:
    """Models, and the ways in which blanks are filled."""

    models: Sequence[DiffusionLM]
    solvers: Sequence[str]
    """Names in the table of solvers."""
    training: Sequence[str]
    """Cleaned training text, for those who count; none where it is not known."""
    separators: Sequence[str]
    """What is never hidden."""
    options: Mapping[str, Any]
    """What the user says of the decoding, where the protocol leaves it open."""
    effort: Effort

    def entrants(self, protocol: Protocol) -> list[Entrant]:
        """Everybody who can fill blanks: each model in its ways, then those who count the first one's tokens.

        Raises:
            SettingsError: nobody can.
        """
        counted = self.models[0].format.document(self.training) if self.training else []
        found = []
        for name in self.solvers:
            way = SOLVERS[name]
            for number, lm in enumerate(self.models if way.of_network else self.models[:1]):
                training = () if way.of_network else counted
                told = protocol.tells or not way.of_network
                never = [*protocol.separators, *self.separators] if told else []
                drawn, best = self.decodings(lm, protocol)
                solver = way.make(Subject(lm, training, never, best, drawn, self.effort))
                if solver is not None:
                    said = f"{lm.name}{way.suffix}" if way.of_network else name
                    found.append(Entrant(said, lm.name, name, solver, number, lm.format.decode))
        if not found:
            raise SettingsError(
                "nobody is left to fill blanks: those who count need --train-data, and of the others none "
                "suits the model; name other --solvers."
            )
        return sorted(
            found, key=lambda entrant: (not SOLVERS[entrant.solver_name].of_network, entrant.reader)
        )

    def decodings(self, lm: DiffusionLM, protocol: Protocol) -> tuple[Decoding, Decoding]:
        """How a model draws, and how it writes its one best completion.

        Nothing is taken from the model's own settings, which would make two models draw from distributions
        that are sharpened differently.
        """
        options = {} if protocol.once else self.options
        if lm.denoiser.next_token:
            shared = {name: value for name, value in options.items() if name in _OF_ANY}
            drawn = Decoding(sampler="autoregressive").changed({**protocol.autoregressive, **shared})
            return drawn, drawn.changed(_GREEDY)
        drawn = Decoding().changed({**protocol.decoding, **options})
        return drawn, drawn.changed({"sampler": options.get("sampler", BEST), **_GREEDY})
