"""The guide as a site: every page is in its navigation, and it builds without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
TOOLS = ("mkdocs", "material", "pymdownx")


def places(nav: Any) -> Iterator[str]:
    """The files that a navigation names, in its order."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from places(entry)


def test_every_page_is_in_the_navigation_once() -> None:
    named = [place for place in places(SETTINGS["nav"]) if not place.startswith("outside/")]
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    assert not pages - set(named), "add these to the navigation of mkdocs.yml"
    assert not set(named) - pages, "these pages of mkdocs.yml are not there"
    assert len(named) == len(set(named))


def test_pages_from_outside_exist() -> None:
    outside = [place.removeprefix("outside/") for place in places(SETTINGS["nav"]) if "outside/" in place]
    assert outside
    assert not [place for place in outside if not (ROOT / place).is_file()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly."""
    missing = [tool for tool in TOOLS if importlib.util.find_spec(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr.strip()
    return folder


def test_links_to_the_repository_lead_into_the_site(site: Path) -> None:
    page = site / "results" / "speed.html"
    (link,) = re.findall(r'href="([^"]*benchmarks/bounds\.py)"', page.read_text("utf-8"))
    assert (page.parent / link).resolve().read_bytes() == (ROOT / "benchmarks" / "bounds.py").read_bytes()


def test_nothing_is_fetched_to_read_a_page(site: Path) -> None:
    for page in (site / "index.html", site / "zh" / "poems.html"):
        heads = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]+)"', page.read_text("utf-8"))
        assert heads
        assert not [target for target in heads if re.match(r"(?:https?:)?//", target)]


def test_code_keeps_its_language(site: Path) -> None:
    text = (site / "tutorials" / "first-ten-minutes.html").read_text("utf-8")
    assert "python runnable" not in text
    assert '<span class="kn">import</span>' in text  # a keyword of Python, in its colour
