"""What the answers of all endpoints have in common."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from .streaming import Shape, Written
from .writing import Token, Wanted


class Usage(BaseModel):
    """Tokens of a request; a prompt counts once, however many texts follow it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Answer(BaseModel):
    """What every answer says."""

    id: str
    object: str
    created: int
    model: str
    usage: Usage | None = None


def usage_of(wanted: Sequence[Wanted], found: Sequence[Written]) -> dict[str, int]:
    """What a request cost."""
    given = sum({one.prompt: one.given for one in wanted}.values())
    written = sum(0 if one.end is None else one.end.tokens for one in found)
    return {"prompt_tokens": given, "completion_tokens": written, "total_tokens": given + written}


def seeds_of(seed: int | None, texts: int) -> list[int]:
    """A seed for each text of a prompt, drawn where none was given."""
    first = secrets.randbelow(2**31) if seed is None else seed
    return [first + number for number in range(texts)]


@dataclass(frozen=True)
class Envelope(Shape):
    """An answer around choices that `choice` makes."""

    prefix: str
    kind: str
    """The object that it says it is; streams may have another."""
    chunk_kind: str
    model: str
    wanted: Sequence[Wanted]
    with_usage: bool
    id: str = field(init=False, default_factory=lambda: secrets.token_hex(12))
    created: int = field(init=False, default_factory=lambda: int(time.time()))

    def around(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The object around some choices."""
        head = {
            "id": f"{self.prefix}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
        }
        return {**head, "choices": choices}

    def numbered(self, number: int, **said: Any) -> dict[str, Any]:
        """A choice with what all choices say."""
        return {"index": number, **said, "seed": self.wanted[number].seed}

    def step(self, number: int, step: dict[str, Any]) -> dict[str, Any]:
        head = {"id": f"{self.prefix}-{self.id}", "object": "text.step", "model": self.model}
        return {**head, "index": number, "seed": self.wanted[number].seed, **step}

    def closing(self, found: Sequence[Written]) -> dict[str, Any]:
        return {**self.around(self.chunk_kind, []), "usage": usage_of(self.wanted, found)}


def content_logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    """Tokens as the chat interface tells how probable they were."""
    return {"content": [_content(one) for one in tokens], "refusal": None}


def _content(token: Token) -> dict[str, Any]:
    def told(piece: str, logprob: float) -> dict[str, Any]:
        return {"token": piece, "logprob": logprob, "bytes": list(piece.encode("utf-8", "replace"))}

    others = [told(piece, logprob_of(probability)) for piece, probability in token.likely]
    return {**told(token.piece, token.logprob), "top_logprobs": others}


def logprob_of(probability: float) -> float:
    """In nats, as `Token.logprob`."""
    return Token(0, "", 0, probability, ()).logprob
