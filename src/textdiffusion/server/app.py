"""The app: endpoints around one engine."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from ..language_model import DiffusionLM
from ..serving import Engine
from . import chat, completions, fill, offers, page
from .desk import Desk, Guides
from .failures import ErrorBody, Failure, Refused, answer_failures
from .guards import Guard
from .prometheus import MEDIA_TYPE, exposition
from .protocol import ChatRequest, CompletionRequest, FillRequest
from .settings import ServerSettings

_BODIES: Mapping[str, type[BaseModel]] = {
    completions.PATH: CompletionRequest,
    chat.PATH: ChatRequest,
    fill.PATH: FillRequest,
}
_ALONE = ("/", "/health", "/metrics", "/v1/models", offers.PATH, "/openapi.json")
_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


class Model(BaseModel):
    """The model that is served."""

    id: str
    object: str
    created: int
    owned_by: str


class Models(BaseModel):
    """All models that are served: one."""

    object: str
    data: list[Model]


def make_app(
    lm: DiffusionLM,
    engine: Engine,
    settings: ServerSettings | None = None,
    *,
    keys: Collection[str] = (),
    guides: Guides | None = None,
) -> FastAPI:
    """The app that serves `lm` by its `engine`, which it closes when it shuts down.

    With `keys` clients must give one of them. `guides` makes classifiers of labels, for guidance.
    """
    allowed = ServerSettings() if settings is None else settings
    desk, answers = Desk(lm, engine, allowed, guides), Counter[tuple[str, int]]()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(lambda: engine.close(drain=False))

    app = FastAPI(
        title="textdiffusion",
        description="Diffusion language models by OpenAI's interface, and what diffusion adds to it.",
        lifespan=lifespan,
        docs_url=None,  # these pages load their scripts from elsewhere
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )
    answer_failures(app, _BODIES)
    for endpoint in (completions, chat, fill, offers):
        app.include_router(endpoint.routes(desk))
    app.include_router(_about(desk, answers))
    app.router.routes.extend(page.routes())
    app.add_middleware(
        Guard,
        settings=allowed,
        keys=keys,
        answers=answers,
        paths=[*_BODIES, *_ALONE],  # type: ignore[arg-type, unused-ignore]
    )
    if allowed.cors_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed.cors_origin,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    return app


def _about(desk: Desk, answers: Counter[tuple[str, int]]) -> APIRouter:
    """What is served, and how it goes."""
    router, begun = APIRouter(), int(time.time())
    model = Model(id=desk.model, object="model", created=begun, owned_by="textdiffusion")

    @router.get("/v1/models")
    async def models() -> Models:
        """The models that are served."""
        return Models(object="list", data=[model])

    @router.get("/v1/models/{name:path}")
    async def model_of(name: str) -> Model:
        """One model by its name."""
        desk.check_model(name)
        return model

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Whether requests are taken."""
        if not desk.engine.is_open:
            raise Refused(Failure(503, "the engine takes no requests.", "server_error", "closed"))
        return {"status": "ok", "model": desk.model}

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(exposition(desk.engine.metrics(), answers), media_type=MEDIA_TYPE)

    return router
