"""A server on a free port and a Chromium that looks at its page."""

import json
import shutil
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any
from urllib.request import Request, urlopen

import pytest
import uvicorn
from serving.toy import Held, held

from textdiffusion import load
from textdiffusion.language_model import DiffusionLM
from textdiffusion.server import make_app
from textdiffusion.server.running import address_of, listening
from textdiffusion.serving import Engine

PROMPT = "Once upon a time"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome")
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


@dataclass
class Site:
    """A server, and the door before its network."""

    address: str
    lm: DiffusionLM
    door: Held

    def hold(self) -> None:
        """Let no pass begin, until some are allowed."""
        while self.door.allowed.acquire(blocking=False):
            pass

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """The answer of the server without a page."""
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        with urlopen(Request(f"{self.address}{path}", data, headers)) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def chatting_model() -> DiffusionLM:
    """The bundled model with a template for conversations."""
    lm = load("starter")
    tokenizer = deepcopy(lm.format.tokenizer)
    tokenizer.chat_template = TEMPLATE
    lm.format = replace(lm.format, tokenizer=tokenizer)
    return lm


@contextmanager
def site(keys: Collection[str] = (), *, lm: DiffusionLM | None = None) -> Iterator[Site]:
    """A server in a thread for as long as the block lasts."""
    model = chatting_model() if lm is None else lm
    door = held(model)
    opened = listening("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(make_app(model, Engine(model), keys=keys), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    try:
        yield Site(address_of(opened), model, door)
    finally:
        door.allow()
        server.should_exit = True
        thread.join(timeout=20)
        opened.close()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, or a reason why there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is installed here; the package chromium of Debian has one")
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(context: Any, server: Site) -> Iterator[Any]:
    """The page, which may neither fail nor ask another host for anything."""
    server.hold()
    server.door.allow()
    context.set_default_timeout(20_000)
    page, faults, asked = context.new_page(), list[str](), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.address)
    page.wait_for_selector("body.ready")
    try:
        yield page
        assert not faults
        assert all(url.startswith((server.address, "blob:")) for url in asked)
    finally:
        page.close()


@contextmanager
def apart(browser: Any, server: Site, **options: Any) -> Iterator[Any]:
    """The page in a browser that differs in some `options`."""
    context = browser.new_context(**options)
    with opened(context, server) as found:
        yield found
    context.close()


def fill(page: Any, tab: str, **fields: Any) -> None:
    """Give the fields of a tab values."""
    for name, value in fields.items():
        field = page.locator(f"#{tab} [name={name}]").first
        field.select_option(value) if name == "sampler" else field.fill(str(value))


def write(page: Any, text: str = PROMPT, **fields: Any) -> None:
    """Run in the tab Write until all is written."""
    fill(page, "write", text=text, **{"sampler": "confidence", "seed": 5, "steps": 4, **fields})
    page.click("#write [data-do=run]")
    finished(page, "write")


def finished(page: Any, tab: str) -> None:
    page.wait_for_selector(f"#{tab} [data-do=stop]:disabled")


def cells(page: Any, tab: str = "write", kind: str = "") -> Any:
    return page.locator(f"#{tab} .text .cell{kind}:not([hidden])")


def said(page: Any) -> str:
    """What a screen reader is told."""
    return str(page.text_content("#announced"))


def status(page: Any) -> str:
    return str(page.text_content("#write .status"))


def tokens(page: Any) -> list[str]:
    """The texts of all places, those that are hidden too."""
    return list(page.locator("#write .text .cell").all_text_contents())
