"""The table of samplers: each published rule is a row put together from policies."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SettingsError
from ..registry import Registry, did_you_mean
from .any_position import AnyPosition
from .base import Sampler
from .commit import (
    AboveThreshold,
    ByMeanConfidence,
    EachAtRandom,
    EntropyBounded,
    EveryOpen,
    Everything,
    HighestPeak,
    LowestEntropy,
    SomeAtRandom,
    SureOrBetter,
    Surest,
    SureTogether,
    WidestMargin,
)
from .pace import LeftFirst
from .posterior import MostProbable, Posterior, PredictorCorrector
from .remdm import Capped, LeastConfident, Loop, Rescaled, WhileHeld
from .renoise import Renoise
from .reopen import Doubted, EachByRate, ExactByRate, LeastSure
from .unmask import Unmask


@dataclass(frozen=True)
class Recipe:
    """A row: the rule, what it is, and the settings that its publication goes with."""

    sampler: Sampler
    """The rule with its own settings."""
    summary: str
    """What it does, in one line."""
    source: str
    """Where it comes from."""
    exact: str
    """When the text follows the model's own distribution, or why it does not."""
    one_per_call: bool = False
    """It settles one token per network call whatever the number of steps asked for."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a generation that this rule was published with; they yield to what the user says."""

    def with_settings(self, settings: Mapping[str, Any]) -> "Recipe":
        """The row with its rule's own settings changed.

        Raises:
            SettingsError: the rule has no such setting.
        """
        known = sampler_settings(self.sampler)
        for name in settings:
            if name not in known:
                has = ", ".join(known) or "none"
                raise SettingsError(
                    f"this sampler has no setting {name!r}.{did_you_mean(name, known)} It has: {has}."
                )
        return dataclasses.replace(self, sampler=_changed(self.sampler, settings))


def sampler_settings(sampler: Any) -> dict[str, Any]:
    """The rule's own settings and their values, those of its policies included."""
    return {name: value for name, (_, value) in setting_fields(sampler).items()}


def setting_fields(sampler: Any) -> dict[str, tuple[type, Any]]:
    """The sampler's own settings: the class of the policy that has each, and its value."""
    found: dict[str, tuple[type, Any]] = {}
    for entry in dataclasses.fields(sampler):
        value = sampler.__dict__[entry.name]
        part = dataclasses.is_dataclass(value)
        found |= setting_fields(value) if part else {entry.name: (type(sampler), value)}
    return found


def _changed(part: Any, settings: Mapping[str, Any]) -> Any:
    changes = {}
    for entry in dataclasses.fields(part):
        value = part.__dict__[entry.name]
        if dataclasses.is_dataclass(value):
            changes[entry.name] = _changed(value, settings)
        elif entry.name in settings:
            changes[entry.name] = settings[entry.name]
    return dataclasses.replace(part, **changes)


_ONE_BY_ONE = "exact: one token a call at a place chosen blind to the draw"
_MANY = "tokens of one call are drawn independently"
_BY_DISTRIBUTION = (
    f"exact with as many steps as tokens, since the place is chosen blind to the draw; with fewer, {_MANY}"
)
_BIASED_BY_VISIBLE = f"biased: easy tokens come first, the model is asked about visible ones too, and {_MANY}"
_REMDM = "ReMDM, arXiv:2503.00307"
_CORRECTED = (
    f"exact as the steps grow and eta falls, with the noise of the schedule at each; with few, {_MANY}"
)

