"""Other people's software: the openai client as it is, and requests made up of the schema."""

import threading
from collections.abc import Iterator

import pytest
import uvicorn

from textdiffusion.server import ServerSettings
from textdiffusion.server.running import address_of, listening

from .service import Service, service

BODY = {"model": "tiny", "prompt": "the cat", "max_tokens": 8, "seed": 3}
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "the cat"}], "max_tokens": 8, "seed": 3}


@pytest.fixture(scope="module")
def ours() -> Iterator[Service]:
    """A service at a port of this machine."""
    with service(ServerSettings(max_steps=64), keys=["secret"]) as found, listening("127.0.0.1", 0) as opened:
        server = uvicorn.Server(uvicorn.Config(found.app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        found.extra["url"] = address_of(opened)
        yield found
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def client(ours: Service):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{ours.extra['url']}/v1", api_key="secret", max_retries=0) as found:
        yield found


def test_completions(ours: Service, client) -> None:
    assert [one.id for one in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    expected = ours.lm.generate("the cat", length=8, seed=3).text
    found = client.completions.create(**BODY, logprobs=1, n=2)
    assert found.choices[0].text == expected
    assert len(found.choices[1].logprobs.tokens) == 8
    parts = list(client.completions.create(**BODY, stream=True, stream_options={"include_usage": True}))
    assert "".join(part.choices[0].text for part in parts if part.choices) == expected
    assert parts[-1].usage.completion_tokens == 8
    assert client.completions.create(**BODY, extra_body={"sampler": "confidence", "steps": 4}).choices[0].text


def test_a_suffix(ours: Service, client) -> None:
    found = client.completions.create(**{**BODY, "prompt": "the ", "suffix": " on the mat"}).choices[0].text
    assert found.strip() in ours.lm.fill("the [MASK:8] on the mat", seed=3).text


def test_chat(ours: Service, client) -> None:
    expected = ours.lm.chat(CHAT["messages"], length=8, seed=3).text
    found = client.chat.completions.create(**CHAT, logprobs=True)
    assert found.choices[0].message.content == expected
    assert len(found.choices[0].logprobs.content) == 8
    parts = client.chat.completions.create(**CHAT, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == expected


def test_errors_are_those_of_the_client(client) -> None:
    openai = pytest.importorskip("openai")
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'"):
        client.completions.create(**{**BODY, "model": "gpt-4"})
    with pytest.raises(openai.BadRequestError, match="repetition_penalty"):
        client.completions.create(**BODY, frequency_penalty=1.0)
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").completions.create(**BODY)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
def test_made_up_requests_leave_the_server_healthy() -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    with service(ServerSettings(max_steps=8, max_texts=4)) as found:
        schema = schemathesis.openapi.from_asgi("/openapi.json", found.app)
        asked = 0
        for operation in schema.get_all_operations():
            one = operation.ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                @settings(
                    max_examples=30,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                    deadline=None,
                )
                @given(case=one.as_strategy(generation_mode=mode))
                def check(case) -> None:
                    nonlocal asked
                    asked += 1
                    case.call_and_validate(checks=checks)

                if mode is GenerationMode.POSITIVE or one.body:
                    check()
        assert asked > 200
        assert found.client.get("/health").status_code == 200
        assert found.engine.metrics().running == 0
