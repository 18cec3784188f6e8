"""A crawl of a site on this machine: what is taken, what is passed over, and how politely."""

import json
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from poetry_site import FOLDER, PoetrySite, Reply, html, index, moved, poet, serving

from textdiffusion.data.crawling import CrawlReport, Limits, Manners, Site, crawl, find_site
from textdiffusion.data.crawling.crawler import MOST_FAILURES
from textdiffusion.errors import DataError, SettingsError

QUICK = Manners(delay=0.0, timeout=5.0, retries=2, backoff=0.0)
DUSK = ("偶然", "我是天空里的一片云，\n偶尔投影在你的波心——")
BOTH = [
    ("也许", "也许你真是哭得太累，\n\n也许，也许你要睡一睡，"),
    ("死水", "这是一沟绝望的死水，\n清风吹不起半点漪沦。"),
]


@pytest.fixture
def site() -> Any:
    """Two poets."""
    with serving() as serves:
        serves.add(
            index=index(("xuzhimo.htm", "徐志摩"), ("wenyiduo.htm", "闻一多")),
            xuzhimo=poet("徐志摩", DUSK),
            wenyiduo=poet("闻一多", *BOTH),
        )
        yield serves


def collect(site: PoetrySite, folder: Path, **options: Any) -> tuple[CrawlReport, list[dict[str, str]]]:
    """The report and the poems; options are those of `crawl`, or of the description of the site."""
    own = ("limits", "manners", "resume", "sleep")
    how = {"manners": QUICK, **{name: options.pop(name) for name in own if name in options}}
    described = replace(find_site("shigeku"), start=site.start, **options)
    report = crawl(described, folder / "poems.jsonl", **how)
    return report, read(folder)


def read(folder: Path) -> list[dict[str, str]]:
    """The poems that were written."""
    return [json.loads(line) for line in (folder / "poems.jsonl").read_text("utf-8").split("\n") if line]


def titles(poems: list[dict[str, str]]) -> list[str]:
    return [poem["title"] for poem in poems]


# -- what is taken ---------------------------------------------------------------------------------------


def test_poems_of_all_authors(site: PoetrySite, tmp_path: Path) -> None:
    report, poems = collect(site, tmp_path)
    assert [(poem["author"], poem["title"], poem["content"]) for poem in poems] == [
        ("徐志摩", *DUSK),
        ("闻一多", *BOTH[0]),
        ("闻一多", *BOTH[1]),
    ]
    assert list(poems[0]) == ["title", "author", "content", "epigraph", "url"]
    assert poems[0]["url"] == f"{site.base}{FOLDER}xuzhimo.htm"
    assert report == CrawlReport(3, 2, 3, 0, 3, {}, ())
    assert site.asked[0] == "/robots.txt" and site.counts()["index.htm"] == 1
    assert site.agents == {Manners().user_agent} and "textdiffusion" in Manners().user_agent
    assert [path.name for path in tmp_path.iterdir()] == ["poems.jsonl"]


def test_links_of_the_index(site: PoetrySite, tmp_path: Path) -> None:
    """Written in many ways, to one page or to none."""
    links = [
        ("#top", "上"),
        ("index.htm", "目录"),
        ("INDEX.HTM#a", "目录"),
        ("http://www.example.org/a.htm", "别处"),
        ("mailto:a@example.org", "信"),
        ("javascript:void(0).htm", "脚本"),
        ("http://[broken/a.htm", "坏"),
        ("list.pdf", "表"),
        ("xuzhimo.htm", ""),
        ("./xuzhimo.htm#1", "徐 志\r\n摩"),
        ("/xlib/xd/zgsg/xuzhimo.htm", "志摩"),
        (f"{site.base}{FOLDER}xuzhimo.htm", "徐"),
        ("%78uzhimo.htm", "徐"),
        ("../zgsg/wenyiduo.htm", "闻一多"),
    ]
    site.add(index=index(*links))
    report, poems = collect(site, tmp_path)
    assert [poem["author"] for poem in poems] == ["徐 志 摩", "闻一多", "闻一多"]
    assert site.counts()["xuzhimo.htm"] == 1 and report.pages == 3
    assert report.links_off_site == 4


