"""What a site allows crawlers, as its robots.txt says (RFC 9309).

The standard library's reader knows no wildcards and takes the first rule that fits instead of the longest, so
that it would ask for pages which the site forbids.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Robots:
    """The rules for one crawler."""

    rules: tuple[tuple[str, bool], ...] = ()
    """Patterns of paths, and whether what they fit is allowed."""
    delay: float = 0.0
    """Seconds that the site wants between two requests."""

    def allows(self, url: str) -> bool:
        """Whether a page may be asked for: the longest pattern that fits decides, and allowing wins a tie."""
        parts = urlsplit(url)
        path = unquote(parts.path or "/") + (f"?{unquote(parts.query)}" if parts.query else "")
        fitting = [(len(pattern), allowed) for pattern, allowed in self.rules if _fits(pattern, path)]
        return max(fitting, default=(0, True))[1]


def read_robots(text: str, agent: str) -> Robots:
    """The rules in a robots.txt for the crawler named `agent`, or those for all if it is not named."""
    named: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    found = False
    for agents, lines in _groups(text):
        if agent.lower() in agents:
            found = True
            named += lines
        elif "*" in agents:
            others += lines
    lines = named if found else others
    verdicts = {"allow": True, "disallow": False}
    rules = tuple((unquote(value), verdicts[field]) for field, value in lines if field in verdicts and value)
    delays = [_seconds(value) for field, value in lines if field == "crawl-delay"]
    return Robots(rules, max(delays, default=0.0))


def _groups(text: str) -> Iterator[tuple[set[str], list[tuple[str, str]]]]:
    """Names of crawlers in lower case, and the lines that are for them."""
    agents, lines = set[str](), list[tuple[str, str]]()
    for line in text.splitlines():
        field, colon, value = line.partition("#")[0].partition(":")
        field, value = field.strip().lower(), value.strip()
        if not colon:
            continue
        if field == "user-agent":
            if lines:
                yield agents, lines
                agents, lines = set(), []
            agents.add(value.lower().partition("/")[0])
        elif agents:
            lines.append((field, value))
    yield agents, lines


def _seconds(value: str) -> float:
    try:
        return max(0.0, float(value)) if math.isfinite(float(value)) else 0.0
    except ValueError:
        return 0.0


def _fits(pattern: str, path: str) -> bool:
    """Whether a pattern fits the beginning of a path, or all of it with `$`; `*` is anything."""
    first, *pieces = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    for piece in pieces:
        before, at = at, path.find(piece, at) + len(piece)
        if at < before + len(piece):
            return False
    if not pattern.endswith("$"):
        return True
    last = pieces[-1] if pieces else first
    start = len(path) - len(last)
    return path.endswith(last) and (start >= at - len(last) if pieces else at == len(path))
