"""What stays visible of a masked text."""

import io

import pytest
from rich.console import Console

from textdiffusion.errors import SettingsError
from textdiffusion.views.masking import PREFIXES, SHARES, Masking, masking_lines, masking_table

PIECES = ["The", " cat", " sat", " on\n", "mats"]


def test_levels_are_the_published_ones() -> None:
    assert SHARES == (1.0, 0.8, 0.6, 0.4, 0.2, 0.1)
    assert PREFIXES == (0, 3, 5, 10)


def test_lines_show_every_mask() -> None:
    maskings = [
        Masking(1.0, 0, (True,) * 5),
        Masking(0.8, 2, (False, False, True, True, True)),
        Masking(0.1, 0, (False, False, False, False, True)),
    ]
    assert masking_lines(PIECES, maskings) == [
        "100 %           5 of 5  __ __ __ __ __",
        "80 %, prefix 2  3 of 5  The cat __ __ __",
        "10 %            1 of 5  The cat sat on\\n__",
    ]


def test_table_shows_the_same_with_colours() -> None:
    console = Console(
        file=io.StringIO(),
        force_terminal=True,
        width=60,
        color_system="standard",
        _environ={"TERM": "xterm"},
    )
    console.print(masking_table(PIECES, [Masking(0.8, 2, (False, False, True, True, True))], 60))
    assert isinstance(console.file, io.StringIO)
    seen = console.file.getvalue()
    assert "80 %, prefix 2" in seen
    assert seen.count("\x1b[2m__\x1b[0m") == 3
    assert "\x1b[1;36mThe\x1b[0m" in seen


def test_masked_prefix_is_refused() -> None:
    with pytest.raises(SettingsError, match="prefix of 3"):
        Masking(0.8, 3, (False, False, True))


def test_flags_must_fit_the_text() -> None:
    with pytest.raises(SettingsError, match="5 pieces of text were given for 2"):
        masking_lines(PIECES, [Masking(0.5, 0, (True, False))])


def test_no_maskings_are_no_lines() -> None:
    assert masking_lines(PIECES, []) == []