def test_limits(site: PoetrySite, tmp_path: Path) -> None:
    _, poems = collect(site, tmp_path / "a", limits=Limits(max_authors=1))
    assert titles(poems) == ["偶然"] and site.counts()["wenyiduo.htm"] == 0
    report, poems = collect(site, tmp_path / "b", limits=Limits(max_poems=2))
    assert titles(poems) == ["偶然", "也许"] and report.poems == 2
    _, poems = collect(site, tmp_path / "c", limits=Limits(max_poems=1))
    assert titles(poems) == ["偶然"] and site.counts()["wenyiduo.htm"] == 1


def test_further_indexes_and_pages(site: PoetrySite, tmp_path: Path) -> None:
    """Both lead in circles, and a page of poems leads to another author's."""
    links = '<a href="a2.htm">2</a><a href="a1.htm">1</a><a href="xuzhimo.htm">徐志摩</a>'
    more = html(poet("徐志摩", DUSK).body.decode("gb18030") + links)
    last = html(poet("徐志摩", BOTH[0]).body.decode("gb18030") + links)
    site.add(
        index=index(("list2.htm", "下页"), ("a1.htm", "徐志摩")),
        list2=index(("list2.htm", "本页"), ("index.htm", "上页"), ("wenyiduo.htm", "闻一多")),
        a1=more,
        a2=last,
    )
    options = {"indexes": r"list\d\.htm", "continued": r"a\d\.htm", "leave_out": ()}
    report, poems = collect(site, tmp_path, **options)
    assert titles(poems) == ["偶然", "也许", "也许", "死水"]
    assert [poem["author"] for poem in poems] == ["徐志摩", "徐志摩", "闻一多", "闻一多"]
    assert max(site.counts().values()) == 1 and report.pages == 5


def test_another_site_in_utf_8(site: PoetrySite, tmp_path: Path) -> None:
    """Described by a file: titles are headings, poems lie in a division of a class."""
    page = (
        "<html><body><h1>Emily Dickinson</h1><h2>I</h2><div class='note'>1890</div>"
        "<div class='verse big'>Hope is the thing<br/>with feathers&mdash;<br><br>That perches"
        " in&nbsp;the soul</div><h2>No lines</h2><hr></body>"
    )
    site.pages["/poets/"] = html('<a href="/poets/dickinson/">E. D.</a>', "utf-8")
    site.pages["/poets/dickinson/"] = html(page, "utf-8", **{"Content-Type": "text/html; charset=UTF-8"})
    description = tmp_path / "mine.yaml"
    description.write_text(
        f"start: {site.base}/poets/\nauthors: '\\w+/'\n"
        "poems: {title: h2, title_mark: '', content: 'div[class=verse]', ends: []}\n"
    )
    crawl(find_site(str(description)), tmp_path / "poems.jsonl", manners=QUICK)
    (poem,) = read(tmp_path)
    assert (poem["title"], poem["author"]) == ("I", "E. D.")
    assert poem["content"] == "Hope is the thing\nwith feathers—\n\nThat perches in the soul"


# -- what is passed over ---------------------------------------------------------------------------------


