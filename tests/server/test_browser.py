"""The tab Write in a real Chromium, before a real server: texts, tokens, traces."""

import json
import re
from pathlib import Path
from typing import Any

from server.browser import PROMPT, Site, apart, cells, fill, finished, said, status, tokens, write
from textdiffusion.views.cells import Snapshot
from textdiffusion.views.trace import Trace

HOLES = "The [MASK:3] sat on the ____ ."
WATCHED = """() => {
    window.seen = [];
    const status = document.querySelector("#write .status");
    const note = () => window.seen.push({ text: status.textContent, time: performance.now() });
    new MutationObserver(note).observe(status, { childList: true });
}"""


# -- writing ---------------------------------------------------------------------------------------------


def test_a_prompt_goes_on_as_the_server_would_write_it(page: Any, server: Site) -> None:
    write(page, length=12)
    asked = {"sampler": "confidence", "seed": 5, "steps": 4, "max_tokens": 12}
    written = server.ask("/v1/completions", prompt=PROMPT, **asked)["choices"][0]["text"]
    assert said(page) == PROMPT + written
    assert "".join(cells(page).all_text_contents()).startswith(PROMPT)
    assert re.match(r"Step 4 / 4, 4 calls, \d", status(page))
    assert cells(page, kind=".prompt").count() == 4 and cells(page, kind=".mask").count() == 0


def test_holes_are_filled_where_they_are(page: Any, server: Site) -> None:
    write(page, HOLES)
    answer = server.ask("/v1/fill", text=HOLES, sampler="confidence", seed=5, steps=4)["choices"][0]
    assert said(page) == answer["text"]
    assert cells(page, kind=".settled").count() == 4


def test_tokens_settle_while_it_runs_and_it_can_be_stopped(page: Any, server: Site) -> None:
    server.hold()
    fill(page, "write", text=PROMPT, length=8, steps=8, sampler="confidence", seed=1)
    page.press("#write [name=text]", "Control+Enter")
    server.door.allow(3)
    page.wait_for_selector("#write .status:text('Step 3 / 8')")
    assert cells(page, kind=".mask").count() == 5 and cells(page, kind=".new").count() == 1
    assert said(page) == ""
    page.keyboard.press("Escape")
    finished(page, "write")
    server.door.allow()
    assert cells(page, kind=".mask").count() == 5 and page.is_hidden("#error")
    page.click("text=Denoise again")
    page.wait_for_selector("#write .text:not(:has(.mask))")
    finished(page, "write")
    assert cells(page, kind=".settled").count() == 8


def test_slider_and_arrow_keys_go_through_the_steps(page: Any) -> None:
    write(page, length=8)
    page.press("#write [type=range]", "Home")
    assert status(page).startswith("Step 0 / 4, 0 calls") and cells(page, kind=".mask").count() == 8
    page.locator("#write .status").click()  # nothing with keys of its own
    page.evaluate("() => document.activeElement.blur()")
    for shown in ("Step 1 / 4", "Step 2 / 4"):
        page.keyboard.press("ArrowRight")
        assert status(page).startswith(shown)
    assert cells(page, kind=".new").count() == 2
    page.keyboard.press("ArrowLeft")
    assert status(page).startswith("Step 1 / 4")


def test_play_goes_at_the_speed_that_is_set_and_stops_at_the_end(page: Any) -> None:
    write(page, length=8)
    page.select_option("#write [data-do=speed]", "15")
    page.evaluate(WATCHED)
    page.click("#write [data-do=play]")
    page.wait_for_selector("#write [data-do=play][aria-pressed=false]")
    seen = page.evaluate("() => window.seen")
    assert [one["text"].partition(",")[0] for one in seen] == [f"Step {step} / 4" for step in range(5)]
    assert seen[4]["time"] - seen[0]["time"] > 4 * 60  # milliseconds


def test_who_wants_no_motion_gets_the_finished_text(browser: Any, server: Site) -> None:
    with apart(browser, server, reduced_motion="reduce") as page:
        server.hold()
        fill(page, "write", text=PROMPT, length=8, steps=8, sampler="confidence", seed=1)
        page.click("#write [data-do=run]")
        server.door.allow(4)
        page.wait_for_selector("#write .status:text('4 more steps have come')")
        assert cells(page, kind=".mask").count() == 8
        server.door.allow()
        finished(page, "write")
        assert cells(page, kind=".settled").count() == 8


# -- changing tokens -------------------------------------------------------------------------------------