SAMPLERS: Registry[Recipe] = Registry(
    "sampler",
    {
        "ancestral": Recipe(
            Unmask(EachAtRandom()),
            "each mask is written with the probability of the reverse process",
            "MDLM, arXiv:2406.07524",
            f"exact as the steps grow; with few, {_MANY}",
        ),
        "left-first": Recipe(
            Unmask(EachAtRandom(), pace=LeftFirst()),
            "ancestral, the left of the text before its right; fewer steps than tokens skip some",
            "after AR-Diffusion, arXiv:2305.09515",
            f"exact as the steps grow; with few, {_MANY}",
        ),
        "first-hitting": Recipe(
            Unmask(SomeAtRandom()),
            "one mask at a time, at a uniformly random place",
            "Zheng et al., arXiv:2409.02908",
            _ONE_BY_ONE,
            one_per_call=True,
        ),
        "random": Recipe(
            Unmask(SomeAtRandom()),
            "an even number of masks per step, at random places",
            "LLaDA, arXiv:2502.09992",
            f"exact with as many steps as tokens; with fewer, {_MANY}",
        ),
        "confidence": Recipe(
            Unmask(Surest()),
            "an even number of masks per step, the most probable tokens first",
            "MaskGIT, arXiv:2202.04200; LLaDA low-confidence, arXiv:2502.09992",
            "biased: easy tokens come first, which sharpens the distribution",
        ),
        "margin": Recipe(
            Unmask(WidestMargin()),
            "an even number of masks per step, first where one token is farthest ahead of the next",
            "Dream, arXiv:2508.15487; Kim et al., arXiv:2502.06768",
            _BY_DISTRIBUTION,
        ),
        "peak": Recipe(
            Unmask(HighestPeak()),
            "an even number of masks per step, first where the most probable token is, whichever is drawn",
            "DUEL, arXiv:2603.01367",
            _BY_DISTRIBUTION,
        ),
        "entropy": Recipe(
            Unmask(LowestEntropy()),
            "an even number of masks per step, first where the model is least unsure",
            "Dream, arXiv:2508.15487",
            _BY_DISTRIBUTION,
        ),
        "single-best": Recipe(
            Unmask(Surest()),
            "the single most probable token of all, one per call",
            "Diffusion Language Models demo, 2025",
            "biased: greedy",
            one_per_call=True,
            defaults={"temperature": 0.0},
        ),
        "threshold": Recipe(
            Unmask(AboveThreshold()),
            "every token above a probability, at least the surest one",
            "Fast-dLLM, arXiv:2505.22618; RoBERTa diffusion, 2025-11",
            f"biased: easy tokens come first, and {_MANY}",
            defaults={"temperature": 0.0},
        ),
        "factor": Recipe(
            Unmask(SureTogether()),
            "the more tokens at once, the surer each of them must be",
            "Fast-dLLM, arXiv:2505.22618",
            f"biased: easy tokens come first, and {_MANY}",
            defaults={"temperature": 0.0},
        ),
        "entropy-bounded": Recipe(
            Unmask(EntropyBounded()),
            "as many tokens as can tell little about each other, the least unsure first",
            "EB-Sampler, arXiv:2505.24857",
            f"exact with gamma 0 and as many steps as tokens; above it or with fewer, {_MANY}",
        ),
        "adaptive": Recipe(
            Unmask(ByMeanConfidence()),
            "more tokens per step when the model is sure of the open positions, fewer when it is not",
            "Text Diffusion Learning Guide",
            f"biased: easy tokens come first, and {_MANY}",
        ),
        "edit": Recipe(
            Unmask(SureOrBetter()),
            "every token above a probability, and a better token for a written one",
            "LLaDA2.1 technical report, 2026",
            _BIASED_BY_VISIBLE,
            defaults={"temperature": 0.0},
        ),
        "confidence-remask": Recipe(
            Unmask(AboveThreshold(), Doubted()),
            "every token above a probability; written ones that have become improbable are masked again",
            "Diffusion Language Models, 2025, as an outlook",
            _BIASED_BY_VISIBLE,
            defaults={"temperature": 0.0},
        ),
        "refine": Recipe(
            Unmask(Everything(), LeastSure()),
            "all positions anew, then the least probable tokens masked again by the grid",
            "FlowLM prototype, 2025; Mask-Predict, arXiv:1904.09324",
            _BIASED_BY_VISIBLE,
            defaults={"temperature": 0.0},
        ),
        "full-remask": Recipe(
            Unmask(Everything(), EachByRate()),
            "all positions anew, then each masked again by the schedule",
            "RoBERTa diffusion, 2025-06; DiffusionBert with Prefix",
            f"biased: visible tokens are drawn anew, and {_MANY}",
            defaults={"steps": 10, "top_k": 50, "top_p": 0.95},
        ),
        "guide": Recipe(
            Unmask(EveryOpen(), ExactByRate()),
            "all masks at once, then an exact share of all written tokens masked again by the grid",
            "Text Diffusion Learning Guide",
            f"biased: tokens are taken back without regard to the text, and {_MANY}",
            defaults={"steps": 10, "top_k": 50, "temperature": 0.7},
        ),
        "remdm-cap": Recipe(
            Unmask(EachAtRandom(), Capped()),
            "ancestral, where written tokens may be masked again, each with the chance eta",
            _REMDM,
            _CORRECTED,
            defaults={"top_p": 0.9},
        ),
        "remdm-rescale": Recipe(
            Unmask(EachAtRandom(), Rescaled()),
            "ancestral, where written tokens may be masked again, with eta times what the schedule allows",
            _REMDM,
            _CORRECTED,
            defaults={"top_p": 0.9},
        ),
        "remdm-conf": Recipe(
            Unmask(EachAtRandom(), LeastConfident()),
            "ancestral, where tokens that were improbable when written are the likeliest to be masked again",
            _REMDM,
            f"biased: improbable tokens are taken back, more is masked than the schedule says, and {_MANY}",
            defaults={"top_p": 0.9},
        ),
        "remdm-loop": Recipe(
            Unmask(EachAtRandom(), WhileHeld(), Loop()),
            "ancestral down to little noise, which is held while tokens are masked again and rewritten",
            _REMDM,
            f"exact as the steps grow and eta falls, by its own schedule; with few, {_MANY}",
            defaults={"top_p": 0.9},
        ),
        "any-position": Recipe(
            AnyPosition(),
            "the few surest tokens that the model would rather have, wherever they stand, for any noise",
            "FlowLM prototype, 2025",
            _BIASED_BY_VISIBLE,
            defaults={"temperature": 0.0},
        ),
        "entropy-renoise": Recipe(
            Renoise(),
            "tokens that can tell little about each other are accepted, others become new noise, of any kind",
            "DiffusionGemma, transformers 5.23; EB-Sampler, arXiv:2505.24857",
            f"biased: the most probable text is written in the end, and {_MANY}",
            defaults={"temperature": 0.8, "final_temperature": 0.4},
        ),
        "autoregressive": Recipe(
            Unmask(EveryOpen()),
            "one token after the other, from left to right; the way of models that predict the next token",
            "Bengio et al., JMLR 2003; the baseline",
            _ONE_BY_ONE,
            one_per_call=True,
            defaults={"block_size": 1},
        ),
        "posterior": Recipe(
            Posterior(),
            "the full posterior at every position, for any noise",
            "D3PM, arXiv:2107.03006",
            f"exact as the steps grow; with few, {_MANY}",
        ),
        "greedy-tail": Recipe(
            Posterior(MostProbable()),
            "the posterior, and the most probable token wherever noise may be left in the last step",
            "Duo, arXiv:2506.10892",
            "biased: what the last step writes is not drawn",
        ),
        "psi": Recipe(
            PredictorCorrector(),
            "the posterior, but some tokens are drawn and struck anew in each step, for any noise",
            "Psi-samplers, arXiv:2602.21185",
            f"exact as the steps grow and kappa nears 1, with the noise of the schedule at each; with few, "
            f"{_MANY}",
        ),
    },
)
