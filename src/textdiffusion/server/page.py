"""The playground: the page at /, with its style and scripts beside it."""

from importlib.resources import files
from typing import Any

from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

FOLDER = "static"
"""Where the files are in this package, and under which address the browser finds them."""
INDEX = "index.html"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked again each time, so that page and server are of one version
}


class _Files(StaticFiles):
    """Files that say what a page may load: nothing from elsewhere."""

    def file_response(self, *given: Any, **named: Any) -> Response:
        response = super().file_response(*given, **named)
        response.headers.update(HEADERS)
        return response


def routes() -> list[BaseRoute]:
    """The page and its files. Nothing else is answered here, so that a wrong address stays one."""
    folder = str(files(__package__).joinpath(FOLDER))

    async def index(request: Any) -> Response:
        return FileResponse(f"{folder}/{INDEX}", headers=HEADERS)

    return [Route("/", index), Mount(f"/{FOLDER}", _Files(directory=folder))]
