"""How far each biased rule is from the truth: the table of the explanation, measured again."""

import re
from pathlib import Path

import pytest
import torch

from textdiffusion.generation import sample
from textdiffusion.samplers import SAMPLERS

from .oracle import LENGTH, MASK, oracle

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "masked-diffusion.md"
ROWS = re.findall(
    r"^\| `([a-z-]+)` \| ([^|]+) \| (\d\.\d\d) \| (\d\.\d\d) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE
)
SAMPLES = 10_000
PLAIN = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


def measured(sampler: str, settings: str) -> tuple[float, float]:
    """Total variation to the joint, and the entropy of the draws in nats."""
    options = dict(pair.split() for pair in settings.replace("-", "").split(", ") if pair)
    values = {name: float(text) if "." in text else int(text) for name, text in options.items()}
    canvas = torch.full((SAMPLES, LENGTH), MASK)
    source = torch.Generator().manual_seed(1)
    tokens = sample(oracle(), canvas, mask_id=MASK, sampler=sampler, generator=source, **{**PLAIN, **values})
    share = oracle().counts(tokens) / SAMPLES
    return float((share - oracle().joint).abs().sum() / 2), float(torch.special.entr(share).sum())


@pytest.mark.parametrize(("sampler", "settings", "distance", "entropy"), ROWS)
def test_the_explanation_tells_the_bias(sampler: str, settings: str, distance: str, entropy: str) -> None:
    found = measured(sampler, settings)
    assert found == pytest.approx((float(distance), float(entropy)), abs=0.04)


def test_every_biased_rule_is_in_the_table() -> None:
    biased = {name for name, recipe in SAMPLERS.items() if recipe.exact.startswith("biased")}
    assert biased <= {name for name, *_ in ROWS}
    assert f"{float(torch.special.entr(oracle().joint).sum()):.2f} nats in truth" in DOCUMENT.read_text(
        "utf-8"
    )
