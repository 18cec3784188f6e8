"""A browser, a server and a page for the modules that ask for them.

They end with their module: Playwright runs an event loop in the thread of the tests, in which no other can.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from server.browser import Site, chromium, opened, site


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def server(browser: Any) -> Iterator[Site]:
    with site() as found:
        yield found


@pytest.fixture(scope="module")
def usual(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def page(usual: Any, server: Site) -> Iterator[Any]:
    with opened(usual, server) as found:
        yield found
