"""Fonts for pictures: found on the machine, and chosen by the characters that they can draw."""

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..errors import DataError

COMMON_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "segoeui.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSansSC-Regular.ttf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "STHeiti Light.ttc",
    "msyh.ttc",
    "simsun.ttc",
    "Arial Unicode.ttf",
    "ARIALUNI.TTF",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "malgun.ttf",
    "NotoSansSymbols2-Regular.ttf",
    "seguisym.ttf",
    "NotoEmoji-Regular.ttf",
)
"""File names looked for, in this order, after Pillow's own font (which has Latin letters only)."""

BOX = "\N{WHITE SQUARE}"
"""Stands for what no font can draw, where that is noise on the way and not the text itself."""

Font = ImageFont.FreeTypeFont

_BUILT_IN = Path("(the font inside Pillow)")
_NEVER_THERE = "\uffff"


@dataclass(frozen=True)
class FontChain:
    """Fonts of one size; each character is drawn with the first that has it."""

    files: tuple[Path, ...]
    size: int

    @cached_property
    def fonts(self) -> tuple[Font, ...]:
        """The opened fonts, in order of preference."""
        return tuple(_opened(file, self.size) for file in self.files)

    @cached_property
    def line_height(self) -> int:
        """Pixels from one baseline to the next."""
        return round(1.3 * max(sum(font.getmetrics()) for font in self.fonts))

    @cached_property
    def ascent(self) -> int:
        """Pixels from the top of a line to its baseline."""
        return max(font.getmetrics()[0] for font in self.fonts) + self.line_height // 10

    def runs(self, text: str) -> list[tuple[Font, str]]:
        """`text` cut into stretches that one font draws."""
        runs: list[tuple[Font, str]] = []
        for character in text:
            index = next((i for i, file in enumerate(self.files) if draws(file, character)), None)
            shown = character if index is not None else BOX if needs_glyph(character) else ""
            font = self.fonts[index or 0]
            if runs and runs[-1][0] is font:
                runs[-1] = (font, runs[-1][1] + shown)
            else:
                runs.append((font, shown))
        return runs

    def measure(self, text: str) -> float:
        """Width of `text` in pixels."""
        if text not in self._widths:
            self._widths[text] = sum((font.getlength(part) for font, part in self.runs(text)), 0.0)
        return self._widths[text]

    @cached_property
    def _widths(self) -> dict[str, float]:
        return {}


def choose_files(needed: str, wanted: str, font_path: Path | None = None) -> tuple[Path, ...]:
    """Font files that together have every character of `needed`, and as many of `wanted` as can be.

    `font_path` comes first where given; then Pillow's own font; then `COMMON_FONTS`. One font for the whole
    text is preferred to a mixture.

    Raises:
        DataError: a needed character is in none of them, or `font_path` is not a font.
    """
    if font_path is not None:
        _opened(font_path, _SAMPLE_SIZE)
    candidates = tuple(_candidates(font_path))
    must = {c for c in needed if needs_glyph(c)}
    single = next((file for file in candidates if all(draws(file, c) for c in must)), None)
    chosen = [font_path] if font_path is not None else []
    chosen += [single] if single is not None and single not in chosen else []
    missing = {c for c in must | set(wanted) if needs_glyph(c) and not any(draws(file, c) for file in chosen)}
    for file in candidates:
        had = {c for c in missing if draws(file, c)}
        if had:
            chosen.append(file)
            missing -= had
    lost = sorted(missing & must)
    if lost:
        others = f" and {len(lost) - 1} more characters" if len(lost) > 1 else ""
        raise DataError(
            f"No font found for {lost[0]!r} (U+{ord(lost[0]):04X}){others}; give a font "
            "that has them with --font-path FILE, or install one (for Chinese on Linux: fonts-noto-cjk)."
        )
    return tuple(chosen) or (_BUILT_IN,)


def needs_glyph(character: str) -> bool:
    """Whether a font is needed to show it: not so for spaces, controls and characters of private meaning."""
    return unicodedata.category(character)[0] not in "ZC"


@cache
def draws(file: Path, character: str) -> bool:
    """Whether the font in `file` has a picture of its own for `character`."""
    # Pillow does not tell what a font covers; but all that it lacks looks the same.
    return _picture(file, character) != _picture(file, _NEVER_THERE)


_SAMPLE_SIZE = 16


@cache
def _picture(file: Path, character: str) -> bytes:
    image = Image.new("L", (2 * _SAMPLE_SIZE, 2 * _SAMPLE_SIZE))
    ImageDraw.Draw(image).text((_SAMPLE_SIZE // 2, 0), character, fill=255, font=_opened(file, _SAMPLE_SIZE))
    return image.tobytes()


@cache
def _opened(file: Path, size: int) -> Font:
    if file is _BUILT_IN:
        font = ImageFont.load_default(size)
        assert isinstance(font, Font), "Pillow was built without FreeType"
        return font
    try:
        return ImageFont.truetype(file, size)
    except OSError as error:
        raise DataError(f"{file} is not a font that can be read; give a .ttf, .otf or .ttc file.") from error


def _candidates(font_path: Path | None) -> Iterator[Path]:
    if font_path is not None:
        yield font_path
    yield _BUILT_IN
    installed = _installed()
    yield from (installed[name.lower()] for name in COMMON_FONTS if name.lower() in installed)


@cache
def _installed() -> dict[str, Path]:
    """Font files of this machine by lower-case file name."""
    return {
        name.lower(): Path(folder) / name
        for root in _font_folders()
        for folder, _, names in os.walk(root)
        for name in names
    }


def _font_folders() -> Iterable[Path]:
    home = Path.home()
    if sys.platform == "darwin":
        return (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", str(home))
        windows = os.environ.get("WINDIR", "C:/Windows")
        return (Path(windows) / "Fonts", Path(local) / "Microsoft/Windows/Fonts")
    shared = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
    return (*shared, home / ".local/share/fonts", home / ".fonts")
