"""The playground in a real Chromium, before a real server."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.browser import Site, chromium, site
from textdiffusion.views.cells import Snapshot
from textdiffusion.views.trace import Trace

PROMPT = "Once upon a time"
HOLES = "The [MASK:3] sat on the ____ ."
NARROW = {"width": 390, "height": 844}
NAMELESS = """() => [...document.querySelectorAll("input, select, textarea, button, [role]:not([hidden])")]
    .filter(one => /^(INPUT|SELECT|TEXTAREA|BUTTON)$/.test(one.tagName) || /^(button|tab)$/.test(one.role))
    .filter(one => !one.hidden && !one.labels?.length && !one.ariaLabel && !one.textContent.trim())
    .map(one => one.outerHTML)"""

WATCHED = """() => {
    window.seen = [];
    const status = document.querySelector("#write .status");
    const note = () => window.seen.push({ text: status.textContent, time: performance.now() });
    new MutationObserver(note).observe(status, { childList: true });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def server(browser: Any) -> Iterator[Site]:
    with site() as found:
        yield found


@contextmanager
def opened(context: Any, server: Site) -> Iterator[Any]:
    """The page, which may neither fail nor ask another host for anything."""
    server.hold()
    server.door.allow()
    context.set_default_timeout(20_000)
    page, faults, asked = context.new_page(), list[str](), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.address)
    page.wait_for_selector("body.ready")
    try:
        yield page
        assert not faults
        assert all(url.startswith((server.address, "blob:")) for url in asked)
    finally:
        page.close()


@contextmanager
def apart(browser: Any, server: Site, **options: Any) -> Iterator[Any]:
    """The page in a browser that differs in some `options`."""
    context = browser.new_context(**options)
    with opened(context, server) as found:
        yield found
    context.close()


