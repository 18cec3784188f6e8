"""`textdiffusion fill`: write what is missing inside a text."""

from collections.abc import Sequence

from ..generation import Decoding
from ..language_model import DiffusionLM, Task
from .entered import entered
from .flags import TEXT
from .order import parser_for, read_order
from .writing import write


def run(prog: str, argv: Sequence[str]) -> int:
    """Fill the holes of the text in `argv`, or of the one on standard input."""
    about = "Fill the holes of a text: [MASK] and ____ are one token, [MASK:3] is three."
    parser = parser_for(prog, about, argv, takes="TEXT")
    order, options, rest = read_order(parser, argv)
    text = entered(rest.get(TEXT), "Text with holes:")

    def task(lm: DiffusionLM, decoding: Decoding) -> Task:
        return lm.infilling([text] * order.num_samples, seeds=order.seeds, decoding=decoding)

    return write(order, options, task)