def test_marked_tokens_are_written_anew_and_no_others(page: Any) -> None:
    write(page, length=8)
    before = tokens(page)
    for at in (1, 4):
        cells(page, kind=".settled").nth(at).click()
    assert page.locator("#write .cell[aria-pressed=true]").count() == 2
    fill(page, "write", seed=77, temperature=1)
    with page.expect_request("**/v1/fill") as caught:
        page.click("text=Denoise again")
    holes = [at for at, id in enumerate(json.loads(caught.value.post_data)["tokens"]) if id is None]
    finished(page, "write")
    after = tokens(page)
    changed = [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    assert len(holes) == 2 and set(changed) <= set(holes)
    assert page.locator("#write .cell[aria-pressed=true]").count() == 0
    page.press("#write [type=range]", "Home")
    assert status(page).startswith("Step 0 / 8")  # the steps of both, in one trace


def test_denoising_goes_on_from_the_step_that_is_shown(page: Any) -> None:
    write(page, length=8)
    page.press("#write [type=range]", "Home")
    page.press("#write [type=range]", "ArrowRight")
    kept = cells(page, kind=".new").all_text_contents()
    page.click("text=Denoise again")
    finished(page, "write")
    assert status(page).startswith("Step 5 / 5")
    assert set(kept) <= set(cells(page, kind=".settled").all_text_contents())


def test_alternatives_are_shown_and_taken(page: Any) -> None:
    write(page, length=8)
    token = cells(page, kind=".settled").nth(3)
    token.hover()
    tip = page.locator("#write .tip")
    tip.wait_for()
    assert re.fullmatch(r"[\d.]+ % sure, written in step \d", tip.locator("p").text_content())
    assert tip.locator("li").count() == 5
    shares = [
        float(share.rstrip(" %").lstrip("< "))
        for share in tip.locator("li span").all_text_contents()
        if "%" in share and len(share) < 9
    ]
    assert shares == sorted(shares, reverse=True)
    other = tip.locator("li button").last
    word = other.locator("b").text_content()
    other.click()
    assert token.text_content() == word and status(page).startswith("Step 5 / 5, 4 calls")
    assert page.evaluate("() => document.activeElement.dataset.position") is not None


def test_tokens_are_marked_and_replaced_by_keys(page: Any) -> None:
    write(page, length=8)
    page.press("#write .text [tabindex='0']", "End")
    for key in ("ArrowLeft", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    focused = page.locator("#write .cell:focus")
    assert focused.get_attribute("aria-pressed") == "true"
    page.keyboard.press(" ")
    assert focused.get_attribute("aria-pressed") == "false"
    keys = page.locator("#write .tip [aria-keyshortcuts]")
    key, word = keys.last.get_attribute("aria-keyshortcuts"), keys.last.locator("b").text_content()
    page.keyboard.press(key)
    assert focused.text_content() == word
    page.keyboard.press("Escape")
    assert page.is_hidden("#write .tip")


# -- traces ----------------------------------------------------------------------------------------------


def trace_of(*pieces: str | None, model: str = "starter") -> Trace:
    """A text of two steps: all but the first is noise, and then it is not."""
    size = len(pieces)
    ids, sure = tuple(range(5, 5 + size)), (None, *[0.5] * (size - 1))
    noise = Snapshot(
        0,
        (5, *[1] * (size - 1)),
        (pieces[0], *[None] * (size - 1)),
        (True, *[False] * (size - 1)),
        sure,
        0,
        0.0,
    )
    clean = Snapshot(1, ids, pieces, (True,) * size, sure, 1, 0.25)
    return Trace(model, "confidence", 3, 1, "__", ("prompt", *["editable"] * (size - 1)), (noise, clean))


def open_trace(page: Any, path: Path) -> None:
    """Open a file, and wait until it is shown or refused."""
    page.set_input_files("#write [data-do=open]", str(path))
    page.wait_for_selector("#write .player:visible, #error:visible:not(:empty)")


def test_a_trace_is_saved_as_the_command_line_saves_it(page: Any, tmp_path: Path) -> None:
    write(page, length=8)
    with page.expect_download() as caught:
        page.click("#write [data-do=save]")
    path = tmp_path / "saved.json"
    caught.value.save_as(path)
    trace = Trace.load(path)
    assert (trace.model, trace.sampler, trace.seed, trace.steps) == ("starter", "confidence", 5, 4)
    assert trace.text == said(page) and len(trace.snapshots) == 5
    shown = tokens(page)
    page.reload()
    page.wait_for_selector("body.ready")
    open_trace(page, path)
    assert tokens(page) == shown
    cells(page, kind=".settled").first.hover()
    assert page.locator("#write .tip li").count() == 5  # what else was likely comes along


def test_a_trace_of_the_command_line_opens(page: Any, tmp_path: Path) -> None:
    trace_of("从前", "有", "一座", "山，", "\n", "山里").save(tmp_path / "other.json")
    open_trace(page, tmp_path / "other.json")
    assert said(page) == "从前有一座山，\n山里"
    assert "".join(tokens(page)) == "从前有一座山，↵\n山里"
    page.click("#write [data-do=back]")
    assert "".join(tokens(page)) == "从前__ __ __ __ __"
    assert status(page).startswith("Step 0 / 1, 0 calls, 0.00 s")


def test_tokens_of_another_model_cannot_be_changed(page: Any, tmp_path: Path) -> None:
    trace_of("a", " b", model="other").save(tmp_path / "other.json")
    open_trace(page, tmp_path / "other.json")
    cells(page).last.click(force=True)
    assert cells(page).last.get_attribute("aria-disabled") == "true"
    assert page.locator("#write .cell[aria-pressed=true]").count() == 0
    assert page.is_hidden("text=Denoise again")


def test_what_is_written_is_no_part_of_the_page(page: Any, tmp_path: Path) -> None:
    trace_of("<img src=x onerror=alert(1)>", " \u202eabc", " \x1b[0m").save(tmp_path / "bad.json")
    open_trace(page, tmp_path / "bad.json")
    assert "".join(cells(page).all_text_contents()) == "<img src=x onerror=alert(1)> \\u202eabc \\u001b[0m"
    assert page.locator("img").count() == 0


def test_damaged_traces_are_refused(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    trace_of("a", " b").save(path)
    plain = json.loads(path.read_text("utf-8"))
    no_trace = (
        "this file is no whole trace; open one that this page, or textdiffusion --save x.json, has written."
    )
    changes = [
        ([], no_trace),
        (plain | {"version": 9}, "this trace is version 9, this page reads 1."),
        (plain | {"roles": ["prompt"]}, no_trace),
        (plain | {"pieces": []}, no_trace),
        (plain | {"frames": []}, no_trace),
    ]
    for changed, says in changes:
        path.write_text(json.dumps(changed), "utf-8")
        page.evaluate("() => { document.getElementById('error').textContent = ''; }")
        open_trace(page, path)
        page.wait_for_selector("#error:visible:not(:empty)")
        assert page.text_content("#error") == says
