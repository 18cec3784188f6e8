"""The requests that are written at this moment, and the passes that they share; knows no threads."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from ..errors import Cancelled
from ..language_model import DiffusionLM
from .limits import Limits
from .merging import Merging, Reader
from .metrics import Counters
from .questions import Answers, Apart, Joinable
from .request import Request

logger = logging.getLogger(__name__)
_Said = TypeVar("_Said")
Reply = Callable[[], Any]


class Crowd:
    """Requests that join and leave between passes; each pass answers the oldest question, and its like.

    So with n requests a question is answered within n passes.
    """

    def __init__(self, lm: DiffusionLM, limits: Limits, merging: Merging, counters: Counters) -> None:
        """Nobody is there yet."""
        self.lm, self.limits, self.merging, self.counters = lm, limits, merging, counters
        self.reader = Reader(lm.denoiser, lm.format.pad_id)
        self.budget = limits.tokens_per_pass
        self.running: list[Request] = []
        self._asked = 0

    def has_room(self, request: Request) -> bool:
        """Whether it may begin now; one whose task is not made yet is reckoned as the longest text."""
        unknown = min(self.lm.longest, self.limits.longest)
        held = sum(other.room(unknown) for other in self.running) + request.room(unknown)
        free = len(self.running) < self.limits.running and held <= self.limits.tokens_running
        return free or not self.running

    def join(self, request: Request) -> None:
        """Begin a request."""
        self.counters.waits.append(request.age)
        self.running.append(request)
        request.begin(self.lm)
        self._note(request)

    def dismiss(self) -> None:
        """Let those leave that are cancelled or late."""
        for request in list(self.running):
            reason = request.reason_to_leave()
            if reason is not None:
                self.leave(request, reason)

    def leave(self, request: Request, reason: Exception) -> None:
        """Let one leave, or one that never began."""
        request.leave(reason)
        self._note(request)

    def step(self) -> None:
        """One pass, after which those that were answered go on to their next question."""
        chosen = self._chosen()
        for request, reply in zip(chosen, self._replies(chosen), strict=True):
            request.go_on(reply)
            self._note(request)

    def _chosen(self) -> Sequence[Request]:
        """The request that has waited longest, and those that its pass takes, the nearest in width first."""
        oldest = min(self.running, key=lambda request: request.asked)
        first = oldest.question
        if not isinstance(first, Joinable):
            return [oldest]
        chosen, questions = [oldest], [first]
        for other in sorted(self.running, key=lambda request: _distance(request, first)):
            more = other.question
            if other is oldest or not isinstance(more, Joinable) or first.form != more.form:
                continue
            if self.merging.takes(self.reader, questions, more, self.budget):
                chosen, questions = [*chosen, other], [*questions, more]
        return chosen

    def _replies(self, chosen: Sequence[Request]) -> Sequence[Reply]:
        """What each is told; after an error each asks by itself, so that one's fault is not the others'."""
        asked = [request.question for request in chosen if isinstance(request.question, Joinable)]
        try:
            if not asked:
                return [partial(_said, self._apart(chosen[0].question))]
            return [partial(_said, logits) for logits in self._read(asked).logits]
        except Exception as error:  # the network's, for whom it concerns
            failed = error
        if len(chosen) == 1:
            return [partial(_raised, failed)]
        logger.warning("a pass for %d requests failed (%s); each is asked by itself", len(chosen), failed)
        return [reply for request in chosen for reply in self._replies([request])]

    def _read(self, asked: Sequence[Joinable]) -> Answers:
        """The answers, in smaller passes from now on where the memory does not hold them."""
        while True:
            rows, width = self.merging.shape(self.reader, asked, self.budget)
            try:
                with torch.inference_mode():
                    found = self.merging.answers(self.reader, asked, self.budget)
                break
            except RuntimeError as error:
                if not _is_memory(error) or rows == 1:
                    raise
            # Outside the handler, which holds on to what filled the memory.
            self.budget = width * (rows // 2)
            clear_device_cache(garbage_collection=True)
            logger.warning("out of memory: passes have at most %d tokens from now on", self.budget)
        read = sum(one.tokens for one in asked)
        self._count(found.passes, read, found.columns - read, len(asked) if len(asked) > 1 else 0)
        return found

    def _apart(self, question: Any) -> Any:
        assert isinstance(question, Apart)
        with torch.inference_mode():
            found = question.call()
        self._count(1, question.tokens, 0, 0)
        return found

    def _count(self, passes: int, read: int, padded: int, shared: int) -> None:
        counters = self.counters
        counters.passes += passes
        counters.tokens_read += read
        counters.tokens_padded += padded
        counters.shared += shared

    def _note(self, request: Request) -> None:
        """Where a request stands: it waits from now on, or is done."""
        if request.question is not None:
            self._asked += 1
            request.asked = self._asked
            return
        if request in self.running:
            self.running.remove(request)
        counters, outcome = self.counters, request.outcome
        assert outcome is not None
        if isinstance(outcome, Cancelled):
            counters.cancelled += 1
        elif isinstance(outcome, BaseException):
            counters.failed += 1
        else:
            counters.finished += 1
            counters.times.append(request.age)
        request.handle.settle(outcome)


def _distance(request: Request, first: Joinable) -> tuple[int, int]:
    columns = request.question.columns if isinstance(request.question, Joinable) else 0
    return abs(columns - first.columns), request.asked


def _is_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or bool(should_reduce_batch_size(error))


def _said(answer: _Said) -> _Said:
    return answer


def _raised(error: Exception) -> NoReturn:
    raise error