@pytest.fixture(scope="module")
def usual(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def page(usual: Any, server: Site) -> Iterator[Any]:
    with opened(usual, server) as found:
        yield found


def fill(page: Any, tab: str, **fields: Any) -> None:
    """Give the fields of a tab values."""
    for name, value in fields.items():
        field = page.locator(f"#{tab} [name={name}]").first
        field.select_option(value) if name == "sampler" else field.fill(str(value))


def write(page: Any, text: str = PROMPT, **fields: Any) -> None:
    """Run in the tab Write until all is written."""
    fill(page, "write", text=text, **{"sampler": "confidence", "seed": 5, "steps": 4, **fields})
    page.click("#write [data-do=run]")
    finished(page, "write")


def finished(page: Any, tab: str) -> None:
    page.wait_for_selector(f"#{tab} [data-do=stop]:disabled")


def cells(page: Any, tab: str = "write", kind: str = "") -> Any:
    return page.locator(f"#{tab} .text .cell{kind}:not([hidden])")


def said(page: Any) -> str:
    """What a screen reader is told."""
    return str(page.text_content("#announced"))


def status(page: Any) -> str:
    return str(page.text_content("#write .status"))


def tokens(page: Any) -> list[str]:
    """The texts of all places, those that are hidden too."""
    return list(page.locator("#write .text .cell").all_text_contents())


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
    page.set_input_files("#write [data-do=open]", str(path))


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
    page.wait_for_selector("#write .player:visible")
    assert tokens(page) == shown
    cells(page, kind=".settled").first.hover()
    assert page.locator("#write .tip li").count() == 5  # what else was likely comes along


def test_a_trace_of_the_command_line_opens(page: Any, tmp_path: Path) -> None:
    trace_of("从前", "有", "一座", "山，", "\n", "山里").save(tmp_path / "other.json")
    open_trace(page, tmp_path / "other.json")
    page.wait_for_selector("#write .player:visible")
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


# -- comparing and chatting ------------------------------------------------------------------------------


@pytest.mark.parametrize("in_turn", [False, True])
def test_two_ways_are_compared_with_one_seed(page: Any, server: Site, in_turn: bool) -> None:
    page.click("#tab-compare")
    fill(page, "compare", text=PROMPT, length=8)
    for side, steps in (("left", 8), ("right", 2)):
        page.fill(f"#compare [data-place={side}] [name=steps]", str(steps))
    page.set_checked("#compare [name=apart]", in_turn)
    asked = list[dict[str, Any]]()
    page.on("request", lambda one: asked.append(json.loads(one.post_data)) if one.post_data else None)
    page.click("#compare [data-do=run]")
    page.wait_for_selector("#compare .player:visible")
    assert len(asked) == 2 and asked[0]["seed"] == asked[1]["seed"]
    expected = [
        server.ask("/v1/completions", prompt=PROMPT, max_tokens=8, seed=asked[0]["seed"], **settings)
        for settings in ({"steps": 8, "sampler": "ancestral"}, {"steps": 2, "sampler": "confidence"})
    ]
    texts = [PROMPT + one["choices"][0]["text"] for one in expected]
    assert said(page) == f"ancestral: {texts[0]}\nconfidence: {texts[1]}"
    states = page.locator("#compare .state").all_text_contents()
    assert re.fullmatch(r"step 2 / 2, 2 calls, [\d.]+ s", states[1])
    page.press("#compare [type=range]", "Home")
    assert cells(page, "compare", ".mask").count() == 16


def test_a_conversation_goes_on_over_several_turns(page: Any) -> None:
    page.click("#tab-chat")
    page.click("#chat summary >> nth=0")
    fill(page, "chat", system="Be brief.", length=6, steps=2)
    asked = list[Any]()
    page.on(
        "request", lambda one: asked.append(json.loads(one.post_data)["messages"]) if one.post_data else None
    )
    for text in ("Hello?", "And then?"):
        page.fill("#chat [name=text]", text)
        page.press("#chat [name=text]", "Enter")
        finished(page, "chat")
    answer = said(page)
    turns = page.locator("#chat .turn .said").all_text_contents()
    assert turns[0::2] == ["Hello?", "And then?"] and turns[3] == answer
    assert [one["role"] for one in asked[1]] == ["system", "user", "assistant", "user"]
    assert asked[1][2]["content"] == turns[1]
    page.click("#chat [data-do=redo]")
    finished(page, "chat")
    assert asked[2] == asked[1] and page.locator("#chat .turn").count() == 4
    page.click("#chat [data-do=clear]")
    assert page.locator("#chat .turn").count() == 0


def test_an_answer_is_stopped(page: Any, server: Site) -> None:
    page.click("#tab-chat")
    server.hold()
    page.fill("#chat [name=text]", "Hello?")
    page.press("#chat [name=text]", "Enter")
    server.door.allow(2)
    page.wait_for_selector("#chat .turn.assistant .cell:not([hidden])")
    page.keyboard.press("Escape")
    finished(page, "chat")
    assert page.locator("#chat .turn").count() == 1 and page.is_hidden("#error")
    server.door.allow()


# -- the page itself -------------------------------------------------------------------------------------


def test_tabs_go_by_arrow_keys(page: Any) -> None:
    page.focus("#tab-write")
    for key, tab in (
        ("ArrowRight", "compare"),
        ("ArrowRight", "chat"),
        ("ArrowRight", "write"),
        ("End", "chat"),
    ):
        page.keyboard.press(key)
        assert page.is_visible(f"#{tab}") and page.locator("main > section:visible").count() == 1
        assert page.evaluate("() => document.activeElement.id") == f"tab-{tab}"
        assert page.get_attribute(f"#tab-{tab}", "aria-selected") == "true"


def test_own_settings_of_a_sampler_are_fields(page: Any) -> None:
    fill(page, "write", sampler="threshold")
    field = page.locator("#write [name=threshold]")
    assert field.get_attribute("placeholder") == "0.9"
    field.fill("0.3")
    with page.expect_request("**/v1/completions") as caught:
        fill(page, "write", length=4)
        page.press("#write [name=length]", "Enter")
    body = json.loads(caught.value.post_data)
    assert (body["sampler"], body["threshold"]) == ("threshold", 0.3) and "steps" not in body
    finished(page, "write")
    fill(page, "write", sampler="ancestral")
    assert page.locator("#write [name=threshold]").count() == 0


def test_what_the_server_refuses_is_said_in_a_line(page: Any) -> None:
    fill(page, "write", text=PROMPT, temperature=-1)
    page.click("#write [data-do=run]")
    page.wait_for_selector("#error:has-text('temperature')")
    assert "\n" not in page.text_content("#error")
    fill(page, "write", temperature="", length="many")
    page.click("#write [data-do=run]")
    page.wait_for_selector("#error:has-text('length is many; give a whole number.')")


def test_a_lost_connection_is_said(page: Any) -> None:
    page.route("**/v1/completions", lambda route: route.abort())
    page.click("#write [data-do=run]")
    page.wait_for_selector("#error:has-text('the server cannot be reached')")
    page.unroute("**/v1/completions")
    page.route("**/v1/completions", lambda route: route.fulfill(content_type="text/event-stream", body=""))
    page.click("#write [data-do=run]")
    page.wait_for_selector("#error:has-text('the connection was lost before the text was whole')")
    assert page.is_enabled("#write [data-do=run]")


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(browser: Any, server: Site) -> None:
    with site(keys=["secret"], lm=server.lm) as guarded:
        guarded.door.allow()
        context = browser.new_context()
        page = context.new_page()
        page.goto(guarded.address)
        page.wait_for_selector("#key-form:visible")
        assert "the key is missing or wrong" in page.text_content("#error")
        page.fill("#key", "secret")
        page.press("#key", "Enter")
        page.wait_for_selector("body.ready")
        assert page.is_hidden("#error") and page.is_hidden("#key-form")
        write(page, length=4)
        assert said(page).startswith(PROMPT)
        kept = "() => [Object.values(sessionStorage), Object.values(localStorage), document.cookie]"
        assert page.evaluate(kept) == [["secret"], [], ""]
        context.close()


def test_dark_is_as_the_system_has_it_until_it_is_chosen(browser: Any, server: Site) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor"
    with apart(browser, server, color_scheme="dark") as page:
        dark = page.evaluate(ground)
        page.click("#theme")
        assert page.text_content("#theme") == "Theme: light"
        light = page.evaluate(ground)
        assert (dark, light) == ("rgb(20, 23, 27)", "rgb(255, 255, 255)")
        page.reload()
        assert page.evaluate(ground) == light
        page.click("#theme")
        page.click("#theme")
        assert page.text_content("#theme") == "Theme: system" and page.evaluate(ground) == dark


def test_everything_has_a_name(page: Any) -> None:
    write(page, "A line.\n\nAnd ____", length=8)
    cells(page, kind=".settled").first.hover()
    for tab in ("write", "compare", "chat"):
        page.click(f"#tab-{tab}")
        assert page.evaluate(NAMELESS) == []
    missing = """() => [...document.querySelectorAll("[aria-describedby]")]
        .flatMap(one => one.getAttribute("aria-describedby").split(" "))
        .filter(id => !document.getElementById(id))"""
    assert page.evaluate(missing) == []
    assert page.evaluate("() => new Set([...document.querySelectorAll('[id]')].map(one => one.id)).size") == (
        page.locator("[id]").count()
    )
    blank = page.locator("#write .cell.blank").first
    assert blank.get_attribute("aria-label") == "line break"


def test_nothing_is_wider_than_a_phone(browser: Any, server: Site) -> None:
    with apart(browser, server, viewport=NARROW, has_touch=True) as page:
        write(page, PROMPT + "a" * 80, length=60)
        cells(page, kind=".settled").nth(9).tap()
        page.locator("#write .tip").wait_for()
        for tab in ("write", "compare", "chat"):
            page.click(f"#tab-{tab}")
            for details in page.locator(f"#{tab} details").all():
                details.evaluate("one => { one.open = true; }")
            assert page.evaluate("() => document.scrollingElement.scrollWidth") == NARROW["width"]
