"""Steps that clean a poem: each takes its text and gives a cleaner one, and says what it takes away."""

import html
import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise

_LINK = re.compile(
    r"(?P<open>[（(<])?(?:(?:https?://|www\.)[!-;=?-~]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)(?(open)[）)>]?)",
    re.ASCII,
)
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_LONE_JOINER = re.compile(r"(?<!\S)[\u200c\u200d]+|[\u200c\u200d]+(?!\S)")
_JOINERS = {"\u200c", "\u200d"}
_WITHOUT_MEANING = {"Cc", "Cf", "Cn", "Co", "Cs"}

_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8}\d{0,2});", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|p|/p|div|/div)\b[^<>\n]*>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|b|i|u|em|strong|font|span|center|img|table|tr|td|sup|sub)\b[^<>\n]*>", re.IGNORECASE
)

_RULER = re.compile(r"([*＊/\-_=~～#+◆◇★☆○●■※])(?:\s*\1){2,}")
_SOURCE = re.compile(r"[（(〔\[—－\-\s]*(?:以上)?(?:选自|原载|摘自|录自|转自|原刊)\S.*")
_NOTE = re.compile(
    r"(?:[（(【\[〔](?:附注|注释|注解|注)[）)】\]〕]|(?:附注|注释|注解|注)[\d（(一二三四五六七八九十)）]{0,4}[：:∶])(?P<text>.*)"
)
_LAST_LINES = 4
_MARK = re.compile(r"(?<=\S)[\[［〔][0-9０-９]{1,2}[\]］〕]")
_WIDE_LETTERS = {
    code: code - 0xFEE0
    for first, last in ("０９", "ＡＺ", "ａｚ")
    for code in range(ord(first), ord(last) + 1)
}

_YEAR = r"(?:1[89]\d\d|20\d\d|[一二][〇○零一二三四五六七八九]{3})"
_PART = r"(?:\d{1,2}|[正一二三四五六七八九十廿]{1,3})"
_DAY = rf"{_PART}\s*[月./、,-]?\s*(?:{_PART}\s*[日号]?)?"
_DATE = (
    rf"(?:(?:{_YEAR}\s*年?代?|\d\d(?=\s*[./-]))(?:\s*[./、,-]?\s*(?:{_DAY}|[春夏秋冬]天?))?"
    rf"|\d{{1,2}}/\d{{1,2}}/{_YEAR}|(?:19|20)\d{{6}})"
)
_TIME = r"(?:[\s,/]*\d{1,2}:\d\d)?"
_PLACE = r"(?:[\s,./]|[^\W\d_的了我你他她它是不着有])*"
_DATED = re.compile(
    rf"(?:写于|作于|初稿|改于)?\s*{_DATE}(?:\s*[-~—–至到]+\s*(?:{_DATE}|{_DAY}))?{_TIME}(?P<rest>{_PLACE})"
)
_LONGEST_PLACE = 10


def markup(text: str) -> str:
    """What is left of HTML: entities become their characters, tags go, and `<br>` and `<p>` end a line."""
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return _TAG.sub("", _BREAK.sub("\n", text))


def links(text: str) -> str:
    """Addresses of pages and of e-mail; a line that holds nothing else goes with them."""
    pairs = [(line, _LINK.sub("", line)) for line in text.split("\n")]
    return "\n".join(after for before, after in pairs if after.strip() or not before.strip())


def unseen(text: str) -> str:
    r"""Characters without a meaning: control, private-use and unassigned ones, U+FFFD, zero-width spaces.

    Line ends of other kinds become `\n`. A joiner stays between two characters, where it has a meaning.
    """
    text = _LONE_JOINER.sub("", _LINE_ENDS.sub("\n", text))
    return "".join(char for char in text if not _is_meaningless(char))


def _is_meaningless(char: str) -> bool:
    if char in "\n\t" or char in _JOINERS:
        return False
    return char == "\ufffd" or unicodedata.category(char) in _WITHOUT_MEANING


