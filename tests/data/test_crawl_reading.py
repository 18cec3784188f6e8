"""What is read of a page: encodings, links, poems; and what robots.txt and addresses mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textdiffusion.data.crawling import PoemShape
from textdiffusion.data.crawling.addresses import page_key, place_of, resolved
from textdiffusion.data.crawling.decoding import decoded
from textdiffusion.data.crawling.reading import read_links, read_poems
from textdiffusion.data.crawling.robots import read_robots
from textdiffusion.data.crawling.site import Element

SHAPE = PoemShape()
HEADED = "<p align=center><a name=1>题</a></p>"

# -- encodings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "encoding", "header", "text"),
    [
        ("诗库".encode("gb18030"), "gb18030", "text/html; charset=utf-8", "诗库"),
        ("诗库".encode("gb18030"), "", "text/html; charset=GB2312", "诗库"),
        ("<meta charset='gbk'>诗".encode("gb18030"), "", "text/html", "<meta charset='gbk'>诗"),
        ("㐀".encode("gb18030"), "gb2312", "", "㐀"),
        ("一首诗。".encode(), "", "", "一首诗。"),
        ("一首诗。\u3000".encode(), "big5", "", "一首诗。\u3000"),
        (b"\xef\xbb\xbf" + "诗".encode(), "gb18030", "", "诗"),
        (b"\xff\xfe" + "诗".encode("utf-16-le"), "", "text/html; charset=utf-8", "诗"),
        (b"caf\xe9 \x93a\x94", "", "text/html; charset=iso-8859-1", "café “a”"),
        ("诗".encode(), "", "text/html; charset=nonsense", "诗"),
        (b"a", "", "text/html; charset=hex", "a"),
        (b"", "gb18030", "", ""),
    ],
)
def test_encodings(body: bytes, encoding: str, header: str, text: str) -> None:
    assert decoded(body, encoding, header) == (text, 0)


def test_what_cannot_be_decoded_is_seen_and_counted() -> None:
    assert decoded("诗".encode("gb18030") + b"\xff<br>", "gb18030") == ("诗\ufffd<br>", 1)
    assert decoded(b"\xff\xff", "") == ("\ufffd\ufffd", 2)


# -- links and addresses ---------------------------------------------------------------------------------


def test_links() -> None:
    page = (
        "<a name=top></a><A HREF='a.htm'>徐<b>志</b>摩</A><a href=b.htm><img src=x></a>"
        "<a href='c.htm?x=1&amp;y=2'>\r\n 闻 \xa0一多<a href=d.htm>open"
    )
    assert [(link.target, link.text) for link in read_links(page)] == [
        ("a.htm", "徐志摩"),
        ("c.htm?x=1&y=2", "闻 一多"),
        ("d.htm", "open"),
    ]


def test_addresses_of_one_page_are_equal() -> None:
    same = {
        "http://a.cn/x/~y.htm",
        "https://www.a.cn/x/%7Ey.htm",
        "http://A.cn:80/x/%7ey.htm",
    }
    assert {page_key(url) for url in same} == {"a.cn/x/~y.htm"}
    assert page_key("http://a.cn") == page_key("http://a.cn/") != page_key("http://a.cn:81/")
    assert page_key("http://a.cn/?p=1") != page_key("http://a.cn/?p=2")
    assert page_key("http://a.cn/诗.htm") == page_key("http://a.cn/%E8%AF%97.htm")


def test_where_links_lead() -> None:
    base = "http://a.cn/x/index.htm"
    assert resolved(base, " ../y.htm#1 ") == "http://a.cn/y.htm"
    assert resolved(base, "//b.cn/y") == "http://b.cn/y"
    assert [
        resolved(base, link) for link in ("mailto:a@b.cn", "http://[x", "http://:80/", "ftp://a.cn/")
    ] == [None] * 4
    assert place_of(base, "http://a.cn/x/y.htm?z=1") == "y.htm?z=1"
    assert place_of(base, "http://a.cn/y.htm") == "/y.htm"


# -- poems -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("<p>一<br>\r\n二<br>\r\n<br>\r\n三<br>", ("题", "", "一\n二\n\n三")),
        ("<p>一<br/><br/><br/><br/>二<p>三</p>", ("题", "", "一\n\n二\n\n三")),
        ("<P>&nbsp;&nbsp;一&amp;&#20108;\u3000 <BR>\u3000三</P></BODY>", ("题", "", "一&二\u3000\n\u3000三")),
        ("<p>深深\r\n的 在\r\nthe sea\nof<br>", ("题", "", "深深的 在 the sea of")),
        ("<p>一<script>var x = '<p>二';</script><!-- 三 -->四", ("题", "", "一四")),
        ("<p align=center>插图</p><p align='right'>一", ("题", "", "一")),
        ("<p><a name=2>一</a><br>二", ("题", "", "一\n二")),
        ("<p><hr><p>一", None),
        ("<p> <br> &nbsp;", None),
        ("", None),
    ],
)
def test_poems(page: str, found: tuple[str, str, str] | None) -> None:
    """Each behind a title; line breaks of the source are none, so that stanzas can be told from lines."""
    assert read_poems(HEADED + page, SHAPE) == ([] if found is None else [found])


@pytest.mark.parametrize(
    ("title", "read"),
    [
        (
            "<p align=CENTER><b><a name=x>沸热</a></b><br>\r\n  <small>──国庆日晚间<br>作</small>",
            ("沸热", "──国庆日晚间\n作"),
        ),
        ("<p align=center>诗选 <a name=x>沸\r\n热</a>", ("沸热", "")),
        ("<p align=center><a name=x><br>沸热</p>", ("沸热", "")),
        ("<p align=center><a name=x>一</a></p>\n<p align=center><a name=y>沸热</a></p>", ("沸热", "")),
    ],
)
def test_titles(title: str, read: tuple[str, str]) -> None:
    assert read_poems(f"<p>前言</p>{title}<p>行", SHAPE) == [(*read, "行")]


def test_no_title_is_no_poem() -> None:
    assert read_poems("<p align=center><a name=x> </a></p><p>行</p>", SHAPE) == []
    assert read_poems("<p align=center><a name=''>题</a></p><p>行</p>", SHAPE) == []
    assert read_poems("<p>行</p>", SHAPE) == []


TAGS = (
    "<p> </p> <p|align=center> <a|name=1> </a> <br> <hr> <body> </body> <!-- --> <![ <!x ]]> <script> "
    "</script> &#0; &nbsp <p 题 行\n | <a|href='x.htm'> \""
)
tags = st.sampled_from([tag.replace("|", " ") for tag in TAGS.split(" ")])


@given(st.lists(tags, max_size=30).map("".join))
def test_any_page_can_be_read(page: str) -> None:
    for title, epigraph, content in read_poems(page, SHAPE):
        assert title.strip() and "\n" not in title and "\n\n\n" not in content and "\n\n" not in epigraph
        assert content == content.strip("\n")
    assert all(link.text.strip() for link in read_links(page))


def test_elements() -> None:
    assert Element.read("DIV[class=poem]").matches("div", {"class": "big Poem"})
    assert not Element.read("div[class=poem]").matches("div", {"class": "poems"})
    assert not Element.read("a[name]").matches("a", {"href": "x"})
    assert Element.read("h2").matches("h2", {})


# -- robots.txt ------------------------------------------------------------------------------------------

ROBOTS = """\
# all
User-agent: *
Disallow: /private
Disallow: /*.pdf$
Allow: /private/open
Crawl-delay: 3

User-Agent: OtherBot
user-agent: textdiffusion/0.1   # ours
Disallow: /a*b/c
Disallow: /%7Ex
Disallow:
Crawl-delay: soon
Sitemap: http://a.cn/map.xml

User-agent: textdiffusion
Disallow: /z$
"""


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("nobody", "/", True),
        ("nobody", "/privateer", False),
        ("nobody", "/private/open/x", True),
        ("nobody", "/x.pdf", False),
        ("nobody", "/x.pdf?y=1", True),
        ("nobody", "/.pdf.pdf", False),
        ("TextDiffusion", "/private", True),
        ("textdiffusion", "/aXb/c", False),
        ("textdiffusion", "/ab/c/d", False),
        ("textdiffusion", "/acb", True),
        ("textdiffusion", "/~x", False),
        ("textdiffusion", "/z", False),
        ("textdiffusion", "/zz", True),
        ("otherbot", "/z", True),
    ],
)
def test_robots(agent: str, path: str, allowed: bool) -> None:
    assert read_robots(ROBOTS, agent).allows(f"http://a.cn{path}") is allowed


def test_delays_of_robots() -> None:
    assert read_robots(ROBOTS, "nobody").delay == 3.0
    assert read_robots(ROBOTS, "textdiffusion").delay == 0.0
    assert read_robots("User-agent: *\nCrawl-delay: inf", "x").delay == 0.0


@given(st.text("*$/ab", max_size=8), st.text("/ab", max_size=8))
def test_patterns_are_those_of_a_regular_expression(pattern: str, path: str) -> None:
    import re

    body, end = (pattern[:-1], "$") if pattern.endswith("$") else (pattern, "")
    wanted = re.match("".join(".*" if c == "*" else re.escape(c) for c in body) + end, f"/{path}") is not None
    fits = not read_robots(f"User-agent: *\nDisallow: {pattern}", "x").allows(f"http://a.cn/{path}")
    assert fits is (wanted and bool(pattern))


@given(st.text())
def test_any_robots_can_be_read(text: str) -> None:
    read_robots(text, "textdiffusion").allows("http://a.cn/x")
