"""`textdiffusion generate`: continue a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..generation import Decoding
from ..language_model import DiffusionLM, Task
from .entered import entered
from .flags import TEXT, build
from .order import parser_for, read_order
from .writing import write


@dataclass(frozen=True)
class Room:
    """How much is written."""

    length: int | Literal["auto"] | None = None
    """New tokens, the prompt not counted; as many as the model holds when left out, or expects with auto."""


def run(prog: str, argv: Sequence[str]) -> int:
    """Continue the prompt in `argv`, or the one on standard input, which is asked for at a terminal."""
    parser = parser_for(prog, "Continue a prompt.", argv, takes="PROMPT", others=[Room])
    order, options, rest = read_order(parser, argv, [Room])
    prompt, room = entered(rest.get(TEXT), "Prompt:"), build(Room, rest)

    def task(lm: DiffusionLM, decoding: Decoding) -> Task:
        prompts = [prompt] * order.num_samples
        return lm.continuation(prompts, length=room.length, seeds=order.seeds, decoding=decoding)

    return write(order, options, task)
