"""`/v1/fill`: a text with holes, as text or as ids, in which chosen tokens are written anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from ..errors import SettingsError
from ..language_model import DiffusionLM
from .answers import Answer, Envelope, content_logprobs, seeds_of, usage_of
from .chat import ContentLogprobs
from .completions import checked
from .desk import Desk
from .making import Maker
from .protocol import FillRequest
from .streaming import Written, answered
from .writing import End, News, Token, Wanted

PATH = "/v1/fill"


class FillChoice(BaseModel):
    """One text."""

    index: int
    text: str
    tokens: list[int]
    finish_reason: str
    logprobs: ContentLogprobs | None
    seed: int


class Filled(Answer):
    """Texts whose holes are filled."""

    choices: list[FillChoice]


@dataclass(frozen=True)
class FillShape(Envelope):
    """Answers of `/v1/fill`; a stream has the texts in its last events."""

    logprobs: bool

    def whole(self, found: Sequence[Written]) -> dict[str, Any]:
        choices = [self._choice(i, one.text, one.tokens, one.end) for i, one in enumerate(found)]
        return {**self.around(self.kind, choices), "usage": usage_of(self.wanted, found)}

    def opening(self, number: int) -> dict[str, Any] | None:
        return None

    def chunk(self, number: int, news: News) -> dict[str, Any]:
        return self.around(self.chunk_kind, [self._choice(number, news.text, news.tokens, news.end)])

    def _choice(self, number: int, text: str, tokens: Sequence[Token], end: End | None) -> dict[str, Any]:
        return self.numbered(
            number,
            text=text,
            tokens=[] if end is None else list(end.all_ids),
            finish_reason=None if end is None else end.reason,
            logprobs=content_logprobs(tokens) if self.logprobs else None,
        )


def routes(desk: Desk) -> APIRouter:
    """The endpoint."""
    router = APIRouter()

    @router.post(PATH, response_model=Filled)
    async def fill(body: FillRequest, request: Request) -> Response:
        """Fill the holes of a text."""
        desk.check_model(body.model)
        desk.check_texts(body.n or 1)
        wanted = await desk.prepared(lambda lm: _wanted(desk, lm, body))
        logprobs = bool(body.logprobs)
        texts = desk.texts(body, wanted, [], tokens=logprobs)
        shape = FillShape(
            "fill", "text.fill", "text.fill.chunk", desk.model, wanted, body.tells_usage, logprobs=logprobs
        )
        return await answered(request, texts, shape, stream=bool(body.stream))

    return router


def _wanted(desk: Desk, lm: DiffusionLM, body: Any) -> list[Wanted]:
    if (body.text is None) == (body.tokens is None):
        raise SettingsError("give a text with holes, or tokens with null in the holes: one of them.")
    if body.stops:
        raise SettingsError("stop: a text that is filled ends where it ends; leave stop out.")
    decoding = desk.decoding(lm, body, tells=bool(body.logprobs))
    likely = max(body.top_logprobs or 0, body.alternatives or 0)
    maker = Maker(lm, desk.format, decoding, desk.guide(body.label), likely)
    seeds = seeds_of(body.seed, body.n or 1)
    if body.text is not None:
        return [maker.filled(body.text, seed) for seed in seeds]
    checked(desk, [id for id in body.tokens if id is not None])
    return [maker.filled_ids(body.tokens, seed) for seed in seeds]
