"""Work that can stop in the depth of its calls and go on later, as a generator can only at its surface.

Each piece of work has a thread, but never do two run: whoever lets one go on waits until it asks something
or is done. So a sampler may ask the network wherever it likes, nothing needs a lock, and what is written
hangs on no scheduler but ours.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, NoReturn, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Left(BaseException):
    """Raised in work for which nobody waits any more; no handler for ordinary errors keeps it."""


class Fibre(Generic[Question, Answer]):
    """One piece of work; it is given a function by which it asks and gets an answer."""

    def __init__(self, work: Callable[[Callable[[Question], Answer]], None], name: str) -> None:
        """Nothing runs yet. The `work` is to keep its errors to itself."""
        self._replies: SimpleQueue[Callable[[], Answer]] = SimpleQueue()
        self._asked: SimpleQueue[Question | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)

    def begin(self) -> Question | None:
        """Let it run up to its first question; None when it is done."""
        self._thread.start()
        return self._next()

    def go_on(self, reply: Callable[[], Answer]) -> Question | None:
        """Let it run up to its next question; what `reply` returns, or raises, is its answer."""
        self._replies.put(reply)
        return self._next()

    def leave(self) -> None:
        """Let it run to its end, whatever it asks, with `Left`."""
        while self.go_on(_left) is not None:
            pass

    def _next(self) -> Question | None:
        question = self._asked.get()
        if question is None:
            self._thread.join()
        return question

    def _run(self, work: Callable[[Callable[[Question], Answer]], None]) -> None:
        try:
            work(self._ask)
        finally:
            self._asked.put(None)

    def _ask(self, question: Question) -> Answer:
        self._asked.put(question)
        return self._replies.get()()


def _left() -> NoReturn:
    raise Left
