"""Texts side by side: one clock, on which every change comes when it was measured."""

import io
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browsing import run_in_browser
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from textdiffusion.errors import DataError, SettingsError
from textdiffusion.views import Drawing, Trace
from textdiffusion.views.beside import SAVERS, Comparison, Contestant, followable, saver_for
from textdiffusion.views.beside.comparison import HOLD, LONGEST, SHORTEST
from textdiffusion.views.beside.gif import TICK, pictures, save_gif
from textdiffusion.views.beside.html import page
from textdiffusion.views.beside.terminal import replay
from textdiffusion.views.cells import Snapshot
from textdiffusion.views.painting import HIGHLIGHT, INK, MARGIN, PAPER

MakeTrace = Callable[..., Trace]
EVIL = "</script><script>document.title='taken'</script>@COMPARISON@"


def timed(trace: Trace, times: Sequence[float]) -> Trace:
    """The trace with its snapshots at other times."""
    shots = zip(trace.snapshots, times, strict=True)
    return replace(trace, snapshots=tuple(replace(shot, seconds=seconds) for shot, seconds in shots))


def bare(times: Sequence[float]) -> Contestant:
    """A contestant of nothing but times."""
    shots = tuple(Snapshot(i, (0,), ("a",), (True,), (None,), i, t) for i, t in enumerate(times))
    return Contestant("bare", Trace("m", "s", 0, len(times) - 1, "__", ("editable",), shots), tokens=1)


