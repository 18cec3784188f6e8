"""`/v1/chat/completions`: the next answer of a conversation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from ..errors import SettingsError
from ..language_model import DiffusionLM
from .answers import Answer, Envelope, content_logprobs, seeds_of, usage_of
from .desk import Desk
from .making import Maker
from .protocol import ChatRequest
from .streaming import Written, answered
from .writing import News, Wanted

PATH = "/v1/chat/completions"
_WITH_SCHEMA = frozenset(("json_schema",))


class Logprob(BaseModel):
    """How probable a token was when it was written."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Logprob):
    """The same, and what else was likely."""

    top_logprobs: list[Logprob]


class ContentLogprobs(BaseModel):
    """How probable the tokens of a text were."""

    content: list[TokenLogprob]
    refusal: None


class AnswerMessage(BaseModel):
    """What the assistant says."""

    role: str
    content: str
    refusal: None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage
    finish_reason: str
    logprobs: ContentLogprobs | None
    seed: int


class ChatCompletion(Answer):
    """The next answer of a conversation."""

    choices: list[ChatChoice]


@dataclass(frozen=True)
class ChatShape(Envelope):
    """Answers of `/v1/chat/completions`."""

    logprobs: bool

    def whole(self, found: Sequence[Written]) -> dict[str, Any]:
        choices = [
            self.numbered(
                number,
                message={"role": "assistant", "content": one.text, "refusal": None},
                finish_reason=None if one.end is None else one.end.reason,
                logprobs=content_logprobs(one.tokens) if self.logprobs else None,
            )
            for number, one in enumerate(found)
        ]
        return {**self.around(self.kind, choices), "usage": usage_of(self.wanted, found)}

    def opening(self, number: int) -> dict[str, Any] | None:
        return self._event(number, {"role": "assistant", "content": ""}, News())

    def chunk(self, number: int, news: News) -> dict[str, Any]:
        return self._event(number, {"content": news.text} if news.text else {}, news)

    def _event(self, number: int, delta: dict[str, str], news: News) -> dict[str, Any]:
        choice = self.numbered(
            number,
            delta=delta,
            finish_reason=None if news.end is None else news.end.reason,
            logprobs=content_logprobs(news.tokens) if self.logprobs and news.tokens else None,
        )
        return self.around(self.chunk_kind, [choice])


def routes(desk: Desk) -> APIRouter:
    """The endpoint."""
    router = APIRouter()

    @router.post(PATH, response_model=ChatCompletion)
    async def chat(body: ChatRequest, request: Request) -> Response:
        """Answer a conversation."""
        desk.check_model(body.model)
        desk.check_texts(body.n or 1)
        wanted = await desk.prepared(lambda lm: _wanted(desk, lm, body))
        logprobs = bool(body.logprobs)
        texts = desk.texts(body, wanted, body.stops, tokens=logprobs)
        kind = "chat.completion"
        shape = ChatShape(
            "chatcmpl", kind, f"{kind}.chunk", desk.model, wanted, body.tells_usage, logprobs=logprobs
        )
        return await answered(request, texts, shape, stream=bool(body.stream))

    return router


def _wanted(desk: Desk, lm: DiffusionLM, body: Any) -> list[Wanted]:
    older, newer = body.max_tokens, body.max_completion_tokens
    if None not in (older, newer) and older != newer:
        raise SettingsError(f"max_tokens is {older} and max_completion_tokens {newer}; give one of them.")
    if body.top_logprobs and not body.logprobs:
        raise SettingsError("top_logprobs says how many logprobs are shown beside each; set logprobs too.")
    body = _with_schema(body)
    decoding = desk.decoding(lm, body, tells=bool(body.logprobs))
    likely = max(body.top_logprobs or 0, body.alternatives or 0)
    maker = Maker(lm, desk.format, decoding, desk.guide(body.label), likely)
    ids, length = lm.turn(
        [dict(one.plain) for one in body.messages], length=older if newer is None else newer
    )
    return [maker.continued(ids, length, seed, 0, strips=True) for seed in seeds_of(body.seed, body.n or 1)]


def _with_schema(body: Any) -> Any:
    """The request with the schema of its `response_format` as the constraint that it is."""
    wanted = body.response_format
    named = None if wanted is None else wanted.json_schema
    asks = wanted is not None and wanted.type in _WITH_SCHEMA
    if asks is (named is None):
        raise SettingsError("response_format: the type json_schema and a json_schema belong together.")
    if named is None:
        return body
    if body.json_schema is not None:
        raise SettingsError("json_schema stands in response_format too; give one of them.")
    return body.model_copy(update={"json_schema": named.schema_})
