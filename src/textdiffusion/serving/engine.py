"""The engine: a queue, a thread that serves it, and the door."""

import atexit
import logging
import threading
from collections import deque
from types import TracebackType

from ..errors import EngineClosed, EngineError, EngineFull
from ..language_model import DiffusionLM
from .crowd import Crowd
from .handle import Handle
from .limits import Limits, check_seconds
from .merging import MERGINGS
from .metrics import Counters, Metrics
from .request import Order, Request

logger = logging.getLogger(__name__)
MERGING = next(iter(MERGINGS))


class Engine:
    """Writes the texts of many requests at once with one model, each as it would be written alone.

    Requests may differ in all that a `Task` holds. They join and leave between passes; in a pass those whose
    texts are of like length are read together. The engine owns the model as long as it is open: nobody else
    is to ask it meanwhile. ``with Engine(lm) as engine`` waits at its end for what runs, or, after an error
    such as Ctrl-C, gives it up.
    """

    def __init__(self, lm: DiffusionLM, limits: Limits | None = None, *, merging: str = MERGING) -> None:
        """Begin to serve; `merging` names a way to share passes (see `MERGINGS`).

        Raises:
            UnknownNameError: no such merging.
        """
        self.limits = Limits() if limits is None else limits
        self._counters = Counters()
        self._crowd = Crowd(lm, self.limits, MERGINGS[merging], self._counters)
        self._queue: deque[Request] = deque()
        self._changed = threading.Condition()
        self._open = self._goes_on = True
        self._numbers = 0
        self._thread = threading.Thread(target=self._serve, name="textdiffusion-engine", daemon=True)
        self._thread.start()
        atexit.register(self.close, drain=False)

    def submit(self, order: Order, *, seconds: float | None = None) -> Handle:
        """Queue a task, or a function that makes one of the model, such as ``lambda lm: lm.revision(...)``.

        What asks the network to make its task (revision, a length that is read) is to be such a function: it
        is called when the request's turn comes. `seconds` may shorten the engine's own limit.

        Raises:
            EngineFull: too many requests wait.
            EngineClosed: the engine was closed.
            SettingsError: the request has more tokens than one may have, or no time.
        """
        check_seconds(seconds)
        allowed = [limit for limit in (seconds, self.limits.seconds) if limit is not None]
        with self._changed:
            if not self._open:
                raise EngineClosed("the engine is closed and takes no requests; make another one.")
            if len(self._queue) >= self.limits.queue:
                self._counters.refused += 1
                raise EngineFull(f"{len(self._queue)} requests wait already; try again later.")
            self._numbers += 1
            request = Request(
                order,
                Handle(self._wake),
                self.limits,
                seconds=min(allowed, default=None),
                number=self._numbers,
            )
            self._queue.append(request)
            self._changed.notify()
        return request.handle

    @property
    def is_open(self) -> bool:
        """Whether it takes requests."""
        return self._open

    def metrics(self) -> Metrics:
        """What was done so far."""
        return self._counters.shown(len(self._queue), len(self._crowd.running))

    def close(self, *, drain: bool = True) -> None:
        """Take no more requests, and return when all are done; without `drain` they fail (EngineClosed)."""
        with self._changed:
            self._open = False
            self._goes_on = self._goes_on and drain
            self._changed.notify()
        self._thread.join()
        atexit.unregister(self.close)

    def __enter__(self) -> "Engine":
        """The engine itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish what was asked for, or give it up after an error."""
        self.close(drain=error is None)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _serve(self) -> None:
        """The engine's thread."""
        reason: Exception = EngineClosed("the engine was closed before the text was done.")
        try:
            while self._admitted():
                self._crowd.step()
        except BaseException as error:  # a fault of ours; nobody is to wait for ever because of it
            reason = EngineError(f"the engine has failed ({error}); make another one.")
            logger.exception("the engine has failed")
        finally:
            with self._changed:
                self._open = False
                waiting = [*self._crowd.running, *self._queue]
                self._queue.clear()
            for request in waiting:
                self._crowd.leave(request, reason)

    def _admitted(self) -> bool:
        """Let requests leave and join; true as soon as there is something to do, false when all is over."""
        while True:
            self._dismiss()
            fresh = self._next()
            if fresh is not None:
                self._crowd.join(fresh)
                continue
            with self._changed:
                if self._crowd.running and self._goes_on:
                    return True
                if not self._goes_on or not (self._open or self._queue):
                    return False
                if not self._queue:
                    self._changed.wait()

    def _dismiss(self) -> None:
        """Let those leave that are cancelled or late, whether they run or wait."""
        with self._changed:
            reasons = [(request, request.reason_to_leave()) for request in self._queue]
            self._queue = deque(request for request, reason in reasons if reason is None)
        for request, reason in reasons:
            if reason is not None:
                self._crowd.leave(request, reason)
        self._crowd.dismiss()

    def _next(self) -> Request | None:
        """The first in the queue, if there is room for it."""
        with self._changed:
            if self._goes_on and self._queue and self._crowd.has_room(self._queue[0]):
                return self._queue.popleft()
            return None
