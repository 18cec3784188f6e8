"""The page: complete in itself, safe whatever the text says, and it moves in a real browser."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from browsing import run_in_browser

from textdiffusion.views.html import page, save_html
from textdiffusion.views.trace import Trace

MakeTrace = Callable[..., Trace]
EVIL = [
    "</script><script>document.title='taken'</script>",
    "<!--",
    "\u2028",
    "@TRACE@",
    "&amp;",
    "<img src=x>",
]

ROBOT = """
const step = () => document.getElementById("status").textContent;
const text = () => document.getElementById("text").textContent;
press("Home"); say(step()); say(text());
press("ArrowRight"); say(step());
press("ArrowRight"); press("ArrowLeft"); say(step());
press("ArrowLeft"); press("ArrowLeft"); say(step());
press("End"); say(step()); say(text());
document.getElementById("doubts").click();
const ground = getComputedStyle(document.querySelector("#text .known b")).backgroundColor;
say(String(ground !== "rgba(0, 0, 0, 0)"));
const last = document.querySelector("#text [data-position]:last-child b");
last.dispatchEvent(new MouseEvent("click", { bubbles: true }));
say(document.getElementById("tip").textContent);
press(" "); say(document.getElementById("play").textContent); say(step());
press(" "); say(document.getElementById("play").textContent);
"""


def embedded(html: str) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" id="trace">(.*?)</script>', html, re.DOTALL)
    assert len(found) == 1
    data: dict[str, Any] = json.loads(found[0])
    return data


def states(data: dict[str, Any]) -> list[list[list[Any]]]:
    """What the page's own script rebuilds: a full row of cells per frame."""
    rows: list[list[list[Any]]] = []
    for frame in data["frames"]:
        row = list(rows[-1]) if rows else [[]] * data["positions"]
        for position, text, kind, confidence, since in frame["cells"]:
            row[position] = [data["texts"][text], kind, confidence, since]
        rows.append(row)
    return rows


def test_changes_rebuild_every_frame(trace: Trace) -> None:
    kinds = ("prompt", "mask", "new", "settled")
    written = trace.written_at()
    for index, row in enumerate(states(embedded(page(trace)))):
        cells = trace.cells(index)
        expected = [
            [cell.text, kinds.index(cell.kind), cell.confidence, since]
            for cell, since in zip(cells, written[index], strict=True)
        ]
        assert row == expected


def test_page_needs_nothing_from_outside(trace: Trace) -> None:
    html = page(trace)
    assert "http" not in html.replace("http-equiv", "")
    assert not re.search(r"\b(src|href)\s*=|@import|url\(|fetch\(|XMLHttp", html)
    assert "default-src 'none'" in html


def test_hostile_text_stays_text(make_trace: MakeTrace) -> None:
    trace = replace(make_trace(EVIL), model="<b>x</b>", sampler="@TEXT@")
    html = page(trace)
    assert html.count("</script>") == 2
    assert "<img" not in html
    assert "\u2028" not in html[html.index('id="trace"') :]
    assert states(embedded(html))[-1][0][0] == EVIL[0]
    assert "<title>&lt;b&gt;x&lt;/b&gt;, @TEXT@</title>" in html


def test_page_is_small(make_trace: MakeTrace, tmp_path: Path) -> None:
    words = [f" word{i}" for i in range(256)]
    save_html(make_trace(words, 16, 1), tmp_path / "x.html")
    assert (tmp_path / "x.html").stat().st_size < 300_000
    assert [path.name for path in tmp_path.iterdir()] == ["x.html"]


def test_page_says_what_it_is_to_readers_of_screens(trace: Trace) -> None:
    html = page(trace)
    assert '<html lang="en">' in html
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html
    assert "prefers-reduced-motion" in html
    for button in re.findall(r"<button[^>]*>([^<]*)<|", html):
        assert button.isalpha() or not button or "&#" in button
    assert html.count("aria-label=") >= 6


def test_text_is_there_without_script(trace: Trace) -> None:
    noscript = page(trace).split("<noscript>")[1].split("</noscript>")[0]
    assert "It read all day, condensing words." in noscript


def test_page_moves_in_a_browser(trace: Trace, tmp_path: Path) -> None:
    assert run_in_browser(page(trace), ROBOT, tmp_path) == [
        "Step 0 / 5",
        "Once upon a time" + " __" * 15,
        "Step 1 / 5",
        "Step 1 / 5",
        "Step 0 / 5",
        "Step 5 / 5",
        trace.text,
        "true",
        f"confidence {100 * (trace.snapshots[-1].confidence[-1] or 0):.1f} %, "
        f"written at step {trace.written_at()[-1][-1]}",
        "Pause",
        "Step 0 / 5",
        "Play",
    ]


def test_hostile_text_does_nothing_in_a_browser(make_trace: MakeTrace, tmp_path: Path) -> None:
    said = run_in_browser(page(make_trace(EVIL, 0)), ROBOT, tmp_path)
    assert said[6] == "".join(EVIL)
