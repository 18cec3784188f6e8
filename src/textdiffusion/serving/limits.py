"""What an engine may take on at once."""

from dataclasses import dataclass

from ..errors import SettingsError
from ..settings import check_at_least_one
from ..tasks import Task


@dataclass(frozen=True)
class Limits:
    """Bounds of an engine; tokens are counted with prompts and padding, twice where a prompt is weighed."""

    queue: int = 256
    """Requests that may wait; one more is refused."""
    running: int = 32
    """Requests that are written at once, each in a thread that mostly waits."""
    tokens_per_request: int | None = None
    """Most tokens in the texts of a request; those of all that run when left out."""
    tokens_running: int = 65536
    """Most tokens in the texts of all requests that run: what canvases and memories take."""
    tokens_per_pass: int = 8192
    """Most tokens in a network call; halved, and logged, when the memory does not hold them."""
    seconds: float | None = None
    """From its arrival on, after which a request is given up; no limit when left out."""

    def __post_init__(self) -> None:
        """Refuse what would serve nobody."""
        check_at_least_one(
            self, "queue", "running", "tokens_per_request", "tokens_running", "tokens_per_pass"
        )
        check_seconds(self.seconds)

    @property
    def longest(self) -> int:
        """Most tokens of one request."""
        own = self.tokens_per_request
        return self.tokens_running if own is None else min(own, self.tokens_running)

    def check(self, task: Task) -> int:
        """The tokens of a request.

        Raises:
            SettingsError: they are more than one request may have.
        """
        size = task.canvas.tokens.numel() * (1 if task.decoding.guidance_scale == 1.0 else 2)
        if size > self.longest:
            raise SettingsError(
                f"the request has {size} tokens, and one may have {self.longest}: ask for less at a time."
            )
        return size


def check_seconds(seconds: float | None) -> None:
    """Raise SettingsError if no time is left at all."""
    if seconds is not None and not seconds > 0.0:
        raise SettingsError(f"seconds is {seconds}; give a time above 0, or leave it out.")