def test_pages_that_cannot_be_had(site: PoetrySite, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each alone is passed over, for its own reason; the others are taken."""
    names = [
        "gone",
        "picture",
        "bytes",
        "huge",
        "swollen",
        "circle",
        "away",
        "again",
        "secret",
        "empty",
        "broken",
    ]
    site.pages["/robots.txt"] = Reply(
        b"User-agent: *\nDisallow: /*secret", headers={"Content-Type": "text/plain"}
    )
    site.add(
        index=index(*[(f"{name}.htm", name) for name in names], ("xuzhimo.htm", "徐志摩")),
        picture=Reply(b"\x89PNG\r\n", headers={"Content-Type": "image/png"}),
        bytes=Reply(b"<p>\0\1\2</p>"),
        huge=Reply(b"", headers={"Content-Length": "1000000"}),
        swollen=Reply(b"<br>" * 30_000),
        circle=moved("circle2.htm"),
        circle2=moved("circle.htm"),
        away=moved("http://www.example.org/"),
        again=moved("xuzhimo.htm"),
        empty=html("<p align=center>空"),
        broken=Reply(b"<p>half", lacking=100),
    )
    report, poems = collect(site, tmp_path, manners=replace(QUICK, max_bytes=100_000))
    assert titles(poems) == ["偶然"]
    assert report.skipped == {
        "not found": 1,
        "not text": 2,
        "too large": 2,
        "leads in circles": 1,
        "leads off the site": 1,
        "forbidden by robots.txt": 1,
        "failed": 1,
    }
    assert report.failed == (f"{site.base}{FOLDER}broken.htm",) and report.without_poems == 1
    assert site.counts()["secret.htm"] == 0 and site.counts()["gone.htm"] == 1
    assert site.counts()["broken.htm"] == 2 * (1 + QUICK.retries), "tried again, and once more at the end"
    assert "gone.htm: not found (404 Not Found)" in caplog.text
    assert "picture.htm: not text (image/png)" in caplog.text


def test_a_page_by_two_names_is_taken_once(site: PoetrySite, tmp_path: Path) -> None:
    site.add(
        index=index(("a.htm", "徐志摩"), ("b.htm", "志摩"), ("xuzhimo.htm", "诗人"), ("c.htm", "又")),
        a=moved("xuzhimo.htm"),
        b=moved("xuzhimo.htm"),
        c=moved("index.htm"),
    )
    report, poems = collect(site, tmp_path)
    assert [poem["author"] for poem in poems] == ["徐志摩"]
    assert report.skipped == {"leads to a page seen already": 2}


def test_what_fails_at_first_is_had_later(site: PoetrySite, tmp_path: Path) -> None:
    def moody(number: int) -> Reply:
        return poet("徐志摩", DUSK) if number == 2 else Reply(status=503, headers={"Retry-After": "7"})

    def later(number: int) -> Reply:
        return poet("闻一多", *BOTH) if number > QUICK.retries else Reply(status=500)

    pauses: list[float] = []
    site.add(xuzhimo=moody, wenyiduo=later)
    report, poems = collect(site, tmp_path, sleep=pauses.append, manners=replace(QUICK, backoff=2.0))
    assert titles(poems) == ["偶然", "也许", "死水"] and not report.failed and not report.skipped
    assert pauses == [7.0, 7.0, 2.0, 4.0]


def test_a_site_that_asks_for_too_long_a_pause(site: PoetrySite, tmp_path: Path) -> None:
    site.add(xuzhimo=Reply(status=429, headers={"Retry-After": "86400"}))
    pauses: list[float] = []
    report, poems = collect(site, tmp_path, sleep=pauses.append)
    assert titles(poems) == ["也许", "死水"] and report.skipped == {"failed": 1}
    assert not pauses and site.counts()["xuzhimo.htm"] == 2


def test_slow_pages(site: PoetrySite, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that does not answer in time, and one that keeps the line busy byte by byte."""
    links = [(f"{name}.htm", name) for name in ("silent", "dripping", "wenyiduo")]
    site.add(index=index(*links), silent=Reply(b"<p>", slow=0.5), dripping=Reply(b"<br>" * 100, drip=0.05))
    began = time.monotonic()
    report, poems = collect(site, tmp_path, manners=replace(QUICK, timeout=0.1, retries=0))
    assert time.monotonic() - began < 20, "it is given up long before the 40 seconds of two visits"
    assert titles(poems) == ["也许", "死水"] and report.skipped == {"failed": 2}
    assert "dripping.htm: failed (it comes too slowly)" in caplog.text


def test_a_site_that_goes_down(site: PoetrySite, tmp_path: Path) -> None:
    """It is not taken for a site of broken pages; nothing of what was read is lost."""
    names = [f"poet{n}" for n in range(MOST_FAILURES)]
    links = [
        ("xuzhimo.htm", "徐志摩"),
        *[(f"{name}.htm", name) for name in names],
        ("wenyiduo.htm", "闻一多"),
    ]
    site.add(index=index(*links), **{name: Reply(status=502) for name in names})
    with pytest.raises(DataError, match=r"5 pages in a row could not be had, .*--resume goes on"):
        collect(site, tmp_path)
    assert not (tmp_path / "poems.jsonl").exists()
    site.asked.clear()
    site.add(**{name: poet(name, (name, name)) for name in names[1:]})
    report, poems = collect(site, tmp_path, resume=True)
    assert titles(poems) == ["偶然", "也许", "死水", *names[1:]]
    assert report.skipped == {"failed": 1} and site.counts()["xuzhimo.htm"] == 0


# -- manners ---------------------------------------------------------------------------------------------


def test_pauses(site: PoetrySite, tmp_path: Path) -> None:
    """Between all requests, from the end of one to the begin of the next."""
    pauses: list[float] = []
    collect(site, tmp_path / "a", sleep=pauses.append, manners=replace(QUICK, delay=9.0))
    assert len(pauses) == 3 and all(8.0 < pause <= 9.0 for pause in pauses)
    pauses.clear()
    site.pages["/robots.txt"] = Reply(
        b"User-agent: textdiffusion\nCrawl-delay: 30\nUser-agent: *\nDisallow: /"
    )
    collect(site, tmp_path / "b", sleep=pauses.append, manners=replace(QUICK, delay=9.0))
    assert [round(pause) for pause in pauses] == [30, 30, 30]


def test_robots_that_cannot_be_read(site: PoetrySite, tmp_path: Path) -> None:
    site.pages["/robots.txt"] = Reply(status=503)
    with pytest.raises(DataError, match=r"robots.txt cannot be read: failed \(503 .*so try again later"):
        collect(site, tmp_path)
    assert set(site.asked) == {"/robots.txt"} and not list(tmp_path.iterdir())


def test_the_whole_site_is_forbidden(site: PoetrySite, tmp_path: Path) -> None:
    site.pages["/robots.txt"] = Reply(b"User-agent: *\nDisallow: /")
    with pytest.raises(DataError, match=r"the index .* cannot be had: forbidden by robots.txt"):
        collect(site, tmp_path)
    assert site.asked == ["/robots.txt"] and not list(tmp_path.iterdir())


# -- what ends a crawl -----------------------------------------------------------------------------------


def test_no_index(site: PoetrySite, tmp_path: Path) -> None:
    site.pages.clear()
    with pytest.raises(DataError, match=r"the index .* cannot be had: not found \(404 Not Found\)"):
        collect(site, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        start = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(DataError, match=r"robots.txt cannot be read: failed \(.*refused") as caught:
        crawl(Site(start=start), tmp_path / "poems.jsonl", manners=QUICK)
    assert "\n" not in str(caught.value)


def test_a_description_that_does_not_fit(site: PoetrySite, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no link to an author's page; check `authors`"):
        collect(site, tmp_path, authors=r".*\.php")
    described = replace(find_site("shigeku").poems, title="h3")
    with pytest.raises(DataError, match="no poem was recognised on 3 pages"):
        collect(site, tmp_path, poems=described)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("start: shigeku.com", "start is 'shigeku.com'; it must be an address"),
        ("authors: x", "start is ''; it must be an address"),
        ("start: http://a.cn/\nautors: x", "unknown key 'autors'. Did you mean authors"),
        ("start: http://a.cn/\nauthors: '('", "authors is no regular expression"),
        ("start: http://a.cn/\nencoding: gb1830", "encoding 'gb1830' is unknown"),
        ("start: http://a.cn/\nencoding: hex", "encoding 'hex' is unknown"),
        ("start: http://a.cn/\npoems: {title: '<p>'}", "'<p>' describes no element"),
        ("- start", "must hold keys and values"),
    ],
)
def test_bad_descriptions(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        find_site(str(file))
    assert said in str(caught.value) and str(file) in str(caught.value)


def test_unknown_sites() -> None:
    with pytest.raises(SettingsError, match="Did you mean shigeku"):
        find_site("shigek")
    with pytest.raises(SettingsError, match="max_poems is 0; it must be at least 1"):
        Limits(max_poems=0)
    for wrong in ({"delay": -1.0}, {"timeout": 0.0}, {"retries": -1}, {"user_agent": "a\nb"}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            Manners(**wrong)  # type: ignore[arg-type]
