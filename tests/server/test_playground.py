"""The playground as files: what is served, how large it is, and that nothing comes from elsewhere."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import textdiffusion.server
from server.service import Service, service
from textdiffusion.generation import Decoding
from textdiffusion.samplers import SAMPLERS
from textdiffusion.samplers.recipes import sampler_settings
from textdiffusion.schedules import STEP_GRIDS
from textdiffusion.server.page import FOLDER, HEADERS, INDEX
from textdiffusion.server.protocol import OPTIONS
from textdiffusion.settings import field_docs
from textdiffusion.tokens import HOLE

STATIC = Path(textdiffusion.server.__file__).parent / FOLDER
FILES = sorted(STATIC.iterdir())
MOST_BYTES = 300_000
MOST_LINES = 250

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


@pytest.fixture(scope="module")
def ours() -> Iterator[Service]:
    with service() as found:
        yield found


class Reader(HTMLParser):
    """The elements of a page, each with its attributes and the text before the next tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), [*self.open]))
        if tag not in {"meta", "link", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @property
    def ids(self) -> list[str]:
        return [str(given["id"]) for _, given, _ in self.elements if "id" in given]


PAGE = Reader((STATIC / INDEX).read_text("utf-8"))


def test_page_is_at_the_root_of_the_server(ours: Service) -> None:
    found = ours.client.get("/")
    assert found.status_code == 200
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    assert found.content == (STATIC / INDEX).read_bytes()


@every_file
def test_every_file_is_served_and_may_load_nothing_from_elsewhere(ours: Service, path: Path) -> None:
    found = ours.client.get(f"/{FOLDER}/{path.name}")
    kind = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
    assert found.headers["content-type"].partition(";")[0] == kind[path.suffix]
    assert found.content == path.read_bytes()
    assert {name: found.headers[name] for name in HEADERS} == HEADERS


def test_the_policy_names_this_server_alone() -> None:
    rules = dict(rule.split(" ", 1) for rule in HEADERS["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules.values()) <= {"'none'", "'self'"}


@every_file
def test_no_file_names_another_host(path: Path) -> None:
    text = path.read_text("utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|//\w+\.\w|\bimport\(|\beval\(|@import|url\(", text)


@every_file
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES
    assert sum(one.stat().st_size for one in FILES) < MOST_BYTES


def test_scripts_import_files_that_are_there() -> None:
    names = {path.name for path in FILES}
    for path in STATIC.glob("*.js"):
        imported = set(re.findall(r'^import .* from "\./(.*)";$', path.read_text("utf-8"), re.MULTILINE))
        assert imported <= names
    linked = [str(given.get("src") or given.get("href") or "") for _, given, _ in PAGE.elements]
    assert {link.removeprefix(f"{FOLDER}/") for link in linked if link} <= names


def test_a_wrong_address_stays_wrong(ours: Service) -> None:
    for path in ("/nothing", f"/{FOLDER}/nothing.js", f"/{FOLDER}/", f"/{FOLDER}/../app.py"):
        found = ours.client.get(path)
        assert found.status_code == 404 and set(found.json()) == {"error"}
    assert ours.client.post("/v1/nothing", json={}).status_code == 404
    assert ours.client.get("/v1/fill").status_code == 405


def test_every_field_of_the_page_has_a_label() -> None:
    assert len(PAGE.ids) == len(set(PAGE.ids))
    for tag, given, inside in PAGE.elements:
        if tag in {"input", "textarea", "select"}:
            assert "label" in inside or given.get("aria-label"), given
        for name in ("aria-controls", "aria-labelledby", "aria-describedby"):
            assert given.get(name) is None or given[name] in PAGE.ids
    assert ("html", {"lang": "en"}, []) in PAGE.elements


# -- what there is to ask --------------------------------------------------------------------------------


def test_offers_are_read_off_the_tables(ours: Service) -> None:
    offers = ours.client.get("/v1/options").json()
    assert [one["name"] for one in offers["samplers"]] == list(SAMPLERS)
    assert [one["name"] for one in offers["schedules"]] == list(STEP_GRIDS)
    by_name = {one["name"]: one for one in offers["options"]}
    assert by_name["sampler"]["choices"] == list(SAMPLERS)
    assert by_name["schedule"]["choices"] == list(STEP_GRIDS)
    assert by_name["steps"] == {
        "name": "steps",
        "kind": "integer",
        "about": field_docs(Decoding)["steps"],
        "default": None,
        "choices": None,
    }
    assert by_name["ban"]["kind"] == "array" and by_name["json_schema"]["kind"] == "object"


def test_offers_hold_every_setting_that_a_request_takes(ours: Service) -> None:
    offers = ours.client.get("/v1/options").json()
    own = {one["name"] for sampler in offers["samplers"] for one in sampler["settings"]}
    assert own | {one["name"] for one in offers["options"]} == set(OPTIONS)
    assert all(one["about"] for sampler in offers["samplers"] for one in sampler["settings"])


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_offered_settings_have_the_defaults_of_the_sampler(ours: Service, name: str) -> None:
    samplers = ours.client.get("/v1/options").json()["samplers"]
    (found,) = (one for one in samplers if one["name"] == name)
    assert {one["name"]: one["default"] for one in found["settings"]} == sampler_settings(
        SAMPLERS[name].sampler
    )
    assert found["defaults"] == dict(SAMPLERS[name].defaults)


def test_offers_say_what_the_model_is(ours: Service) -> None:
    offers = ours.client.get("/v1/options").json()
    assert (offers["model"], offers["longest"], offers["chats"]) == ("tiny", 64, False)
    assert ours.lm.format.mask_id in offers["special"]
    assert offers["hole"] == HOLE.pattern


def test_offers_have_the_defaults_of_the_model(ours: Service) -> None:
    lm = ours.lm
    usual = lm.settings.decoding
    lm.settings.decoding.update({"sampler": "threshold", "threshold": 0.5, "steps": 7})
    try:
        offers = ours.client.get("/v1/options").json()
    finally:
        for name in ("sampler", "threshold", "steps"):
            del usual[name]
    by_name = {one["name"]: one["default"] for one in offers["options"]}
    assert (by_name["sampler"], by_name["steps"]) == ("threshold", 7)
    own = {one["name"]: one["settings"] for one in offers["samplers"]}
    assert own["threshold"][0]["default"] == 0.5
    assert own["factor"][0]["default"] == next(iter(sampler_settings(SAMPLERS["factor"].sampler).values()))


def test_offers_need_a_key_where_one_is_asked_for_but_the_page_does_not() -> None:
    with service(keys=["secret"]) as guarded:
        assert guarded.client.get("/").status_code == 200
        assert guarded.client.get("/v1/options").status_code == 401
        head = {"Authorization": "Bearer secret"}
        assert guarded.client.get("/v1/options", headers=head).status_code == 200


def test_steps_tell_the_ids_of_the_alternatives(ours: Service) -> None:
    body = {"prompt": "the cat", "max_tokens": 4, "seed": 1, "stream_steps": True, "alternatives": 3}
    *_, last = (data for name, data in ours.events("/v1/completions", **body) if name == "step")
    ids, shown = last["alternative_ids"], last["alternatives"]
    assert len(ids) == len(shown) == len(last["tokens"])
    decode = ours.lm.format.decode
    for row, pairs in list(zip(ids, shown, strict=True))[-4:]:
        assert [decode([one]) for one in row] == [piece for piece, _ in pairs]
