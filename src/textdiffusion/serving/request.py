"""A request as the engine sees it: an ordinary generation in a fibre, and the question at which it stands."""

from collections.abc import Callable
from copy import copy
from time import monotonic
from typing import Any

from ..errors import Cancelled, DeadlinePassed
from ..language_model import DiffusionLM
from ..tasks import Task
from .fibre import Fibre, Left
from .handle import Handle, Outcome
from .limits import Limits
from .questions import Question
from .shared import Ask, shared

Order = Task | Callable[[DiffusionLM], Task]
"""What is asked for: a task, or what makes one of the engine's model, which may ask the network too."""


class Request:
    """One order on its way. All but its making happens in the engine's thread."""

    def __init__(
        self, order: Order, handle: Handle, limits: Limits, *, seconds: float | None, number: int
    ) -> None:
        """Note when it came.

        Raises:
            SettingsError: it has more tokens than one request may have.
        """
        self.order, self.handle, self.limits, self.number = order, handle, limits, number
        self.size: int | None = limits.check(order) if isinstance(order, Task) else None
        self.seconds = seconds
        self._arrived = monotonic()
        self.question: Question | None = None
        self.asked = 0
        self.outcome: Outcome | None = None
        self._fibre: Fibre[Question, Any] | None = None

    @property
    def age(self) -> float:
        """Seconds since it came."""
        return monotonic() - self._arrived

    def room(self, otherwise: int) -> int:
        """Tokens to reckon with; `otherwise` while there is no task yet."""
        return otherwise if self.size is None else self.size

    def reason_to_leave(self) -> Exception | None:
        """Why it is not to go on, if there is a reason."""
        if self.handle.gone:
            return Cancelled("the request was cancelled before its text was done.")
        if self.seconds is not None and self.age > self.seconds:
            return DeadlinePassed(f"the text was not done after {self.seconds:g} seconds; ask for less.")
        return None

    def begin(self, lm: DiffusionLM) -> None:
        """Run up to the first question."""
        self._fibre = Fibre(lambda ask: self._write(lm, ask), f"textdiffusion-request-{self.number}")
        self.question = self._fibre.begin()

    def go_on(self, reply: Callable[[], Any]) -> None:
        """Run up to the next question."""
        assert self._fibre is not None
        self.question = self._fibre.go_on(reply)

    def leave(self, reason: Exception) -> None:
        """Stop where it stands."""
        if self._fibre is not None and self.question is not None:
            self._fibre.leave()
        self.question, self.outcome = None, reason

    def _write(self, lm: DiffusionLM, ask: Ask) -> None:
        """The work of the fibre: what `DiffusionLM` does for anyone, with a denoiser that asks us."""
        try:
            own = copy(lm)
            own.denoiser = shared(lm.denoiser, ask)
            task = self.order if isinstance(self.order, Task) else self.order(own)
            self.size = self.limits.check(task)
            frames = []
            for frame in own.stream(task):
                frames.append(frame)
                self.handle.show(frame)
            self.outcome = own.results(task, frames)
        except Left:
            return  # who let it leave knows why
        except BaseException as error:  # whatever a sampler, a classifier or a callback of the user's raises
            self.outcome = error
