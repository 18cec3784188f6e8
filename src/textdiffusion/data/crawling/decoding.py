"""From the bytes of a page to its text."""

import codecs
import re

_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "hz": "gb18030", "latin-1": "cp1252", "iso8859-1": "cp1252"}
"""Pages use characters beyond the encoding that they name; this one holds all of it and those too."""
_LOST = "\ufffd"


def decoded(body: bytes, encoding: str, content_type: str = "") -> tuple[str, int]:
    """The text of a page, and how many of its characters could not be decoded (they are U+FFFD now).

    `encoding` is known of the site, or empty: then the header or the page itself names it, or it is UTF-8. A
    page whose bytes do not fit is taken for UTF-8 if they fit that, as single pages of old sites are.
    """
    for mark, named in _BOMS.items():
        if body.startswith(mark):
            return _replaced(body[len(mark) :], named)
    head = body[:2048].decode("ascii", errors="replace")
    names = [encoding] if encoding else [*_CHARSET.findall(content_type), *_CHARSET.findall(head)]
    known = [found for name in names if (found := known_encoding(name)) is not None]
    for name in [*known[:1], "utf-8"]:
        try:
            return body.decode(name), 0
        except UnicodeError:
            continue
    return _replaced(body, known[0] if known else "utf-8")


def _replaced(body: bytes, encoding: str) -> tuple[str, int]:
    text = body.decode(encoding, errors="replace")
    return text, text.count(_LOST)


def known_encoding(name: str) -> str | None:
    """The codec to use for an encoding of that name; None for what is no encoding of pages."""
    try:
        bytes(range(1, 256)).decode(name, errors="replace")
        found = codecs.lookup(name).name
    except (LookupError, ValueError):  # an unknown one, and one that is not for texts
        return None
    return _WIDER.get(found, found)
