"""A tiny model behind an app, and ways to ask it without a socket."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from serving.toy import language_model
from starlette.testclient import TestClient

from textdiffusion.language_model import DiffusionLM
from textdiffusion.server import ServerSettings, make_app
from textdiffusion.serving import Engine, Limits

HEADERS = {"Content-Type": "application/json"}


@dataclass
class Service:
    """A model, its engine, and a client of its app."""

    lm: DiffusionLM
    engine: Engine
    client: TestClient
    app: Any
    extra: dict[str, Any] = field(default_factory=dict)

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """The answer to a request that succeeds."""
        found = self.client.post(path, json=body)
        assert found.status_code == 200, found.text
        answer: dict[str, Any] = found.json()
        return answer

    def complete(self, prompt: Any = "the cat", **body: Any) -> dict[str, Any]:
        """The first choice for a prompt."""
        choice: dict[str, Any] = self.ask("/v1/completions", prompt=prompt, **body)["choices"][0]
        return choice

    def refused(self, path: str, status: int, **body: Any) -> dict[str, Any]:
        """The error of a request that fails with this status."""
        found = self.client.post(path, json=body)
        assert found.status_code == status, found.text
        error: dict[str, Any] = found.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    def events(self, path: str, **body: Any) -> list[tuple[str, Any]]:
        """Name and data of the events of a stream."""
        found = self.client.post(path, json={"stream": True, **body})
        assert found.status_code == 200, found.text
        assert found.headers["content-type"].startswith("text/event-stream")
        return list(_events(found.text))


def _events(text: str) -> Iterator[tuple[str, Any]]:
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        data = lines["data"]
        yield lines.get("event", ""), data if data == "[DONE]" else json.loads(data)


@contextmanager
def service(
    settings: ServerSettings | None = None,
    *,
    lm: DiffusionLM | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> Iterator[Service]:
    """A service for as long as the block lasts."""
    model = language_model() if lm is None else lm
    engine = Engine(model, limits)
    app = make_app(model, engine, settings, **options)
    try:
        yield Service(model, engine, TestClient(app, raise_server_exceptions=False), app)
    finally:
        engine.close(drain=False)
