"""What a server refuses, with which status, and that it is well afterwards."""

import asyncio
import json
import time

import pytest
from serving.toy import held, language_model
from starlette.testclient import TestClient

from textdiffusion.server import ServerSettings
from textdiffusion.serving import Limits

from .service import Service, service

LONG = {"prompt": "the cat", "max_tokens": 20, "steps": 10}
BODY = {"prompt": "the cat", "max_tokens": 3}
COMPLETIONS, CHAT, FILL = "/v1/completions", "/v1/chat/completions", "/v1/fill"


@pytest.fixture(scope="module")
def ours():
    with service(ServerSettings(max_body=20_000, max_texts=4, max_steps=50)) as found:
        yield found
        assert found.client.get("/health").json() == {"status": "ok", "model": "tiny"}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (COMPLETIONS, {**BODY, "temprature": 1.0}, "Did you mean temperature"),
        (COMPLETIONS, {**BODY, "n": 5}, "5 texts"),
        (COMPLETIONS, {**BODY, "steps": 51}, "at most 50"),
        (COMPLETIONS, {**BODY, "steps": "4"}, "steps"),
        (COMPLETIONS, {**BODY, "temperature": float("nan")}, "finite"),
        (COMPLETIONS, {**BODY, "sampler": "confidense"}, "Did you mean confidence"),
        (COMPLETIONS, {**BODY, "threshold": 0.5}, "no setting 'threshold'"),
        (COMPLETIONS, {**BODY, "max_tokens": 1000}, "do not fit"),
        (COMPLETIONS, {**BODY, "max_tokens": "auto"}, "cannot tell"),
        (COMPLETIONS, {**BODY, "frequency_penalty": 0.5}, "repetition_penalty"),
        (COMPLETIONS, {**BODY, "logit_bias": {"3": 1}}, "ban and require"),
        (COMPLETIONS, {**BODY, "best_of": 3}, "n is how many"),
        (COMPLETIONS, {**BODY, "label": "good"}, "--classifier"),
        (COMPLETIONS, {**BODY, "json_schema": "/etc/hostname"}, "json_schema"),
        (COMPLETIONS, {**BODY, "regex": "("}, "regular expression"),
        (COMPLETIONS, {**BODY, "prompt": []}, "empty list"),
        (COMPLETIONS, {**BODY, "prompt": [10**6]}, "none of the model's"),
        (COMPLETIONS, {**BODY, "prompt": "\ud800"}, "surrogate"),
        (COMPLETIONS, {**BODY, "\ud800": 1}, "surrogate"),
        (COMPLETIONS, {"prompt": "the cat", "suffix": "mat"}, "max_tokens"),
        (COMPLETIONS, {"max_tokens": 3}, "prompt"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": [{"role": "robot", "content": "x"}]}, "role"),
        (CHAT, {"messages": [{"role": "user", "content": "x"}], "tools": [{}]}, "calls no tools"),
        (CHAT, {"messages": [{"role": "user", "content": "x"}], "top_logprobs": 2}, "set logprobs"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2, "max_completion_tokens": 3},
            "one of",
        ),
        (
            CHAT,
            {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_object"}},
            "type",
        ),
        (FILL, {"text": "the cat"}, "no hole"),
        (FILL, {"text": "the [MASK:9999999]"}, "holds 64"),
        (FILL, {"text": f"the [MASK:{'9' * 5000}]"}, "longer than any text"),
        (FILL, {"tokens": [3, 4]}, "no hole"),
        (FILL, {}, "one of them"),
        (FILL, {"text": "the ____", "stop": "x"}, "stop"),
    ],
)
def test_bad_requests_say_what_is_wrong(ours: Service, path: str, body: dict, said: str) -> None:
    found = ours.client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert found.status_code == 400, found.text
    error = found.json()["error"]
    assert said in error["message"] and "\n" not in error["message"]
    assert error["type"] == "invalid_request_error"


