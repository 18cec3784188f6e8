"""A poetry site on this machine, shaped like the real one, that can be slow, broken, looping or no text."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FOLDER = "/xlib/xd/zgsg/"

HEAD = (
    '<HTML><HEAD><META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=gb2312">\r\n'
    "<TITLE>{title}</TITLE><STYLE>p {{ color: black }}</STYLE></HEAD>\r\n<BODY>\r\n"
    '<P align="center"><A HREF="index.htm">诗人</A> | <a href="http://www.example.org/">网站</a></P>\r\n<HR>\r\n'
)
FOOT = '<hr>\r\n<p align=center><a href="index.htm">返回</a></p>\r\n</BODY></HTML>\r\n'


@dataclass
class Reply:
    """What the server answers."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    slow: float = 0.0
    """Seconds before it answers."""
    drip: float = 0.0
    """Seconds after each byte."""
    lacking: int = 0
    """Bytes that are promised and never come."""

    def __post_init__(self) -> None:
        self.headers = {"Content-Type": "text/html", **self.headers}


Answer = Reply | Callable[[int], Reply]
"""What is answered, or a function from the number of the request (from 0) to it."""


def html(text: str, encoding: str = "gb18030", **headers: str) -> Reply:
    """A page of text."""
    return Reply(text.encode(encoding), headers=headers)


def moved(to: str) -> Reply:
    """A redirection."""
    return Reply(status=302, headers={"Location": to})


def index(*links: tuple[str, str]) -> Reply:
    """The index, with links as they are written there."""
    rows = "".join(f'<td><a href="{href}">{name}</a></td>\r\n' for href, name in links)
    return html(HEAD.format(title="中国诗歌库") + f"<table><tr>{rows}</tr></table>" + FOOT)


def poet(name: str, *poems: tuple[str, str]) -> Reply:
    """The page of an author: a list of the titles, and the poems, lines broken by `<br>`."""
    toc = "".join(f'<a href="#{n}">{title}</a> ' for n, (title, _) in enumerate(poems))
    parts = [HEAD.format(title=name), f"<p align=center>{name}诗选</p>\r\n<p>{toc}</p>\r\n<hr>\r\n"]
    for number, (title, content) in enumerate(poems):
        lines = content.replace("\n", "<br>\r\n")
        parts.append(
            f'<p align="center"><a name="{number}"><b>{title}</b></a></p>\r\n<p>{lines}</p>\r\n<hr>\r\n'
        )
    return html("".join(parts) + FOOT)


class PoetrySite:
    """Pages by path, and what was asked for."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.pages: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.agents: set[str] = set()
        self.every_page_takes = 0.0

    @property
    def start(self) -> str:
        """The index."""
        return f"{self.base}{FOLDER}index.htm"

    def counts(self) -> Counter[str]:
        """How often each page was asked for, by its name."""
        return Counter(path.removeprefix(FOLDER) for path in self.asked)

    def add(self, **pages: Answer) -> None:
        """Pages of the folder by name, without .htm."""
        self.pages.update({f"{FOLDER}{name}.htm": answer for name, answer in pages.items()})

    def reply(self, path: str) -> Reply:
        """What is answered now."""
        number = self.asked.count(path)
        self.asked.append(path)
        answer = self.pages.get(path, Reply(b"<h1>404</h1>", 404))
        return answer if isinstance(answer, Reply) else answer(number)


@contextmanager
def serving() -> Iterator[PoetrySite]:
    """The site, while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.agents.add(self.headers["User-Agent"])
            reply = site.reply(self.path)
            time.sleep(reply.slow + site.every_page_takes)
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body) + reply.lacking))
                self.end_headers()
                for piece in [reply.body] if not reply.drip else [bytes([byte]) for byte in reply.body]:
                    self.wfile.write(piece)
                    time.sleep(reply.drip)
            except OSError:
                pass  # the crawler has gone
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = PoetrySite(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
