"""The same app on several machines: replicas of Ray Serve, each with a model and an engine of its own."""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI

from ..errors import IncompatibleError
from ..language_model import load
from ..serving import Engine, Limits
from .app import make_app
from .settings import ServerSettings


def deployment(
    model: str = "starter",
    *,
    replicas: int = 1,
    settings: ServerSettings | None = None,
    limits: Limits | None = None,
    keys: Collection[str] = (),
    **options: Any,
) -> Any:
    """An application for ``ray.serve.run``; `options` are those of ``ray.serve.deployment``.

    Requests go to any of the replicas. A seed gives its text on each of them; rates, requests at once and
    metrics are those of a replica.

    Raises:
        IncompatibleError: Ray Serve is not installed.
    """
    try:
        from ray import serve
    except ImportError:
        raise IncompatibleError(
            "more than one machine needs Ray Serve; run `pip install 'textdiffusion[server,ray]'`."
        ) from None
    bounds, held = Limits() if limits is None else limits, tuple(keys)
    options.setdefault("max_ongoing_requests", bounds.queue + bounds.running)

    # A lambda, as it has to travel: it names what is built, and the replica's own module builds it.
    ingress = serve.ingress(lambda: _built(model, settings, bounds, held))
    return serve.deployment(name="textdiffusion", num_replicas=replicas, **options)(ingress()).bind()


def _built(model: str, settings: ServerSettings | None, limits: Limits, keys: tuple[str, ...]) -> FastAPI:
    """The app of a replica."""
    lm = load(model)
    return make_app(lm, Engine(lm, limits), settings, keys=keys)
