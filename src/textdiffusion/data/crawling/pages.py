"""Pages of one site, asked for politely: one at a time, with pauses, and only what robots.txt allows."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version

from ...errors import DataError, SettingsError
from .addresses import host_of, resolved
from .decoding import decoded
from .robots import Robots, read_robots

try:
    import httpx
except ImportError as error:
    raise DataError("crawling needs an extra package: pip install 'textdiffusion[crawl]'.") from error

_log = logging.getLogger(__name__)

_MOST_HOPS = 5
_LONGEST_PAUSE = 120.0
"""Seconds; where the site asks for more before another try, the page is left for later."""
_WAITS = 6
"""A page may take this many times the time limit in all, however steadily it trickles in."""
_ROBOTS_BYTES = 500 * 1024
_TEXT = {"text/html", "application/xhtml+xml", "text/plain", "application/xml", "text/xml"}
_LATER = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
"""Beside the errors of servers: answers after which another try makes sense."""


def own_name() -> str:
    """What the crawler calls itself."""
    try:
        return f"textdiffusion/{version('textdiffusion')}"
    except PackageNotFoundError:  # run from the source
        return "textdiffusion"


@dataclass(frozen=True)
class Manners:
    """How pages are asked for."""

    delay: float = 0.5
    """Seconds between two requests; robots.txt may ask for more."""
    timeout: float = 20.0
    """Seconds in which the site must send something."""
    retries: int = 3
    """Further tries after an answer that may be better later, or none."""
    backoff: float = 1.0
    """Seconds before the first of them; they double each time, and the site may ask for more."""
    max_bytes: int = 8_000_000
    """Largest page that is read."""
    user_agent: str = own_name()
    """What the crawler calls itself; robots.txt is read for the part before the slash."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            SettingsError: see the message.
        """
        for name, least in (("delay", 0), ("retries", 0), ("backoff", 0), ("max_bytes", 1)):
            if not self.__dict__[name] >= least:
                raise SettingsError(f"{name} is {self.__dict__[name]}; it must be {least} or more.")
        if not self.timeout > 0:
            raise SettingsError(f"timeout is {self.timeout}; it must be above 0 seconds.")
        if not self.user_agent.strip() or not self.user_agent.isascii() or not self.user_agent.isprintable():
            raise SettingsError(f"user_agent is {self.user_agent!r}; it must be a name in ASCII.")


class Reason(StrEnum):
    """Why nothing was taken from a page."""

    FAILED = "failed"
    NOT_FOUND = "not found"
    NOT_TEXT = "not text"
    TOO_LARGE = "too large"
    FORBIDDEN = "forbidden by robots.txt"
    OFF_SITE = "leads off the site"
    CIRCLES = "leads in circles"
    KNOWN = "leads to a page seen already"


class PageError(Exception):
    """A page cannot be had."""

    def __init__(self, reason: Reason, detail: str, *, pause: float | None = None) -> None:
        """Say why; `pause` is how long the site wants to be left alone before another try."""
        super().__init__(f"{reason} ({detail})")
        self.reason, self.pause = reason, pause


@dataclass(frozen=True)
class Page:
    """A page of text."""

    url: str
    """Where it was in the end, behind all redirections."""
    text: str


@dataclass(frozen=True)
class _Answer:
    status: int
    location: str
    content_type: str
    body: bytes


class Fetcher(AbstractContextManager["Fetcher"]):
    """Asks one site for pages."""

    def __init__(
        self, start: str, encoding: str, manners: Manners, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """For the site of the page `start`; `encoding` may be empty; `sleep` makes the pauses."""
        self._start, self._encoding, self._manners, self._sleep = start, encoding, manners, sleep
        self._client = httpx.Client(timeout=manners.timeout, headers={"User-Agent": manners.user_agent})
        self._robots: Robots | None = None
        self._last = -math.inf

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, url: str) -> Page:
        """The page behind an address.

        Raises:
            PageError: it cannot be had; why, and whether another try may help, is in it.
            DataError: what the site allows cannot be found out.
        """
        if self._robots is None:
            self._robots = self._read_robots()
        answer, url = self._follow(url, self._manners.max_bytes)
        media = answer.content_type.partition(";")[0].strip().lower()
        if media and media not in _TEXT:
            raise PageError(Reason.NOT_TEXT, media)
        text, lost = decoded(answer.body, self._encoding, answer.content_type)
        if "\0" in text:
            raise PageError(Reason.NOT_TEXT, "its bytes are no text")
        if lost:
            _log.warning("%s: %d characters could not be decoded", url, lost)
        return Page(url, text)

    def _read_robots(self) -> Robots:
        """What the site allows; everything where it says nothing, as RFC 9309 has it."""
        url = resolved(self._start, "/robots.txt")
        assert url is not None
        try:
            answer, _ = self._follow(url, _ROBOTS_BYTES)
        except PageError as error:
            if error.reason in {Reason.NOT_FOUND, Reason.OFF_SITE, Reason.CIRCLES}:
                return Robots()
            raise DataError(
                f"{url} cannot be read: {error}; without it nothing may be crawled, so try again later."
            ) from None
        agent = self._manners.user_agent.partition("/")[0].strip()
        robots = read_robots(answer.body.decode("utf-8", errors="replace"), agent)
        if robots.delay > self._manners.delay:
            _log.info("%s asks for %g seconds between two requests", url, robots.delay)
        return robots

    def _follow(self, url: str, most: int) -> tuple[_Answer, str]:
        """The answer behind all redirections, and where it came from."""
        asked = [url]
        while True:
            if self._robots is not None and not self._robots.allows(url):
                raise PageError(Reason.FORBIDDEN, url)
            answer = self._ask_patiently(url, most)
            if not answer.location:
                return answer, url
            target = resolved(url, answer.location)
            if target is None or host_of(target) != host_of(self._start):
                raise PageError(Reason.OFF_SITE, answer.location)
            if target in asked or len(asked) > _MOST_HOPS:
                raise PageError(Reason.CIRCLES, f"{len(asked)} redirections, the last to {target}")
            asked.append(target)
            url = target

    def _ask_patiently(self, url: str, most: int) -> _Answer:
        """As `_ask`, with further tries."""
        pause = self._manners.backoff
        for left in range(self._manners.retries, -1, -1):
            try:
                return self._ask(url, most)
            except PageError as error:
                wanted = max(pause, error.pause or 0.0)
                if error.reason is not Reason.FAILED or not left or wanted > _LONGEST_PAUSE:
                    raise
                _log.info("%s: %s; another try in %g seconds", url, error, wanted)
                self._sleep(wanted)
                pause *= 2
        raise AssertionError("the last try returns or raises")

    def _ask(self, url: str, most: int) -> _Answer:
        """One request."""
        delay = max(self._manners.delay, self._robots.delay if self._robots is not None else 0.0)
        if (early := self._last + delay - time.monotonic()) > 0:
            self._sleep(early)
        try:
            with self._client.stream("GET", url) as response:
                return _checked(response, lambda: self._body(response, most))
        except httpx.InvalidURL as error:
            raise PageError(Reason.NOT_FOUND, f"bad address: {error}") from None
        except httpx.RequestError as error:
            raise PageError(Reason.FAILED, str(error) or type(error).__name__) from None
        finally:
            self._last = time.monotonic()

    def _body(self, response: httpx.Response, most: int) -> bytes:
        """All of it, unpacked, unless it is too much or takes too long."""
        until = time.monotonic() + _WAITS * self._manners.timeout
        body = bytearray()
        if (
            response.headers.get("Content-Length", "").isdigit()
            and int(response.headers["Content-Length"]) > most
        ):
            raise PageError(Reason.TOO_LARGE, f"{response.headers['Content-Length']} bytes")
        for piece in response.iter_bytes():  # as it comes: with a size given, it would wait for that much
            body += piece
            if len(body) > most:
                raise PageError(Reason.TOO_LARGE, f"more than {most:,} bytes")
            if time.monotonic() > until:
                raise PageError(Reason.FAILED, "it comes too slowly")
        return bytes(body)


def _checked(response: httpx.Response, body: Callable[[], bytes]) -> _Answer:
    """The answer, its body read only if it is one to use."""
    status, headers = response.status_code, response.headers
    if response.has_redirect_location:
        return _Answer(status, headers["Location"], "", b"")
    if response.is_success:
        return _Answer(status, "", headers.get("Content-Type", ""), body())
    said = f"{status} {response.reason_phrase}".strip()
    if response.is_server_error or status in _LATER:
        raise PageError(Reason.FAILED, said, pause=_pause(headers.get("Retry-After", "")))
    raise PageError(Reason.NOT_FOUND, said)


def _pause(retry_after: str) -> float | None:
    """Seconds that the header asks for, as a number or as a date."""
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        date = parsedate_to_datetime(retry_after)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError, OverflowError):  # also a date without a time zone
        return None
