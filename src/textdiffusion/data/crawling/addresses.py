"""Addresses of pages: made whole, compared, and where they lie within a site."""

from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

_PORTS = {"http": 80, "https": 443}
_SAFE = "/:@!$&'()*+,;=~-._"


def is_address(url: str) -> bool:
    """Whether it is the whole address of a page."""
    try:
        parts = urlsplit(url)
        return parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def resolved(base: str, link: str) -> str | None:
    """The address that a link on the page `base` leads to, without its fragment; None if to no page."""
    try:
        url = urljoin(base, "".join(link.split("\n")).strip())
        parts = urlsplit(url)
    except ValueError:
        return None
    return urlunsplit(parts._replace(fragment="")) if is_address(url) else None


def host_of(url: str) -> str:
    """The host, with its port where that is unusual; `www.` makes no difference."""
    parts = urlsplit(url)
    host = (parts.hostname or "").removeprefix("www.")
    return host if parts.port in {None, _PORTS.get(parts.scheme)} else f"{host}:{parts.port}"


def page_key(url: str) -> str:
    """What addresses of one page have in common, however they are written."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return host_of(url) + (_path(parts) or "/") + query


def place_of(start: str, url: str) -> str:
    """The address from the folder of `start` on, or from the root if it lies elsewhere."""
    base, there = urlsplit(start), urlsplit(url)
    folder, path = unquote(base.path).rpartition("/")[0] + "/", unquote(there.path) or "/"
    place = path.removeprefix(folder)
    return f"{place}?{there.query}" if there.query else place


def _path(parts: SplitResult) -> str:
    """With percent signs only where they are needed, so that `%7E` and `~` are the same."""
    return quote(unquote(parts.path, errors="surrogateescape"), safe=_SAFE, errors="surrogateescape")
