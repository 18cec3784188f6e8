"""Texts of one request on their way to the client: all at once, or as events; and a client that has gone."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from .failures import CLIENT_GONE, failure_of
from .writing import End, News, Text, Token

T = TypeVar("T")


@dataclass
class Written:
    """One text, whole."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    end: End | None = None

    def add(self, news: News) -> None:
        """What came of it."""
        self.text += news.text
        self.tokens += news.tokens
        self.end = news.end or self.end


class Shape(ABC):
    """The form that an endpoint gives its answers."""

    with_usage: bool
    """Whether a stream ends with what it cost."""

    @abstractmethod
    def whole(self, found: Sequence[Written]) -> dict[str, Any]:
        """The answer all at once."""

    @abstractmethod
    def opening(self, number: int) -> dict[str, Any] | None:
        """What a stream says of a text before anything is written, if anything."""

    @abstractmethod
    def chunk(self, number: int, news: News) -> dict[str, Any]:
        """News of a text in a stream."""

    @abstractmethod
    def step(self, number: int, step: dict[str, Any]) -> dict[str, Any]:
        """A step of a text in a stream."""

    @abstractmethod
    def closing(self, found: Sequence[Written]) -> dict[str, Any]:
        """What it cost."""


async def answered(request: Request, texts: Sequence[Text], shape: Shape, *, stream: bool) -> Response:
    """The answer to a request whose texts are queued; when its client goes they are given up."""
    try:
        if not stream:
            whole = await _unless_gone(request, _whole(texts))
            return _gone(texts) if whole is None else JSONResponse(shape.whole(whole))
        news = _merged(texts)
        # What cannot be written shows before the first step, when there is a status left to say it by.
        first = await _unless_gone(request, _next(news))
        return _gone(texts) if first is None else EventStream(_events(first, news, shape, len(texts)), texts)
    except BaseException:
        _give_up(texts)
        raise


class EventStream(StreamingResponse):
    """Events of the server for as long as somebody listens."""

    def __init__(self, events: AsyncIterator[str], texts: Sequence[Text]) -> None:
        """Events of these texts."""
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self.texts = texts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            _give_up(self.texts)


Numbered = tuple[int, News]


async def _events(
    first: Numbered, rest: AsyncIterator[Numbered], shape: Shape, number: int
) -> AsyncIterator[str]:
    found = [Written() for _ in range(number)]
    begun = set[int]()
    try:
        async for index, news in _chain(first, rest):
            if index not in begun:
                begun.add(index)
                opening = shape.opening(index)
                if opening is not None:
                    yield _event(opening)
            found[index].add(news)
            if news.step is not None:
                yield _event(shape.step(index, news.step), "step")
            if news.text or news.end is not None:
                yield _event(shape.chunk(index, news))
        if shape.with_usage:
            yield _event(shape.closing(found))
        yield "data: [DONE]\n\n"
    except Exception as error:  # the status is sent: all that is left is to say it
        yield _event(failure_of(error).body)


def _event(data: dict[str, Any], name: str = "") -> str:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n"


async def _chain(first: T, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    yield first
    async for one in rest:
        yield one


async def _next(news: AsyncIterator[T]) -> T:
    return await anext(news)


async def _whole(texts: Sequence[Text]) -> list[Written]:
    found = [Written() for _ in texts]
    async for index, news in _merged(texts):
        found[index].add(news)
    return found


async def _merged(texts: Sequence[Text]) -> AsyncIterator[Numbered]:
    """The news of all texts as they come; the first error of one ends them."""
    queue: asyncio.Queue[tuple[int, News | Exception | None]] = asyncio.Queue()

    async def listen(index: int, text: Text) -> None:
        try:
            async for news in text.news():
                queue.put_nowait((index, news))
            queue.put_nowait((index, None))
        except Exception as error:
            queue.put_nowait((index, error))

    tasks = [asyncio.create_task(listen(index, text)) for index, text in enumerate(texts)]
    try:
        left = len(tasks)
        while left:
            index, news = await queue.get()
            if isinstance(news, Exception):
                raise news
            if news is None:
                left -= 1
            else:
                yield index, news
    finally:
        for task in tasks:
            task.cancel()
        _give_up(texts)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work gives, or None when the client goes before; the work is then given up."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        gone.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _give_up(texts: Sequence[Text]) -> None:
    for text in texts:
        text.handle.cancel()


def _gone(texts: Sequence[Text]) -> Response:
    _give_up(texts)
    return Response(status_code=CLIENT_GONE)