def test_values_that_ask_for_nothing_are_taken(ours: Service) -> None:
    ours.complete(
        max_tokens=2,
        frequency_penalty=0.0,
        presence_penalty=0,
        logit_bias={},
        best_of=1,
        user="x",
        stop=None,
        n=None,
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 10_000, b"1" * 5_000])
def test_malformed_bodies(ours: Service, content: bytes) -> None:
    for headers in ({"Content-Type": "application/json"}, {"Content-Type": "text/plain"}, {}):
        found = ours.client.post(COMPLETIONS, content=content, headers=headers)
        assert found.status_code == 400, found.text
        assert set(found.json()["error"]) == {"message", "type", "param", "code"}


def test_oversized_bodies_with_and_without_a_length(ours: Service) -> None:
    large = json.dumps({"prompt": "the cat " * 10_000}).encode()
    parts = (large[i : i + 1000] for i in range(0, len(large), 1000))
    for content in (large, parts):
        found = ours.client.post(COMPLETIONS, content=content, headers={"Content-Type": "application/json"})
        assert found.status_code == 413
        assert "too large" in found.json()["error"]["message"]


def test_unknown_models_and_addresses(ours: Service) -> None:
    assert ours.refused(COMPLETIONS, 404, **BODY, model="tinny")["code"] == "model_not_found"
    assert ours.client.get("/v1/models/tiny").json()["id"] == "tiny"
    assert ours.client.get("/v1/models/other").status_code == 404
    assert [one["id"] for one in ours.client.get("/v1/models").json()["data"]] == ["tiny"]
    assert ours.client.get("/nowhere").json()["error"]["type"] == "invalid_request_error"
    assert ours.client.get(COMPLETIONS).status_code == 405


def test_no_page_is_loaded_from_elsewhere(ours: Service) -> None:
    assert ours.client.get("/docs").status_code == ours.client.get("/redoc").status_code == 404
    assert ours.client.get("/openapi.json").json()["openapi"]


def test_keys() -> None:
    with service(keys=["first", "second"]) as found:
        assert found.refused(COMPLETIONS, 401, **BODY)["code"] == "invalid_api_key"
        for key, status in (("first", 200), ("second", 200), ("third", 401), ("", 401)):
            headers = {"Authorization": f"Bearer {key}"}
            assert found.client.post(COMPLETIONS, json=BODY, headers=headers).status_code == status
            assert found.client.get("/metrics", headers=headers).status_code == status
        assert found.client.get("/health").status_code == 200


def test_a_rate_is_kept_for_each_client() -> None:
    with service(ServerSettings(rate=2.0), keys=["a", "b"]) as found:
        for key in "ab":
            headers = {"Authorization": f"Bearer {key}"}
            asked = [found.client.post(COMPLETIONS, json=BODY, headers=headers) for _ in range(3)]
            assert [one.status_code for one in asked] == [200, 200, 429]
            assert 20 < int(asked[-1].headers["Retry-After"]) <= 30
            assert found.client.get("/v1/models", headers=headers).status_code == 200


