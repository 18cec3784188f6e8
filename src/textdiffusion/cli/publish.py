"""`textdiffusion publish`: a trained model becomes a model of the Hub."""

from collections.abc import Sequence

from ..training.model_card import AboutModel, plan_model
from .publishing import upload


def run(prog: str, argv: Sequence[str]) -> int:
    """Upload the model folder that `argv` names, without its checkpoints."""
    return upload(prog, argv, "a trained model", AboutModel, plan_model)