def line_spaces(text: str) -> str:
    """Spaces at both ends of each line, those of Chinese indents among them, and blank lines at both ends."""
    return "\n".join(line.strip() for line in text.strip().split("\n"))


def doubled_lines(text: str) -> str:
    """Blank lines where every line break is doubled, since they say nothing then; else all but one of them.

    Where each line stands alone the stanzas are lost and cannot be had back.
    """
    lines = text.split("\n")
    stanzas = any(one.strip() and two.strip() for one, two in pairwise(lines))
    kept = [
        line
        for line, before in zip(lines, ["", *lines], strict=False)
        if line.strip() or (stanzas and before.strip())
    ]
    return "\n".join(kept).strip("\n")


def rulers(text: str) -> str:
    """Lines of one sign three times or more, such as `*****`; a blank line stays for them."""
    ruled = ["" if _RULER.fullmatch(line.strip()) else line for line in text.split("\n")]
    return text if ruled == text.split("\n") else re.sub(r"\n{3,}", "\n\n", "\n".join(ruled)).strip("\n")


def notes(text: str) -> str:
    """Notes of editors: where a poem is taken from, in its last four lines, and lines that begin with `注`.

    What follows such a line goes too if it is a quarter of the poem at most, or half where the line holds
    nothing else: longer ends are the poem that goes on.
    """
    lines = text.split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    sources = {number for number in filled[-_LAST_LINES:] if _SOURCE.fullmatch(lines[number].strip())}
    for number in filled[1:]:
        match = _NOTE.fullmatch(lines[number].strip())
        if match is None:
            continue
        rest, share = "".join(lines[number:]), 0.25 if match["text"].strip() else 0.5
        if len(rest) <= share * len("".join(lines)):
            sources |= set(range(number, len(lines)))
            break
        sources.add(number)
    return _without(lines, sources)


def dates(text: str) -> str:
    """When and where the poem was written, if its last line says nothing else."""
    lines = text.split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    return _without(lines, {filled[-1]}) if len(filled) > 1 and _is_date(lines[filled[-1]]) else text


def _is_date(line: str) -> bool:
    said = re.sub(r"[()\[\]]", "", unicodedata.normalize("NFKC", line)).strip(" \t—─–-.。,~")
    match = _DATED.fullmatch(said)
    return match is not None and len(match["rest"].strip(" ,./")) <= _LONGEST_PLACE


def footnote_marks(text: str) -> str:
    """Numbers in square brackets behind a word, such as `[1]`."""
    return _MARK.sub("", text)


def half_width(text: str) -> str:
    """Digits and Latin letters of full width become usual ones; signs stay."""
    return text.translate(_WIDE_LETTERS)


def full_width_slashes(text: str) -> str:
    """A slash inside the poem becomes one of full width, to be told from those of `slash-lines`."""
    return text.replace("/", "／")


def poem_lines(text: str) -> str:
    """A raw poem as lines: `links`, `unseen`, `line-spaces` and `doubled-lines` in one."""
    for step in (links, unseen, line_spaces, doubled_lines):
        text = step(text)
    return text.strip()


def slash_lines(text: str) -> str:
    """A poem in one line: its lines, blank ones left out, with a slash between them."""
    return "/".join(line.strip() for line in text.split("\n") if line.strip())


POEM_CLEANERS: dict[str, Callable[[str], str]] = {
    "dates": dates,
    "doubled-lines": doubled_lines,
    "footnote-marks": footnote_marks,
    "full-width-slashes": full_width_slashes,
    "half-width": half_width,
    "line-spaces": line_spaces,
    "links": links,
    "markup": markup,
    "notes": notes,
    "poem-lines": poem_lines,
    "rulers": rulers,
    "slash-lines": slash_lines,
    "unseen": unseen,
}
"""The steps by name."""


def _without(lines: list[str], numbers: set[int]) -> str:
    kept = [line for number, line in enumerate(lines) if number not in numbers]
    return "\n".join(kept).rstrip() if numbers else "\n".join(lines)
