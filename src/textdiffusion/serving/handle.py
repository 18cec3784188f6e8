"""A request as its owner sees it: frames as they come, then texts, or an error."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress

from ..generation import Frame
from ..tasks import Generation

Outcome = list[Generation] | BaseException


class Handle:
    """What `Engine.submit` returns; any thread may read it, several at once.

    ``for frame in handle.frames()`` waits for each step, as does ``async for frame in handle``, as in a
    server; both end in the error, if there is one. Whoever stops reading and wants no text cancels.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` tells the engine that there is something to see to."""
        self._wake = wake
        self._future: Future[list[Generation]] = Future()
        self._news = threading.Condition()
        self._frames: list[Frame] = []
        self._listeners: list[Callable[[], None]] = []
        self._gone = False

    def result(self, timeout: float | None = None) -> list[Generation]:
        """The texts, when they are there.

        Raises:
            TimeoutError: they are not after `timeout` seconds; the request goes on.
            Cancelled, DeadlinePassed, EngineClosed: they never will be.
            TextDiffusionError: what a generation raises.
        """
        return self._future.result(timeout)

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self._future.done()

    @property
    def gone(self) -> bool:
        """Whether it was cancelled, which the engine heeds before its next pass."""
        return self._gone

    def cancel(self) -> None:
        """Say that nobody waits any more; when it is done already, nothing happens."""
        self._gone = True
        self._wake()

    def frames(self) -> Iterator[Frame]:
        """All frames from the first on, as they come."""
        shown = 0
        while True:
            with self._news:
                while len(self._frames) == shown and not self._future.done():
                    self._news.wait()
            fresh, done = self._since(shown)
            yield from fresh
            shown += len(fresh)
            if done:
                self._future.result()
                return

    async def __aiter__(self) -> AsyncIterator[Frame]:
        """The same in an event loop, which is free meanwhile."""
        loop, news, shown = asyncio.get_running_loop(), asyncio.Event(), 0

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed, and nobody listens
                loop.call_soon_threadsafe(news.set)

        with self._news:
            self._listeners.append(tell)
        try:
            while True:
                news.clear()
                fresh, done = self._since(shown)
                for frame in fresh:
                    yield frame
                shown += len(fresh)
                if done:
                    self._future.result()
                    return
                await news.wait()
        finally:
            with self._news:
                self._listeners.remove(tell)

    def show(self, frame: Frame) -> None:
        """One more frame; for the engine."""
        with self._news:
            self._frames.append(frame)
            self._tell()

    def settle(self, outcome: Outcome) -> None:
        """The end; for the engine."""
        with self._news:
            if self._future.done():
                return
            if isinstance(outcome, BaseException):
                self._future.set_exception(outcome)
            else:
                self._future.set_result(outcome)
            self._tell()

    def _since(self, shown: int) -> tuple[Sequence[Frame], bool]:
        """Frames that are new, and whether they are the last."""
        with self._news:
            return self._frames[shown:], self._future.done()

    def _tell(self) -> None:
        self._news.notify_all()
        for tell in self._listeners:
            tell()