@pytest.fixture
def comparison(make_trace: MakeTrace) -> Comparison:
    """A quick text in steps, and a slow one token by token that pauses in the middle."""
    quick = timed(make_trace(), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    slow = timed(make_trace(per_step=1), [i / 10 + (1.0 if i > 7 else 0.0) for i in range(16)])
    return Comparison(
        (Contestant("fox: quick", quick, tokens=15), Contestant("fox: slow", slow, tokens=15, unit="Token"))
    )


# -- the clock -------------------------------------------------------------------------------------------

rising = st.lists(st.floats(0.0, 9.0), min_size=1, max_size=12).map(sorted)


def test_at_any_time_the_newest_of_each_is_shown(comparison: Comparison) -> None:
    assert comparison.seconds == 2.5
    assert comparison.at(0.0) == (0, 0)
    assert comparison.at(0.25) == (2, 2)
    assert comparison.at(0.7) == comparison.at(1.7) == (5, 7)  # the pause is a pause, nothing is interpolated
    assert comparison.at(9.0) == (5, 15)


@given(st.lists(rising, min_size=1, max_size=3), st.sampled_from([0.1, 1.0, 3.0]))
def test_moments_are_the_measured_changes(times: list[list[float]], speed: float) -> None:
    comparison = Comparison(tuple(map(bare, times)), speed)
    moments = comparison.moments(TICK)
    assert moments[0].tick == 0
    assert [m.tick for m in moments] == sorted({m.tick for m in moments})
    assert moments[-1].indices == tuple(len(row) - 1 for row in times)
    for number, row in enumerate(times):
        for index, seconds in enumerate(row):
            first = next(m for m in moments if m.indices[number] >= index)
            assert first.tick == 0 or abs(first.tick * TICK * speed - seconds) <= TICK * speed / 2 + 1e-9
    for before, after in pairwise(moments):
        assert all(a <= b for a, b in zip(before.indices, after.indices, strict=True))


def test_one_clock_serves_all() -> None:
    # Rounded one by one, a hundred short steps are as long as one long step.
    many, one = [i * 0.0137 for i in range(101)], [0.0, 1.37]
    last = Comparison((bare(many), bare(one))).moments(TICK)[-1]
    assert last.indices == (100, 1)
    assert last.tick == round(1.37 / TICK)


@pytest.mark.parametrize(
    ("seconds", "speed"),
    [(0.0, 1.0), (0.09, 0.02), (0.5, 0.1), (3.0, 0.5), (4.0, 1.0), (30.0, 1.0), (31.0, 2.0), (700.0, 50.0)],
)
def test_a_race_is_shown_at_a_pace_to_follow(seconds: float, speed: float) -> None:
    assert followable(seconds) == speed
    assert not seconds or SHORTEST <= seconds / speed <= LONGEST


def test_the_pace_is_said() -> None:
    contestants = (bare([0.0, 1.0]),)
    said = [Comparison(contestants, speed).clock(0.5) for speed in (1.0, 0.1, 1 / 3, 2.0)]
    assert [words.partition(", shown ")[2] for words in said] == [
        "in real time",
        "10 times slower",
        "3 times slower",
        "2 times faster",
    ]
    assert said[0].startswith("0.50 s on the measured clock")


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_a_clock_must_run(speed: float) -> None:
    with pytest.raises(SettingsError, match="speed"):
        Comparison((bare([0.0]),), speed)


def test_nobody_is_no_race() -> None:
    with pytest.raises(SettingsError, match="nothing to compare"):
        Comparison(())


def test_what_is_said_of_a_contestant(comparison: Comparison) -> None:
    quick, slow = comparison.contestants
    assert quick.state(1) == "Step 1 / 5, 1 call, 0.10 s"
    assert slow.state(2) == "Token 2 / 15, 2 calls, 0.20 s"
    assert quick.state(5) == "Step 5 / 5, 5 calls, 0.50 s, done, 30 tokens/s"
    early = replace(quick, trace=replace(quick.trace, steps=50))
    assert (early.done(1), early.done(5)) == (0.02, 1.0)  # finished early is finished
    assert bare([0.0]).speed == 0.0


# -- GIF -------------------------------------------------------------------------------------------------


def colours(image: Image.Image, box: tuple[int, int, int, int]) -> set[str]:
    found = image.convert("RGB").crop(box).getcolors(1 << 20)
    assert found is not None
    return {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in found if isinstance(colour, tuple)}


def durations(path: Path) -> list[int]:
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0
        found = []
        for index in range(gif.n_frames):
            gif.seek(index)
            found.append(gif.info["duration"])
    return found


def test_pictures_last_as_long_as_was_measured(comparison: Comparison, tmp_path: Path) -> None:
    save_gif(comparison, tmp_path / "x.gif", Drawing(height=800))
    assert durations(tmp_path / "x.gif") == [100] * 7 + [1100] + [100] * 7 + [1000 * HOLD]
    save_gif(replace(comparison, speed=0.5), tmp_path / "x.gif", Drawing(height=800))
    assert durations(tmp_path / "x.gif") == [200] * 7 + [2200] + [200] * 7 + [1000 * HOLD]
    with Image.open(tmp_path / "x.gif") as gif:
        assert gif.size == (1000, 800)


def test_each_text_has_its_half(comparison: Comparison) -> None:
    images = [image for image, _ in pictures(comparison, Drawing(height=800))]
    upper, lower = (MARGIN, 80, 960, 360), (MARGIN, 450, 960, 730)
    assert INK["mask"] in colours(images[0], upper) & colours(images[0], lower)
    assert HIGHLIGHT["new"] in colours(images[3], upper) & colours(images[3], lower)
    assert HIGHLIGHT["new"] not in colours(images[6], upper)  # the quick one is done, and rests
    assert HIGHLIGHT["new"] in colours(images[6], lower)
    assert images[6].crop(upper).tobytes() == images[-1].crop(upper).tobytes()
    assert HIGHLIGHT["new"] not in colours(images[-1], lower)
    assert colours(images[-1], (961, 0, 1000, 800)) == {PAPER}


def test_the_clock_is_on_the_picture(comparison: Comparison) -> None:
    foot = (MARGIN, 740, 500, 770)
    images = [image.convert("RGB").crop(foot) for image, _ in pictures(comparison, Drawing(height=800))]
    assert len({image.tobytes() for image in images}) == len(images)


def test_a_long_label_is_cut(comparison: Comparison) -> None:
    first, second = comparison.contestants
    long = Comparison((replace(first, label="fox " * 200), second))
    image = next(pictures(long, Drawing(height=800)))[0]
    assert colours(image, (961, 0, 1000, 60)) == {PAPER}
    assert colours(image, (900, 0, 960, 40)) != {PAPER}


def test_three_fit_too(comparison: Comparison, tmp_path: Path) -> None:
    three = Comparison((*comparison.contestants, comparison.contestants[0]))
    save_gif(three, tmp_path / "x.gif", Drawing(height=800))
    assert len(durations(tmp_path / "x.gif")) == 16


def test_missing_font_is_one_clear_line(
    make_trace: MakeTrace, chinese: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("textdiffusion.views.fonts.COMMON_FONTS", ())
    contestants = Contestant("fox", make_trace(), 15), Contestant("poem", make_trace(chinese), 9)
    with pytest.raises(DataError, match="No font found"):
        save_gif(Comparison(contestants), tmp_path / "x.gif", Drawing(height=800))
    assert not list(tmp_path.iterdir())


# -- the page --------------------------------------------------------------------------------------------

ROBOT = """
const state = () => [...document.querySelectorAll(".state")].map(each => each.textContent).join(" | ");
const clock = () => document.getElementById("status").textContent;
press("Home"); say(clock()); say(state());
press("ArrowRight"); say(clock()); say(state());
press("End"); say(clock()); say(state()); press("ArrowLeft"); say(clock());
const at = document.getElementById("at");
at.value = 500; at.dispatchEvent(new Event("input")); say(clock()); say(state());
say([...document.querySelectorAll(".panel .text")].map(each => each.textContent).join("|"));
press(" "); say(document.getElementById("play").textContent);
press(" "); say(document.getElementById("play").textContent);
say(document.getElementById("speed").selectedOptions[0].textContent);
say(document.title);
"""


def embedded(html: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="comparison">(.*?)</script>', html, re.DOTALL)
    data: dict[str, Any] = json.loads(found)
    return data


def test_page_holds_the_measured_times(comparison: Comparison) -> None:
    data = embedded(page(replace(comparison, speed=0.2)))
    assert (data["speed"], data["seconds"]) == (0.2, 2.5)
    for contestant, told in zip(comparison.contestants, data["contestants"], strict=True):
        assert [frame["seconds"] for frame in told["frames"]] == contestant.times
        assert (told["label"], told["unit"]) == (contestant.label, contestant.unit)


def test_page_needs_nothing_from_outside_and_hostile_text_stays_text(make_trace: MakeTrace) -> None:
    evil = Contestant(EVIL, replace(make_trace([EVIL, " x"]), model=EVIL), tokens=1)
    html = page(Comparison((evil,)))
    assert "http" not in html.replace("http-equiv", "")
    assert not re.search(r"\b(src|href)\s*=|@import|url\(|fetch\(|XMLHttp", html)
    assert "default-src 'none'" in html
    assert html.count("</script>") == 2
    assert embedded(html)["contestants"][0]["label"] == EVIL


def test_page_is_for_light_and_dark_and_without_script(comparison: Comparison) -> None:
    html = page(comparison)
    assert "prefers-color-scheme: dark" in html
    assert "prefers-reduced-motion" in html
    noscript = html.split("<noscript>")[1].split("</noscript>")[0]
    assert noscript.count("It read all day, condensing words.") == 2
    assert "fox: slow" in noscript


def test_page_plays_in_a_browser(comparison: Comparison, tmp_path: Path) -> None:
    last = "Step 5 / 5, 5 calls, 0.50 s, done, 30 tokens/s"
    middle = comparison.contestants[1].trace.cells(7)
    assert run_in_browser(page(replace(comparison, speed=0.2)), ROBOT, tmp_path) == [
        "0.00 s of 2.50 s",
        "Step 0 / 5, 0 calls, 0.00 s | Token 0 / 15, 0 calls, 0.00 s",
        "0.10 s of 2.50 s",
        "Step 1 / 5, 1 call, 0.10 s | Token 1 / 15, 1 call, 0.10 s",
        "2.50 s of 2.50 s",
        f"{last} | Token 15 / 15, 15 calls, 2.50 s, done, 6 tokens/s",
        "2.40 s of 2.50 s",
        "1.25 s of 2.50 s",
        f"{last} | Token 7 / 15, 7 calls, 0.70 s",
        f"{comparison.contestants[0].trace.text}|{''.join(cell.text for cell in middle)}",
        "Pause",
        "Play",
        "5 times slower",
        "fox: quick and fox: slow",
    ]


# -- the terminal ----------------------------------------------------------------------------------------


def terminal(width: int) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        height=40,
        no_color=True,
        _environ={"TERM": "xterm"},
    )


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class Watch:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_pipe_gets_each_change_in_its_order(comparison: Comparison) -> None:
    console = Console(file=io.StringIO(), width=400, _environ={})
    replay(comparison, console)
    lines = written(console).splitlines()
    assert len(lines) == 6 + 16
    assert lines[0] == "0.000 s  fox: quick  step 0/5  Once upon a time" + " __" * 15
    assert lines[3].startswith("0.100 s  fox: slow  token 1/15  Once")
    times = [float(line.partition(" ")[0]) for line in lines]
    assert times == sorted(times) and times[-1] == 2.5
    assert "\x1b" not in written(console)


@pytest.mark.parametrize(("width", "beside"), [(120, True), (60, False)])
def test_terminal_shows_them_beside_each_other_where_there_is_room(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch, width: int, beside: bool
) -> None:
    watch, console = Watch(monkeypatch), terminal(width)
    replay(replace(comparison, speed=0.5), console)
    assert watch.now - 100.0 == pytest.approx(5.0, abs=1 / 30)  # two and a half seconds, two times slower
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written(console)).splitlines()
    labels = [line for line in plain if "fox: quick" in line]
    assert all(("fox: slow" in line) is beside for line in labels)
    assert "2.50 s on the measured clock, shown 2 times slower" in plain[-1]
    assert "Step 5 / 5, 5 calls, 0.50 s, done, 30 tokens/s" in written(console)


# -- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "begin"), [(".gif", b"GIF89a"), (".html", b"<!doctype html>")])
def test_ending_chooses_the_format(comparison: Comparison, tmp_path: Path, ending: str, begin: bytes) -> None:
    assert set(SAVERS) == {".gif", ".html"}
    path = tmp_path / f"race{ending}"
    saver_for(path)(comparison, path, Drawing(height=800))
    assert path.read_bytes().startswith(begin)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.gif, \.html"):
        saver_for(tmp_path / "race.png")
