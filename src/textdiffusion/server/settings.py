"""What a server allows its clients."""

from dataclasses import dataclass

from ..errors import SettingsError
from ..settings import check_at_least_one


@dataclass(frozen=True)
class ServerSettings:
    """Bounds of a server, beside those of its engine."""

    served_name: str | None = None
    """Name by which clients ask for the model; its Hub id, or the last part of its folder, when left out."""
    max_body: int = 1_000_000
    """Largest body of a request in bytes."""
    max_texts: int = 16
    """Most texts of one request: its prompts times its choices."""
    max_steps: int = 4096
    """Most steps that a request may ask for."""
    rate: float | None = None
    """Requests a minute of one client, told by its key, else by its address; no limit when left out."""
    concurrency: int | None = None
    """Requests of one client that are served at once; no limit when left out."""
    cors_origin: tuple[str, ...] = ()
    """Origin of web pages that may ask from a browser, e.g. https://example.org; may be repeated."""

    def __post_init__(self) -> None:
        """Refuse what would serve nobody."""
        check_at_least_one(self, "max_body", "max_texts", "max_steps", "concurrency")
        if self.rate is not None and not 0.0 < self.rate < float("inf"):
            raise SettingsError(f"rate is {self.rate}; give requests a minute above 0, or leave it out.")
