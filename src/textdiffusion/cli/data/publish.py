"""`textdiffusion data publish`: a folder of text becomes a data set of the Hub."""

from collections.abc import Sequence

from ...data.card import About
from ...data.publish import plan_publication
from ..publishing import upload


def run(prog: str, argv: Sequence[str]) -> int:
    """Upload the folder that `argv` names."""
    return upload(prog, argv, "a folder of text", About, plan_publication)
