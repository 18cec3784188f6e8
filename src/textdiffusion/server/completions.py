"""`/v1/completions`: prompts that go on, and gaps between a prompt and a suffix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from ..errors import SettingsError
from ..language_model import DiffusionLM
from .answers import Answer, Envelope, logprob_of, seeds_of, usage_of
from .desk import Desk
from .making import Maker
from .protocol import CompletionRequest
from .streaming import Written, answered
from .writing import News, Token, Wanted

PATH = "/v1/completions"


class Logprobs(BaseModel):
    """How probable each token was when it was written."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class Choice(BaseModel):
    """One text."""

    index: int
    text: str
    finish_reason: str | None
    logprobs: Logprobs | None
    seed: int


class Completion(Answer):
    """What a prompt became."""

    choices: list[Choice]


@dataclass(frozen=True)
class CompletionShape(Envelope):
    """Answers of `/v1/completions`."""

    echoes: Mapping[int, str]
    """What stands before the text of each choice."""
    logprobs: int | None

    def whole(self, found: Sequence[Written]) -> dict[str, Any]:
        choices = [self._choice(i, one.text, one.tokens, one, echo=True) for i, one in enumerate(found)]
        return {**self.around(self.kind, choices), "usage": usage_of(self.wanted, found)}

    def opening(self, number: int) -> dict[str, Any] | None:
        return self._event(number, self.echoes[number], News()) if self.echoes[number] else None

    def chunk(self, number: int, news: News) -> dict[str, Any]:
        return self._event(number, news.text, news)

    def _event(self, number: int, text: str, news: News) -> dict[str, Any]:
        return self.around(self.chunk_kind, [self._choice(number, text, news.tokens, news, echo=False)])

    def _choice(
        self, number: int, text: str, tokens: Sequence[Token], ended: Written | News, *, echo: bool
    ) -> dict[str, Any]:
        before = self.echoes[number]
        return self.numbered(
            number,
            text=before + text if echo else text,
            finish_reason=None if ended.end is None else ended.end.reason,
            logprobs=None if self.logprobs is None else self._logprobs(tokens, len(before)),
        )

    def _logprobs(self, tokens: Sequence[Token], start: int) -> dict[str, Any]:
        top = [{piece: logprob_of(p) for piece, p in one.likely} for one in tokens]
        return {
            "tokens": [one.piece for one in tokens],
            "token_logprobs": [one.logprob for one in tokens],
            "top_logprobs": top if self.logprobs else None,
            "text_offset": [start + one.start for one in tokens],
        }


def routes(desk: Desk) -> APIRouter:
    """The endpoint."""
    router = APIRouter()

    @router.post(PATH, response_model=Completion)
    async def completions(body: CompletionRequest, request: Request) -> Response:
        """Continue a prompt, or fill the gap before a suffix."""
        desk.check_model(body.model)
        prompts = _prompts(body.prompt)
        desk.check_texts(len(prompts) * (body.n or 1))
        wanted = await desk.prepared(lambda lm: _wanted(desk, lm, body, prompts))
        echoes = {i: _text(desk, prompts[one.prompt]) if body.echo else "" for i, one in enumerate(wanted)}
        texts = desk.texts(body, wanted, body.stops, tokens=body.logprobs is not None)
        kind = "text_completion"
        shape = CompletionShape(
            "cmpl", kind, kind, desk.model, wanted, body.tells_usage, echoes=echoes, logprobs=body.logprobs
        )
        return await answered(request, texts, shape, stream=bool(body.stream))

    return router


Prompt = str | list[int]


def _prompts(given: Any) -> list[Prompt]:
    """The prompts of a request, each a text or ids."""
    if isinstance(given, str) or (given and isinstance(given[0], int)):
        return [given]
    if not given:
        raise SettingsError("prompt is an empty list; give a text, which may be empty, or several.")
    return list(given)


def _wanted(desk: Desk, lm: DiffusionLM, body: Any, prompts: Sequence[Prompt]) -> list[Wanted]:
    decoding = desk.decoding(lm, body, tells=body.logprobs is not None)
    likely = max(body.logprobs or 0, body.alternatives or 0)
    maker = Maker(lm, desk.format, decoding, desk.guide(body.label), likely)
    seeds = seeds_of(body.seed, body.n or 1)
    if body.suffix is None:
        return [
            maker.continued(_ids(desk, lm, prompt), body.max_tokens, seed, number)
            for number, prompt in enumerate(prompts)
            for seed in seeds
        ]
    size = body.max_tokens
    if not isinstance(size, int):
        raise SettingsError(
            "a suffix needs max_tokens, a number: it is how many tokens are filled in before it."
        )
    return [
        maker.between(_text(desk, prompt), size, body.suffix, seed, number)
        for number, prompt in enumerate(prompts)
        for seed in seeds
    ]


def _ids(desk: Desk, lm: DiffusionLM, prompt: Prompt) -> list[int]:
    return lm.format.prompt(prompt) if isinstance(prompt, str) else checked(desk, prompt)


def _text(desk: Desk, prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else desk.format.decode(checked(desk, prompt))


def checked(desk: Desk, ids: Sequence[int]) -> list[int]:
    """Ids that the model has and that are no masks.

    Raises:
        SettingsError: one is not.
    """
    if ids and max(ids) >= desk.vocab_size:
        raise SettingsError(f"token {max(ids)} is none of the model's, which are 0 to {desk.vocab_size - 1}.")
    if desk.format.mask_id in ids:
        raise SettingsError(
            f"token {desk.format.mask_id} is the mask; give holes to /v1/fill, as null or in a text."
        )
    return list(ids)
