"""A page opened in a real browser, where there is one."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest


def browser() -> str:
    """The program of a Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    return found


def run_in_browser(html: str, robot: str, folder: Path) -> list[str]:
    """What `robot`, statements of JavaScript, says by `say(text)` of a page, on which it may `press(key)`."""
    script = (
        "<script>{const said = [], say = text => said.push(text);"
        'const press = key => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));'
        f"{robot}; document.documentElement.dataset.said = JSON.stringify(said);}}</script></body>"
    )
    (folder / "page.html").write_text(html.replace("</body>", script), "utf-8")
    quiet = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage"
    alone = "--disable-background-networking --disable-component-update --disable-sync"
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [browser(), *quiet.split(), *alone.split(), profile, "--dump-dom", f"file://{folder}/page.html"]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-said="([^"]*)"', dom)
    assert found, dom[-2000:]
    said: list[str] = json.loads(unescape(found[1]))
    return said
