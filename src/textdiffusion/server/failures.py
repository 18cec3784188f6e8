"""Whatever goes wrong as an answer in OpenAI's form: a status, and an object that says what and where."""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..errors import (
    Cancelled,
    DataError,
    DeadlinePassed,
    EngineClosed,
    EngineError,
    EngineFull,
    IncompatibleError,
    SettingsError,
    TextDiffusionError,
    UnknownNameError,
)
from ..registry import did_you_mean

logger = logging.getLogger(__name__)
CLIENT_GONE = 499
"""Status of an answer that nobody reads any more."""


@dataclass(frozen=True)
class Failure:
    """One refusal."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    """Field of the request that it is about."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The object that clients know."""
        said = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": said}

    @property
    def response(self) -> Response:
        """The answer; in ASCII, as a message may repeat what no encoding writes."""
        return Response(json.dumps(self.body), self.status, dict(self.headers), "application/json")


class ErrorObject(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer but those of success."""

    error: ErrorObject


class Refused(Exception):
    """A failure on its way to the client."""

    def __init__(self, failure: Failure) -> None:
        """Say which."""
        super().__init__(failure.message)
        self.failure = failure


_LATER = {"Retry-After": "1"}
_KINDS: Sequence[tuple[type[TextDiffusionError], int, str, str, Mapping[str, str]]] = (
    (EngineFull, 503, "server_error", "queue_full", _LATER),
    (EngineClosed, 503, "server_error", "closed", _LATER),
    (DeadlinePassed, 504, "server_error", "deadline_passed", {}),
    (Cancelled, CLIENT_GONE, "server_error", "cancelled", {}),
    (EngineError, 500, "server_error", "engine_failed", {}),
    (UnknownNameError, 400, "invalid_request_error", "unknown_name", {}),
    (SettingsError, 400, "invalid_request_error", "invalid_value", {}),
    (IncompatibleError, 400, "invalid_request_error", "incompatible", {}),
    (DataError, 400, "invalid_request_error", "invalid_value", {}),
)
"""Status, type and code of our own errors; the first that fits counts."""


def failure_of(error: BaseException) -> Failure:
    """What a client is told of an error; of one that was not foreseen nothing but that."""
    if isinstance(error, Refused):
        return error.failure
    for kind, status, name, code, headers in _KINDS:
        if isinstance(error, kind):
            return Failure(status, " ".join(str(error).split()), name, code, headers=headers)
    logger.error("a request has failed", exc_info=error)
    return Failure(500, "the server has failed; its log says why.", "server_error", "internal_error")


def answer_failures(app: FastAPI, bodies: Mapping[str, type[BaseModel]]) -> None:
    """Let an app answer every error in this form; `bodies` are what its addresses take."""

    async def ours(request: Request, error: Exception) -> Response:
        return failure_of(error).response

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = _SAID.get(error.status_code, str(error.detail))
        return Failure(error.status_code, said, headers=error.headers or {}).response

    async def of_form(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        body = bodies.get(request.url.path)
        return _form_failure(error.errors()[0], () if body is None else body.model_fields).response

    app.add_exception_handler(TextDiffusionError, ours)
    app.add_exception_handler(Refused, ours)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_form)
    app.add_exception_handler(Exception, ours)


TOO_LARGE = "the body is too large; send less at a time."
_SAID: Mapping[int, str] = {
    HTTPStatus.NOT_FOUND: "there is nothing at this address; see /openapi.json.",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address takes another method; see /openapi.json.",
    HTTPStatus.BAD_REQUEST: "the body cannot be read; send an object in JSON.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TOO_LARGE,
}


def _form_failure(fault: Mapping[str, Any], known: Collection[str]) -> Failure:
    """The first thing that is wrong with a body, of which these keys are `known`."""
    where = [str(part) for part in fault["loc"] if part != "body"]
    place = ".".join(where) or None
    code, said = str(fault["type"]), str(fault["msg"]).removeprefix("Value error, ").rstrip(".")
    match code:
        case "extra_forbidden":
            near = did_you_mean(where[0], known) if len(where) == 1 else ""
            return Failure(400, f"unknown key {place!r}.{near}", code=code, param=place)
        case "json_invalid":
            return Failure(400, f"the body is no JSON ({fault['ctx']['error']}).", code=code)
        case "missing" if place is None:
            return Failure(400, "the body is empty; send an object in JSON.", code=code)
    at = f"{place}: " if place else ""
    return Failure(400, f"{at}{said}.", code=code, param=place)
