"""An app on a socket until somebody ends it: first what runs is finished, at a second Ctrl-C all stops."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from ..errors import SettingsError

_BACKLOG = 2048


def listening(host: str, port: int) -> socket.socket:
    """A socket at which the app can be reached; to be made before a model is loaded.

    Raises:
        SettingsError: the port is taken or not allowed, or there is no such host.
    """
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        return socket.create_server(place[:2], family=family, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SettingsError(
            f"cannot listen at port {port} of {host!r} ({reason}); choose another by --port and --host."
        ) from None


def address_of(opened: socket.socket) -> str:
    """The URL of a socket."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: ASGIApp, opened: socket.socket, *, grace: float, proxies: str, log: bool) -> bool:
    """Serve until SIGINT or SIGTERM; whether it ended in peace.

    What runs then has `grace` seconds. `proxies` are addresses whose word for a client's address is taken.
    """
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_level="info" if log else "warning",
        access_log=log,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(grace)),
    )
    server = uvicorn.Server(config)
    with _quiet_signals(), opened:
        server.run(sockets=[opened])
    return not server.force_exit


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Uvicorn raises a signal again when it has done what it asks for, which is here the end of it."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda *_: None) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
