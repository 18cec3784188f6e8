"""The animation in the terminal, and the lines where there is none."""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from rich.console import Console

from textdiffusion.errors import SettingsError
from textdiffusion.generation.frames import Frame
from textdiffusion.views.reader import TextReader
from textdiffusion.views.terminal import MOST_TEXTS, watch

Frames = Callable[..., list[Frame]]
Readers = Callable[..., TextReader]

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def terminal(*, no_color: bool = False, width: int = 60) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        height=20,
        no_color=no_color,
        color_system="standard",
        _environ={"TERM": "xterm"},
    )


def pipe() -> Console:
    return Console(file=io.StringIO(), _environ={})


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_frames_pass_through_unchanged(make_frames: Frames, make_reader: Readers) -> None:
    for console in (terminal(), pipe()):
        frames = make_frames()
        assert all(
            a is b for a, b in zip(watch(frames, [make_reader()], console, delay=0.0), frames, strict=True)
        )


def test_frames_are_asked_for_one_by_one(make_frames: Frames, make_reader: Readers) -> None:
    asked = 0

    def source() -> Iterator[Frame]:
        nonlocal asked
        for frame in make_frames():
            asked += 1
            yield frame

    shown = watch(source(), [make_reader()], pipe(), delay=0.0)
    assert asked == 0
    next(shown)
    assert asked == 1


def test_pipe_gets_one_plain_line_per_frame(make_frames: Frames, make_reader: Readers) -> None:
    console = pipe()
    frames = list(watch(make_frames(), [make_reader()], console, delay=0.0))
    lines = written(console).splitlines()
    assert len(lines) == len(frames) == 6
    assert lines[0] == "step 0/5  Once upon a time" + " __" * 15
    assert lines[-1] == "step 5/5  Once upon a time there lived a fox.\\nIt read all day, condensing words."
    assert "\x1b" not in written(console)


def test_dumb_terminal_gets_plain_lines(make_frames: Frames, make_reader: Readers) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    list(watch(make_frames(), [make_reader()], console, delay=0.0))
    assert written(console).splitlines()[0].startswith("step 0/5  Once")


def test_text_cannot_steer_the_terminal(make_frames: Frames, make_reader: Readers) -> None:
    pieces = ["a", "\x1b[2J", "[bold]b[/bold]", "\x07"]
    for console in (pipe(), terminal()):
        list(watch(make_frames(pieces), [make_reader(pieces)], console, delay=0.0))
        assert "\x1b[2J" not in written(console)
        assert "\x07" not in written(console)
        assert "[bold]b[/bold]" in written(console)


def test_terminal_shows_header_colours_and_real_newlines(make_frames: Frames, make_reader: Readers) -> None:
    console = terminal()
    list(watch(make_frames(), [make_reader()], console, delay=0.0))
    seen = written(console)
    assert "Step 3 / 5   3 network calls   0.38 s" in seen
    assert "Step 1 / 5   1 network call   0.12 s" in seen
    assert "\x1b[1;36mOnce\x1b[0m" in seen
    assert "\x1b[2m__\x1b[0m" in seen
    assert "\x1b[4;35m" in seen
    end = seen[seen.rindex("Step 5 / 5") :]
    assert "\x1b[4;35m" not in end  # nothing is new in the finished text
    assert "there lived a fox.\nIt read" in end


def test_kinds_differ_without_colour(make_frames: Frames, make_reader: Readers) -> None:
    console = terminal(no_color=True)
    list(watch(make_frames(), [make_reader()], console, delay=0.0))
    seen = written(console)
    assert "\x1b[1mOnce\x1b[0m" in seen
    assert "\x1b[2m__\x1b[0m" in seen
    assert "\x1b[4m" in seen
    assert "36m" not in seen
    assert "35m" not in seen


def test_cursor_returns_when_interrupted(make_frames: Frames, make_reader: Readers) -> None:
    def interrupted() -> Iterator[Frame]:
        yield from make_frames()[:2]
        raise KeyboardInterrupt

    console = terminal()
    with pytest.raises(KeyboardInterrupt):
        list(watch(interrupted(), [make_reader()], console, delay=0.0))
    assert written(console).rindex(SHOW) > written(console).rindex(HIDE)


def test_cursor_returns_when_closed_early(make_frames: Frames, make_reader: Readers) -> None:
    console = terminal()
    shown = watch(make_frames(), [make_reader()], console, delay=0.0)
    next(shown)
    shown.close()  # type: ignore[attr-defined]
    assert written(console).rindex(SHOW) > written(console).rindex(HIDE)


def test_standard_output_stays_what_it_is(
    make_frames: Frames, make_reader: Readers, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in watch(make_frames(), [make_reader()], terminal(), delay=0.0):
        print("{}")
    assert capsys.readouterr().out == "{}\n" * 6


def test_several_texts_are_stacked_and_the_rest_counted(make_frames: Frames, make_reader: Readers) -> None:
    readers = [make_reader()] * (MOST_TEXTS + 2)
    console = terminal()
    list(watch(make_frames(), readers, console, delay=0.0))
    assert written(console).count("Once") >= MOST_TEXTS * 6
    assert "and 2 more texts" in written(console)
    console = pipe()
    list(watch(make_frames(), readers[:2], console, delay=0.0))
    assert written(console).splitlines()[1].startswith("step 0/5  text 2/2  Once")


def test_chinese_fills_lines_to_the_edge(
    make_frames: Frames, make_reader: Readers, chinese: list[str]
) -> None:
    console = terminal(no_color=True, width=12)
    list(watch(make_frames(chinese), [make_reader(chinese)], console, delay=0.0))
    text = written(console)
    assert "明月光，\n疑是地上霜。\n" in text[text.rindex("Step") :]


def test_delay_is_kept_between_frames(
    make_frames: Frames, make_reader: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    list(watch(make_frames(), [make_reader()], pipe(), delay=30.0))
    assert slept[0] == 0
    assert all(29 < seconds <= 30 for seconds in slept[1:])
    assert len(slept) == 6


@pytest.mark.parametrize("delay", [-0.1, float("nan"), float("inf")])
def test_delay_out_of_range_is_refused_at_once(make_reader: Readers, delay: float) -> None:
    with pytest.raises(SettingsError, match="delay"):
        watch([], [make_reader()], pipe(), delay=delay)


def test_no_frames_show_nothing(make_reader: Readers) -> None:
    assert list(watch([], [make_reader()], terminal(), delay=0.0)) == []


def test_mask_text_of_the_reader_is_used(make_frames: Frames, make_reader: Readers) -> None:
    console = pipe()
    list(watch(make_frames(), [replace(make_reader(), mask="[MASK]")], console, delay=0.0))
    assert written(console).splitlines()[0].endswith("[MASK] [MASK]")
