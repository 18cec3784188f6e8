"""How well a model knows where its texts end: seven studies, each on all prompts and with standard errors."""

from collections.abc import Callable, Iterator

from ...registry import Registry
from ..intervals import Row
from .bias import before_anything_is_written
from .ends import given_some_answer, given_the_text
from .examples import Example, Subject, examples_of
from .quarters import by_quarter
from .rooms import from_the_prompt
from .saving import saving
from .settling import until_the_end

STUDIES: Registry[Callable[[Subject], Iterator[Row]]] = Registry(
    "study",
    {
        "end": given_the_text,
        "quarters": by_quarter,
        "bias": before_anything_is_written,
        "rooms": from_the_prompt,
        "unmasked": given_some_answer,
        "until-end": until_the_end,
        "saving": saving,
    },
)
"""In the order in which they are made; each row names its study."""

__all__ = ["STUDIES", "Example", "Row", "Subject", "examples_of"]