def test_cors_is_off_until_it_is_asked_for(ours: Service) -> None:
    headers = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in ours.client.get("/health", headers=headers).headers
    with service(ServerSettings(cors_origin=("https://example.org",)), keys=["a"]) as found:
        assert (
            found.client.get("/health", headers=headers).headers["access-control-allow-origin"]
            == "https://example.org"
        )
        wanted = {
            **headers,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        assert found.client.options(COMPLETIONS, headers=wanted).status_code == 200
        assert (
            found.client.options(COMPLETIONS, headers={**wanted, "Origin": "https://else.org"}).status_code
            == 400
        )


async def asked(app, body: dict, *, leaves: asyncio.Event | None = None) -> tuple[int, dict[str, str]]:
    """Status and headers of a request, made by a client that may leave."""
    sent, found = False, {}

    async def receive():
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}
        await (leaves or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            found["status"] = message["status"]
            found["headers"] = {k.decode(): v.decode() for k, v in message["headers"]}

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST",
        "path": COMPLETIONS,
        "raw_path": COMPLETIONS.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
    await app(scope, receive, send)
    return found.get("status", 0), found.get("headers", {})


def until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_full_queue_and_too_many_at_once() -> None:
    lm = language_model()
    door = held(lm)
    with service(ServerSettings(concurrency=3), lm=lm, limits=Limits(running=1, queue=1)) as found:

        async def crowd():
            first = asyncio.create_task(asked(found.app, BODY))
            await asyncio.to_thread(door.wait)
            second = asyncio.create_task(asked(found.app, BODY))
            await asyncio.to_thread(until, lambda: found.engine.metrics().queued == 1)
            full = await asked(found.app, BODY)
            door.allow()
            return full, await first, await second

        full, first, second = asyncio.run(crowd())
        assert full[0] == 503 and full[1]["retry-after"] == "1"
        assert (first[0], second[0]) == (200, 200)
    lm = language_model()
    door = held(lm)
    with service(ServerSettings(concurrency=1), lm=lm) as found:

        async def two():
            first = asyncio.create_task(asked(found.app, BODY))
            await asyncio.to_thread(door.wait)
            second = await asked(found.app, BODY)
            door.allow()
            return await first, second

        first, second = asyncio.run(two())
        assert (first[0], second[0]) == (200, 429) and "retry-after" in second[1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_gives_its_request_up(stream: bool) -> None:
    lm = language_model()
    door = held(lm)
    with service(lm=lm) as found:

        async def leaving():
            leaves = asyncio.Event()
            body = {**LONG, "stream": stream, "n": 2}
            asking = asyncio.create_task(asked(found.app, body, leaves=leaves))
            await asyncio.to_thread(door.wait)
            leaves.set()
            await asyncio.wait_for(asking, 20)

        asyncio.run(leaving())
        door.allow()
        until(lambda: found.engine.metrics().cancelled == 2)
        assert found.engine.metrics().running == found.engine.metrics().queued == 0
        assert found.complete(max_tokens=2)["text"] is not None


def test_deadlines_and_a_closed_engine() -> None:
    lm = language_model()
    door = held(lm)
    with service(lm=lm, limits=Limits(seconds=1.0)) as found:

        async def late():
            asking = asyncio.create_task(asked(found.app, LONG))
            await asyncio.to_thread(door.wait)
            await asyncio.sleep(1.1)
            door.allow()
            return await asking

        assert asyncio.run(late())[0] == 504
        found.engine.close()
        assert found.refused(COMPLETIONS, 503, **BODY)["code"] == "closed"
        assert found.client.get("/health").status_code == 503


def test_the_engine_is_closed_with_the_app() -> None:
    with service() as found:
        with TestClient(found.app):
            assert found.engine.is_open
        assert not found.engine.is_open


def test_an_error_in_a_stream_is_told_in_it() -> None:
    lm = language_model()
    door = held(lm)
    with service(lm=lm, limits=Limits(seconds=0.2)) as found:
        door.allow(1)

        async def late():
            asking = asyncio.create_task(
                asyncio.to_thread(found.events, COMPLETIONS, **LONG, stream_steps=True)
            )
            await asyncio.to_thread(door.wait)
            await asyncio.to_thread(door.wait)
            await asyncio.sleep(0.3)
            door.allow()
            return await asking

        events = asyncio.run(late())
        assert events[-1][1]["error"]["code"] == "deadline_passed"


def test_metrics_are_prometheus(ours: Service) -> None:
    ours.complete(max_tokens=2)
    found = ours.client.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = dict(line.rsplit(" ", 1) for line in found.text.splitlines() if not line.startswith("#"))
    metrics = ours.engine.metrics()
    assert float(values["textdiffusion_finished_total"]) + float(values["textdiffusion_cancelled_total"]) > 0
    assert int(values["textdiffusion_passes_total"]) == metrics.passes
    assert int(values[f'textdiffusion_http_answers_total{{path="{COMPLETIONS}",status="200"}}']) >= 1
    assert float(values['textdiffusion_took_seconds{quantile="0.95"}']) > 0.0
    assert all(name.split("{")[0].replace("_", "").isalpha() for name in values)
