"""Comparing, chatting and the page itself in a real Chromium, before a real server."""

import json
import re
from typing import Any

import pytest

from server.browser import PROMPT, Site, apart, cells, fill, finished, said, site, write

NARROW = {"width": 390, "height": 844}
NAMELESS = """() => [...document.querySelectorAll("input, select, textarea, button, [role]:not([hidden])")]
    .filter(one => /^(INPUT|SELECT|TEXTAREA|BUTTON)$/.test(one.tagName) || /^(button|tab)$/.test(one.role))
    .filter(one => !one.hidden && !one.labels?.length && !one.ariaLabel && !one.textContent.trim())
    .map(one => one.outerHTML)"""


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
