"""An HTTP server over the engine: the endpoints of OpenAI's interface, and what diffusion adds to it."""

from .app import make_app as make_app
from .settings import ServerSettings as ServerSettings

__all__ = ["ServerSettings", "make_app"]
