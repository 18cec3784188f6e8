"""The texts that a server gives are those of the library, whole and streamed, whatever is asked of them."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.toy import PROMPTS, language_model

from textdiffusion.samplers import SAMPLERS

from .service import Service, service

pytestmark = pytest.mark.filterwarnings("error")
CHAT = [{"role": "user", "content": "the cat sat"}]
KEEPING = [name for name, row in SAMPLERS.items() if row.sampler.keeps(language_model().process(row.sampler))]


@pytest.fixture(scope="module")
def ours():
    with service() as found:
        yield found


def streamed(found: Service, path: str, number: int = 0, **body) -> tuple[str, list[str]]:
    """The text of a choice in a stream, and its parts."""
    parts = []
    events = found.events(path, **body)
    assert events[-1] == ("", "[DONE]")
    for name, data in events[:-1]:
        assert name in ("", "step")
        if name == "" and data["choices"] and data["choices"][0]["index"] == number:
            choice = data["choices"][0]
            parts.append(choice["delta"].get("content", "") if "delta" in choice else choice["text"])
    return "".join(parts), parts


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_completion_is_what_the_library_generates(ours: Service, prompt: str) -> None:
    expected = ours.lm.generate(prompt, length=7, seed=3, steps=4).text
    choice = ours.complete(prompt, max_tokens=7, seed=3, steps=4)
    assert choice["text"] == expected
    assert choice["finish_reason"] == "length"
    assert streamed(ours, "/v1/completions", prompt=prompt, max_tokens=7, seed=3, steps=4)[0] == expected


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_streams_of_every_sampler_join_to_the_text(ours: Service, sampler: str) -> None:
    body = {"prompt": "the cat", "max_tokens": 9, "seed": 5, "sampler": sampler, "block_size": 3}
    if sampler == "autoregressive":
        body["block_size"] = 1
    expected = ours.lm.generate(
        "the cat", length=9, seed=5, sampler=sampler, block_size=body["block_size"]
    ).text
    assert streamed(ours, "/v1/completions", **body)[0] == expected


@pytest.mark.parametrize("sampler", ["confidence", "refine", "autoregressive"])
def test_text_comes_as_it_settles_or_block_by_block(ours: Service, sampler: str) -> None:
    body = {"prompt": "the cat", "max_tokens": 9, "seed": 5, "sampler": sampler, "regex": "[a-z]+"}
    size = {} if sampler == "autoregressive" else {"block_size": 3}
    text, parts = streamed(ours, "/v1/completions", **body, **size)
    assert text == ours.complete(**body, **size)["text"]
    assert len([part for part in parts if part]) > 2


def test_samplers_that_take_back_stream_no_token_before_it_is_final() -> None:
    assert set(KEEPING) >= {"ancestral", "confidence", "threshold", "first-hitting", "autoregressive"}
    assert not set(KEEPING) & {
        "edit",
        "refine",
        "remdm-cap",
        "any-position",
        "entropy-renoise",
        "psi",
        "guide",
    }


@settings(max_examples=10)
@given(
    sampler=st.sampled_from(list(SAMPLERS)),
    block=st.sampled_from([None, 2, 4]),
    seed=st.integers(0, 10**6),
    prompt=st.sampled_from(PROMPTS),
)
def test_what_is_final_does_not_change(sampler: str, block: int | None, seed: int, prompt: str) -> None:
    lm = language_model()
    options = {
        "sampler": sampler,
        **({} if block is None or sampler == "autoregressive" else {"block_size": block}),
    }
    frames = list(
        lm.stream(lm.continuation([prompt], length=8, seeds=[seed], decoding=lm.decoding(None, options)))
    )
    last = frames[-1]
    for frame in frames:
        assert (frame.tokens == last.tokens)[frame.final].all()
    for before, after in pairwise(frames):
        assert not (before.final & ~after.final).any()
    assert last.final.all()


def test_choices_have_seeds_that_follow_each_other(ours: Service) -> None:
    found = ours.ask("/v1/completions", prompt=["the cat", "the dog"], n=2, max_tokens=5, seed=8)
    told = [(one["index"], one["seed"], one["text"]) for one in found["choices"]]
    prompts = ["the cat", "the cat", "the dog", "the dog"]
    expected = [
        (i, 8 + i % 2, ours.lm.generate(prompt, length=5, seed=8 + i % 2).text)
        for i, prompt in enumerate(prompts)
    ]
    assert told == expected
    given_tokens = sum(len(ours.lm.format.prompt(prompt)) for prompt in ("the cat", "the dog"))
    assert found["usage"] == {
        "prompt_tokens": given_tokens,
        "completion_tokens": 20,
        "total_tokens": given_tokens + 20,
    }


def test_a_seed_that_was_drawn_is_told(ours: Service) -> None:
    choice = ours.complete(max_tokens=6)
    assert ours.complete(max_tokens=6, seed=choice["seed"])["text"] == choice["text"]
    assert ours.complete(max_tokens=6)["seed"] != choice["seed"]


def test_a_suffix_is_filling(ours: Service) -> None:
    filled = ours.lm.fill("the [MASK:4] on the mat", seed=2).text
    choice = ours.complete("the ", suffix=" on the mat", max_tokens=4, seed=2)
    assert filled.startswith("the") and filled.endswith(" on the mat")
    assert choice["text"].strip() == filled[len("the") : -len(" on the mat")].strip()
    assert choice["finish_reason"] == "stop"
    body = {"prompt": "the ", "suffix": " on the mat", "max_tokens": 4, "seed": 2}
    assert streamed(ours, "/v1/completions", **body)[0] == choice["text"]


def test_what_looks_like_a_hole_is_text_in_a_suffix(ours: Service) -> None:
    found = ours.ask("/v1/completions", prompt="the __cat__ [MASK]", suffix="____", max_tokens=3, seed=1)
    assert found["usage"]["completion_tokens"] == 3


def test_ids_are_a_prompt(ours: Service) -> None:
    ids = ours.lm.format.prompt("the cat")
    assert ours.complete(ids, max_tokens=6, seed=4)["text"] == ours.complete(max_tokens=6, seed=4)["text"]
    texts = ours.ask("/v1/completions", prompt=[ids, ids], max_tokens=6, seed=4)["choices"]
    assert len({one["text"] for one in texts}) == 1


def test_echo_gives_the_prompt_back(ours: Service) -> None:
    plain = ours.complete(max_tokens=6, seed=4)["text"]
    assert ours.complete(max_tokens=6, seed=4, echo=True)["text"] == "the cat" + plain
    assert (
        streamed(ours, "/v1/completions", prompt="the cat", max_tokens=6, seed=4, echo=True)[0]
        == "the cat" + plain
    )


@settings(max_examples=8)
@given(
    seed=st.integers(0, 200),
    start=st.integers(0, 20),
    size=st.integers(1, 4),
    sampler=st.sampled_from(["random", "edit"]),
)
def test_a_stop_cuts_the_text(ours: Service, seed: int, start: int, size: int, sampler: str) -> None:
    whole = ours.lm.generate("the cat", length=8, seed=seed, sampler=sampler).text
    stop = whole[start : start + size] or "never said"
    body = {
        "prompt": "the cat",
        "max_tokens": 8,
        "seed": seed,
        "sampler": sampler,
        "stop": [stop, "never said"],
    }
    expected = whole.split(stop)[0]
    choice = ours.complete(**body)
    assert choice["text"] == expected
    assert choice["finish_reason"] == ("stop" if stop in whole else "length")
    assert streamed(ours, "/v1/completions", **body)[0] == expected


def test_logprobs_are_the_confidence_of_the_last_frame(ours: Service) -> None:
    task = ours.lm.continuation(
        ["the cat"], length=6, seeds=[1], decoding=ours.lm.decoding(None, {"steps": 3})
    )
    last = list(ours.lm.stream(task))[-1]
    expected = last.confidence[task.canvas.editable].log().tolist()
    body = {"prompt": "the cat", "max_tokens": 6, "seed": 1, "steps": 3, "logprobs": 2}
    choice = ours.complete(**body)
    told = choice["logprobs"]
    assert told["token_logprobs"] == pytest.approx(expected, rel=1e-4)
    assert "".join(told["tokens"]) == choice["text"]
    assert all(
        choice["text"][at:].startswith(token)
        for at, token in zip(told["text_offset"], told["tokens"], strict=True)
    )
    assert all(0 < len(top) <= 2 and max(top.values()) <= 0.0 for top in told["top_logprobs"])
    events = ours.events("/v1/completions", **body)
    parts = [data["choices"][0]["logprobs"]["tokens"] for _, data in events[:-1]]
    assert [token for part in parts for token in part] == told["tokens"]


def test_logprobs_are_refused_where_they_mean_nothing(ours: Service) -> None:
    error = ours.refused("/v1/completions", 400, prompt="the", max_tokens=3, logprobs=1, sampler="edit")
    assert "more than once" in error["message"]
    assert ours.complete(max_tokens=3, logprobs=0)["logprobs"]["top_logprobs"] is None


def test_constraints_and_guidance_are_extensions(ours: Service) -> None:
    assert (
        ours.complete("", max_tokens=6, regex="(cat|dog)+", seed=1)["text"]
        .replace("cat", "")
        .replace("dog", "")
        == ""
    )
    guided = ours.lm.generate("the cat", length=5, seed=1, guidance_scale=2.0).text
    assert ours.complete(max_tokens=5, seed=1, guidance_scale=2.0)["text"] == guided


def test_a_chat_is_the_librarys(ours: Service) -> None:
    expected = ours.lm.chat(CHAT, length=8, seed=3).text
    found = ours.ask(
        "/v1/chat/completions", messages=CHAT, max_tokens=8, seed=3, logprobs=True, top_logprobs=1
    )
    (choice,) = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": expected, "refusal": None}
    content = choice["logprobs"]["content"]
    assert "".join(one["token"] for one in content).strip() == expected
    assert all(
        bytes(one["bytes"]).decode() == one["token"] and len(one["top_logprobs"]) == 1 for one in content
    )
    text, parts = streamed(ours, "/v1/chat/completions", messages=CHAT, max_tokens=8, seed=3)
    assert text == expected and parts[0] == ""


def test_without_a_length_an_answer_is_as_long_as_in_a_chat(ours: Service) -> None:
    expected = ours.lm.chat(CHAT, seed=3).text
    assert (
        ours.ask("/v1/chat/completions", messages=CHAT, seed=3)["choices"][0]["message"]["content"]
        == expected
    )


def test_parts_and_the_developer_are_understood(ours: Service) -> None:
    plain = [{"role": "system", "content": "the mat"}, *CHAT]
    parts = [
        {"role": "developer", "content": "the mat"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "the cat"}, {"type": "text", "text": " sat"}],
            "name": "x",
        },
    ]
    one, other = (
        ours.ask("/v1/chat/completions", messages=messages, max_tokens=5, seed=1)["choices"][0]["message"]
        for messages in (plain, parts)
    )
    assert one == other


def test_a_response_format_is_a_constraint(ours: Service) -> None:
    schema = {"enum": ["cat", "dog"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "pet", "schema": schema}}
    found = ours.ask("/v1/chat/completions", messages=CHAT, max_tokens=5, response_format=wanted, seed=1)
    assert found["choices"][0]["message"]["content"] in ('"cat"', '"dog"')
    plain = ours.ask(
        "/v1/chat/completions", messages=CHAT, max_tokens=5, response_format={"type": "text"}, seed=1
    )
    assert plain["choices"][0]["message"]["content"] == ours.lm.chat(CHAT, length=5, seed=1).text


def test_holes_are_filled(ours: Service) -> None:
    text = "the ____ sat on [MASK:2] mat"
    expected = ours.lm.fill(text, seed=7)
    found = ours.ask("/v1/fill", text=text, seed=7)["choices"][0]
    assert found["text"] == expected.text
    events = ours.events("/v1/fill", text=text, seed=7)
    assert events[-2][1]["choices"][0]["text"] == expected.text


def test_tokens_of_a_step_can_be_written_anew(ours: Service) -> None:
    body = {"prompt": "the cat", "max_tokens": 6, "seed": 1}
    steps = [
        data for name, data in ours.events("/v1/completions", stream_steps=True, **body) if name == "step"
    ]
    tokens = steps[-1]["tokens"]
    holes = [None if place in (3, 4) else id for place, id in enumerate(tokens)]
    found = ours.ask("/v1/fill", tokens=holes, seed=2)["choices"][0]
    assert len(found["tokens"]) == len(tokens)
    assert all(
        new == old
        for place, (new, old) in enumerate(zip(found["tokens"], tokens, strict=True))
        if place not in (3, 4)
    )
    assert ours.lm.format.mask_id not in found["tokens"]
    assert found["text"] == ours.lm.format.decode(found["tokens"])


def test_steps_hold_what_a_page_draws(ours: Service) -> None:
    body = {"prompt": "the cat", "max_tokens": 6, "seed": 1, "steps": 3, "alternatives": 4}
    events = ours.events("/v1/completions", stream_steps=True, **body)
    steps = [data for name, data in events if name == "step"]
    task = ours.lm.continuation(
        ["the cat"], length=6, seeds=[1], decoding=ours.lm.decoding(None, {"steps": 3})
    )
    frames = list(ours.lm.stream(task))
    assert [one["step"] for one in steps] == [frame.step for frame in frames]
    assert [one["tokens"] for one in steps] == [frame.tokens[0].tolist() for frame in frames]
    assert [one["nfe"] for one in steps] == [frame.nfe for frame in frames]
    assert steps[0]["noise"] == 1.0 and steps[-1]["noise"] == 0.0
    first, last = steps[0], steps[-1]
    assert first["roles"] == ["editable" if free else "prompt" for free in task.canvas.editable[0].tolist()]
    written = first["roles"].index("editable")
    assert all(piece is None for piece in first["pieces"][written:])
    assert first["alternatives"][0] == [] and not any(first["alternatives"])
    assert all(len(shown) == 4 for shown in last["alternatives"][written:])
    for shown in last["alternatives"][written:]:
        chances = [chance for _, chance in shown]
        assert chances == sorted(chances, reverse=True) and math.fsum(chances) <= 1.0 + 1e-5
    assert all(0.0 < one <= 1.0 for one in last["confidence"][written:])


def test_usage_ends_a_stream_if_asked(ours: Service) -> None:
    body = {"prompt": "the cat", "max_tokens": 6, "seed": 1}
    events = ours.events("/v1/completions", stream_options={"include_usage": True}, **body)
    assert events[-2][1]["choices"] == []
    assert events[-2][1]["usage"] == ours.ask("/v1/completions", **body)["usage"]


def test_a_length_that_is_read_is_that_of_the_library() -> None:
    lm = language_model(block_size=4)
    lm.settings = type(lm.settings)(length=64, learns_end=True)
    expected = lm.generate("the cat", length="auto", seed=3).text
    with service(lm=lm) as found:
        assert found.complete(max_tokens="auto", seed=3)["text"] == expected
