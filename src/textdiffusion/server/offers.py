"""`/v1/options`: what may be asked of the model, read off the tables and dataclasses that hold it."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, TypeAdapter

from ..generation import Decoding
from ..generation.memory import CACHES
from ..guidance import GUIDANCE_METHODS
from ..language_model import DiffusionLM
from ..registry import Registry
from ..samplers import SAMPLERS, Recipe, setting_fields
from ..schedules import STEP_GRIDS
from ..settings import field_docs
from ..tokens import HOLE
from .desk import Desk
from .protocol import OPTIONS

PATH = "/v1/options"
_TABLES: Mapping[str, Registry[Any]] = {
    "sampler": SAMPLERS,
    "schedule": STEP_GRIDS,
    "cache": CACHES,
    "guidance_method": GUIDANCE_METHODS,
}
"""The settings that name a row, and the tables they name it in."""


class Option(BaseModel):
    """A setting of a generation."""

    name: str
    kind: str
    """What it is in JSON: integer, number, string, boolean, array or object."""
    about: str
    default: Any
    """What holds when it is left out; null where the sampler, or the text, decides."""
    choices: list[str] | None = None
    """The names that it may have; null where it is no name."""


class SamplerOffer(BaseModel):
    """A sampler with the settings that are its own."""

    name: str
    summary: str
    source: str
    exact: str
    settings: list[Option]
    defaults: dict[str, Any]
    """Settings of a generation that it was published with; those of the model go before."""


class GridOffer(BaseModel):
    """A grid of steps."""

    name: str
    summary: str
    source: str


class Offers(BaseModel):
    """All that a form needs to know."""

    model: str
    longest: int
    """Most tokens of one text, prompt included."""
    reads_length: bool
    """Whether a length may be left to the model (auto)."""
    chats: bool
    """Whether it has a template for conversations."""
    hole: str
    """Regular expression of the holes in a text."""
    special: list[int]
    """Ids of tokens that say nothing, such as the end of a text."""
    options: list[Option]
    samplers: list[SamplerOffer]
    schedules: list[GridOffer]


def routes(desk: Desk) -> APIRouter:
    """The endpoint."""
    router = APIRouter()

    @router.get(PATH)
    async def options() -> Offers:
        """What may be asked: the settings with their defaults here, the samplers and the grids of steps."""
        return await desk.prepared(lambda lm: _offers(desk, lm))

    return router


def _offers(desk: Desk, lm: DiffusionLM) -> Offers:
    decoding = lm.decoding()
    tokenizer = lm.format.tokenizer
    return Offers(
        model=desk.model,
        longest=lm.longest,
        reads_length=lm.tells_length,
        chats=bool(tokenizer.chat_template),
        hole=HOLE.pattern,
        special=sorted(tokenizer.all_special_ids),
        options=list(_own_options(decoding)),
        samplers=[
            _sampler(name, recipe, decoding.settings if name == decoding.sampler else {})
            for name, recipe in SAMPLERS.items()
        ],
        schedules=[
            GridOffer(name=name, summary=grid.summary, source=grid.source)
            for name, grid in STEP_GRIDS.items()
        ],
    )


def _own_options(decoding: Decoding) -> Iterable[Option]:
    """The settings of all samplers alike, as the model has them."""
    docs = field_docs(Decoding)
    for name, value in decoding.__dict__.items():
        if name in OPTIONS:
            table = _TABLES.get(name)
            yield _option(name, docs, value, None if table is None else list(table))


def _sampler(name: str, recipe: Recipe, changed: Mapping[str, Any]) -> SamplerOffer:
    own = setting_fields(recipe.sampler)
    return SamplerOffer(
        name=name,
        summary=recipe.summary,
        source=recipe.source,
        exact=recipe.exact,
        settings=[
            _option(key, field_docs(cls), changed.get(key, value)) for key, (cls, value) in own.items()
        ],
        defaults=dict(recipe.defaults),
    )


@cache
def _kind(name: str) -> str:
    """The first of the types that a setting has in JSON."""
    schema = TypeAdapter(OPTIONS[name][0]).json_schema()
    return str(next(kind for part in schema["anyOf"] if (kind := part["type"]) != "null"))


def _option(name: str, docs: Mapping[str, str], value: Any, choices: list[str] | None = None) -> Option:
    about = docs.get(name, "")
    return Option(name=name, kind=_kind(name), about=about, default=value, choices=choices)
