"""The doorkeeper: who may ask, how often, and how much at once; and a count of what was answered."""

import hashlib
import hmac
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .failures import TOO_LARGE, Failure
from .settings import ServerSettings

_MOST_CLIENTS = 10_000
"""Clients that are remembered; those that asked longest ago are forgotten first."""
_MOST_DIGITS = 18
"""Of a length that is read at all."""
_OTHER = "other"


@dataclass
class Client:
    """What one client has used up."""

    left: float
    """Requests that it may make at once."""
    since: float
    """When that was counted."""
    running: int = 0


class Guard:
    """Stands before an app: keys, rates, and requests at once; answers are counted by address and status."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServerSettings,
        keys: Collection[str],
        answers: Counter[tuple[str, int]],
        paths: Collection[str],
    ) -> None:
        """Without `keys` everybody may ask; `paths` are those that are counted by name."""
        self.app, self.settings, self.answers, self.paths = app, settings, answers, frozenset(paths)
        self.keys = [_digest(key) for key in keys]
        self.clients: OrderedDict[str, Client] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = str(scope["path"])
        counted = path if path in self.paths else _OTHER

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.answers[counted, int(message["status"])] += 1
            await send(message)

        failure = self._unknown(scope, path) or self._too_large(scope)
        writes = scope["method"] == "POST" and path.startswith("/v1/")
        client = self._client(scope) if writes and failure is None else None
        if client is not None:
            failure = self._too_much(client)
        if failure is not None:
            await failure.response(scope, receive, noted)
        elif client is None:
            await self.app(scope, self._measured(receive), noted)
        else:
            client.running += 1
            try:
                await self.app(scope, self._measured(receive), noted)
            finally:
                client.running -= 1

    def _unknown(self, scope: Scope, path: str) -> Failure | None:
        """Why somebody may not ask, if a key is needed and is not given."""
        if not self.keys or not path.startswith(("/v1/", "/metrics")) or scope["method"] == "OPTIONS":
            return None
        given = _digest(_key(scope))
        if any([hmac.compare_digest(given, key) for key in self.keys]):  # all are looked at, whichever it is
            return None
        said = "the key is missing or wrong; send it as `Authorization: Bearer KEY`."
        headers = {"WWW-Authenticate": "Bearer"}
        return Failure(401, said, "authentication_error", "invalid_api_key", headers=headers)

    def _too_large(self, scope: Scope) -> Failure | None:
        """Why a body is not even read, if its length says so."""
        said = Headers(scope=scope).get("content-length", "")
        if said.isdecimal() and (len(said) > _MOST_DIGITS or int(said) > self.settings.max_body):
            return Failure(413, TOO_LARGE, code="too_large")
        return None

    def _measured(self, receive: Receive) -> Receive:
        """The same body, which fails when it becomes too large, whatever it said of itself."""
        read = 0

        async def measured() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.settings.max_body:
                raise HTTPException(413)
            return message

        return measured

    def _client(self, scope: Scope) -> Client | None:
        """Who asks; None where nobody is counted."""
        settings = self.settings
        if settings.rate is None and settings.concurrency is None:
            return None
        address = scope.get("client") or ("", 0)
        name = _digest(_key(scope)).hex() if self.keys else str(address[0])
        client = self.clients.pop(name, None) or Client(_burst(settings.rate), time.monotonic())
        self.clients[name] = client
        while len(self.clients) > _MOST_CLIENTS:
            self.clients.popitem(last=False)
        return client

    def _too_much(self, client: Client) -> Failure | None:
        """Why a client is to wait, if it is; else its request is counted."""
        most, rate = self.settings.concurrency, self.settings.rate
        if most is not None and client.running >= most:
            return _slower(f"{client.running} of your requests are served already, and {most} may be", 1)
        if rate is None:
            return None
        now, per_second = time.monotonic(), rate / 60.0
        client.left = min(_burst(rate), client.left + (now - client.since) * per_second)
        client.since = now
        if client.left < 1.0:
            return _slower(
                f"more than {rate:g} requests a minute", math.ceil((1.0 - client.left) / per_second)
            )
        client.left -= 1.0
        return None


def _burst(rate: float | None) -> float:
    """Requests that may come at once: those of a minute."""
    return max(1.0, rate or 1.0)


def _slower(why: str, seconds: int) -> Failure:
    headers = {"Retry-After": str(seconds)}
    said = f"{why}; wait {seconds} s."
    return Failure(429, said, "rate_limit_error", "rate_limit_exceeded", headers=headers)


def _key(scope: Scope) -> str:
    kind, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
