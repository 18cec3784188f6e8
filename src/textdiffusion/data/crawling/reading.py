"""What stands on a page: its links, and its poems."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from .site import Element, PoemShape

Attributes = list[tuple[str, str | None]]
"""Of a tag, as html.parser gives them."""

_UNSEEN = {"script", "style"}
_SPACES = re.compile(r"[ \t\r\n\f]+")
_WIDE = {"W", "F"}


@dataclass(frozen=True)
class Link:
    """A link, as it is written."""

    target: str
    text: str


@dataclass(frozen=True)
class Poem:
    """A poem, as a line of the output holds it."""

    title: str
    author: str
    content: str
    """Lines, with one blank line between stanzas."""
    epigraph: str = ""
    """What stands under the title."""
    url: str = ""
    """The page that it is from."""


def read_links(text: str) -> list[Link]:
    """The links of a page that have a text, in order."""
    reader = _LinkReader()
    _read(reader, text)
    return reader.links


def read_poems(text: str, shape: PoemShape) -> list[tuple[str, str, str]]:
    """Title, epigraph and content of each poem of a page; what lacks a title or a line is none.

    Line breaks of the source are spaces, as a browser shows them: only `<br>` ends a line. One blank line
    stays where there are several, or where another element begins.
    """
    reader = _PoemReader(shape)
    _read(reader, text)
    reader.end_poem()
    return reader.poems


def _read(reader: HTMLParser, text: str) -> None:
    """Feed a page, as far as it can be understood."""
    try:
        reader.feed(text)
        reader.close()
    except AssertionError:  # html.parser meets a declaration that it does not know
        return


class _LinkReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[Link] = []
        self._target: str | None = None
        self._words: list[str] = []

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        if tag == "a":
            self._end()
            self._target = dict(attrs).get("href")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._end()

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    def close(self) -> None:
        super().close()
        self._end()

    def _end(self) -> None:
        text = " ".join("".join(self._words).split())
        if self._target and text:
            self.links.append(Link(self._target, text))
        self._target, self._words = None, []


@dataclass
class _Block:
    """An element that is being read, as a title or for its lines."""

    tag: str
    may_be_title: bool
    marked: bool
    lines: list[list[str]] = field(default_factory=lambda: [[]])

    def texts(self) -> list[str]:
        """Its lines as a browser shows them."""
        return [_flowed("".join(line)) for line in self.lines]


class _PoemReader(HTMLParser):
    def __init__(self, shape: PoemShape) -> None:
        super().__init__(convert_charrefs=True)
        self.poems: list[tuple[str, str, str]] = []
        self._title, self._content = Element.read(shape.title), Element.read(shape.content)
        self._mark = Element.read(shape.title_mark) if shape.title_mark else None
        self._ends = [Element.read(text) for text in shape.ends]
        self._block: _Block | None = None
        self._heading: list[str] | None = None
        self._lines: list[str] = []
        self._unseen = ""

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in _UNSEEN:
            self._unseen = tag
        elif any(element.matches(tag, attributes) for element in self._ends):
            self.end_poem()
        elif self._title.matches(tag, attributes):
            self._begin(_Block(tag, may_be_title=True, marked=self._mark is None))
        elif self._content.matches(tag, attributes):
            self._begin(_Block(tag, may_be_title=False, marked=False))
        elif self._block is not None and tag == "br":
            self._block.lines.append([])
        elif self._block is not None and self._mark is not None and self._mark.matches(tag, attributes):
            self._block.marked, self._block.lines = (
                True,
                [[]] if self._block.may_be_title else self._block.lines,
            )

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen:
            self._unseen = ""
        elif self._block is not None and tag == self._block.tag:
            self._end_block()
        elif tag == "body":
            self.end_poem()

    def handle_data(self, data: str) -> None:
        if self._block is not None and not self._unseen:
            self._block.lines[-1].append(data)

    def end_poem(self) -> None:
        """Finish the poem that is being read, if it is one."""
        self._end_block()
        if self._heading is not None:
            title, epigraph = _headed(self._heading)
            content = _stanzas(self._lines)
            if title and content:
                self.poems.append((title, epigraph, content))
        self._heading, self._lines = None, []

    def _begin(self, block: _Block) -> None:
        self._end_block()
        self._block = block

    def _end_block(self) -> None:
        block, self._block = self._block, None
        if block is None:
            return
        if block.may_be_title and block.marked:
            self.end_poem()
            self._heading = block.texts()
        elif self._heading is not None and not block.may_be_title:
            self._lines += ["", *block.texts()]


def _headed(lines: Sequence[str]) -> tuple[str, str]:
    """A title, and the epigraph under it."""
    filled = [line for line in lines if line]
    return (filled[0], "\n".join(filled[1:])) if filled else ("", "")


def _stanzas(lines: Sequence[str]) -> str:
    """The lines, with one blank line at most between two of them."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _flowed(text: str) -> str:
    """A line as a browser shows it: spaces run together, and none where a line of Chinese was broken."""

    def space(match: re.Match[str]) -> str:
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        return "" if "\n" in match[0] and _is_wide(before) and _is_wide(after) else " "

    return _SPACES.sub(space, text).replace("\xa0", " ").strip(" ")


def _is_wide(char: str) -> bool:
    return bool(char) and unicodedata.east_asian_width(char) in _WIDE
