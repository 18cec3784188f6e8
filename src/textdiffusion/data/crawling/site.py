"""What a crawler must know of a poetry site: where it begins, which links are authors, how poems look."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import SettingsError
from ...registry import did_you_mean
from ...settings import from_mapping, read_mapping
from .addresses import is_address, place_of
from .decoding import known_encoding

SITES = Path(__file__).with_name("sites")
"""Descriptions that come with the program."""

_ELEMENT = re.compile(r"(?P<tag>[a-z][a-z0-9]*)(?:\[(?P<attribute>[a-z-]+)(?:=(?P<word>[^\]\s]+))?\])?")


@dataclass(frozen=True)
class Element:
    """A kind of HTML element, written `tag`, `tag[attribute]` or `tag[attribute=word]`."""

    tag: str
    attribute: str = ""
    """Must be there, and not empty."""
    word: str = ""
    """Must be one of the words in it; case does not matter."""

    @classmethod
    def read(cls, text: str) -> "Element":
        """From its written form.

        Raises:
            SettingsError: it is written otherwise.
        """
        match = _ELEMENT.fullmatch(text.strip().lower())
        if match is None:
            raise SettingsError(
                f"{text!r} describes no element; write tag, tag[attribute] or tag[attribute=word]."
            )
        return cls(match["tag"], match["attribute"] or "", match["word"] or "")

    def matches(self, tag: str, attributes: Mapping[str, str]) -> bool:
        """Whether an element with these attributes is of this kind; names are in lower case."""
        if tag != self.tag or not self.attribute:
            return tag == self.tag
        value = attributes.get(self.attribute, "").lower()
        return bool(value) and (not self.word or self.word in value.split())


@dataclass(frozen=True)
class PoemShape:
    """How poems stand on a page. Elements are written as `Element` says."""

    title: str = "p[align=center]"
    """Element that holds a title and, behind its first line break, an epigraph."""
    title_mark: str = "a[name]"
    """Element inside it without which it is no title; empty if it always is one."""
    content: str = "p"
    """Elements that hold lines; what could be a title holds none."""
    ends: tuple[str, ...] = ("hr",)
    """Elements that end a poem; the end of the page does too."""

    def __post_init__(self) -> None:
        """Refuse what describes no element.

        Raises:
            SettingsError: see the message.
        """
        for text in (self.title, self.content, *self.ends, *filter(None, [self.title_mark])):
            Element.read(text)


@dataclass(frozen=True)
class Site:
    """A site of an index (or several) and pages of authors.

    Links are chosen by regular expressions, which must match the whole of a page's place, in any case: its
    address from the folder of `start` on (`xuzhimo.htm`), or from the root, where it lies elsewhere
    (`/other/xuzhimo.htm`). Links to other hosts are never followed.
    """

    start: str = ""
    """Address of the index."""
    authors: str = r".+\.html?"
    """Which links of an index lead to pages of authors; the text of the link is the author's name."""
    leave_out: tuple[str, ...] = ("index.htm", "index.html")
    """Places that are followed in no case."""
    indexes: str = ""
    """Which links of an index lead to further indexes; none when empty."""
    continued: str = ""
    """Which links of an author's page lead to further pages of the same author; none when empty."""
    encoding: str = ""
    """Encoding of the pages, e.g. gb18030; what each page says, or UTF-8, when empty."""
    poems: PoemShape = PoemShape()
    """How poems stand on a page."""

    def __post_init__(self) -> None:
        """Refuse a description that cannot be followed.

        Raises:
            SettingsError: see the message.
        """
        if not is_address(self.start):
            raise SettingsError(
                f"start is {self.start!r}; it must be an address such as https://a.cn/index.htm."
            )
        for name in ("authors", "indexes", "continued"):
            pattern = self.__dict__[name]
            try:
                re.compile(pattern)
            except re.error as error:
                raise SettingsError(f"{name} is no regular expression: {pattern!r} ({error}).") from None
        if self.encoding and known_encoding(self.encoding) is None:
            raise SettingsError(f"encoding {self.encoding!r} is unknown; try gb18030 or utf-8.")

    def leads(self, pattern: str, url: str) -> bool:
        """Whether the place of `url` is one that the pattern means, and is not left out."""
        place = place_of(self.start, url)
        if not pattern or place.lower() in {name.lower() for name in self.leave_out}:
            return False
        return re.fullmatch(pattern, place, re.IGNORECASE) is not None


def find_site(name: str) -> Site:
    """The site that a YAML file describes, or one that comes with the program.

    Raises:
        SettingsError: there is neither, or it cannot be followed.
    """
    path = Path(name).expanduser()
    known = dict(_packaged())
    if not path.is_file():
        if name not in known:
            raise SettingsError(
                f"there is no site {name!r}, and no such file.{did_you_mean(name, known)} "
                f"Sites that come with this program: {', '.join(known)}."
            )
        path = known[name]
    try:
        return from_mapping(Site, read_mapping(path))
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def _packaged() -> Iterator[tuple[str, Path]]:
    for path in sorted(SITES.glob("*.yaml")):
        yield path.stem, path
