"""A text is the same alone and in a crowd: for every sampler, kind of request and way to share passes."""

from collections.abc import Callable, Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from textdiffusion.language_model import DiffusionLM
from textdiffusion.samplers import SAMPLERS
from textdiffusion.serving import MERGINGS, Engine, Limits
from textdiffusion.tasks import Generation, Task

from .toy import PROMPTS, language_model, same_bits, same_texts, solo, task

LM = language_model()
BLOCKS = language_model(block_size=4)
every_merging = pytest.mark.parametrize("merging", MERGINGS)


def likes_even(tokens: Tensor) -> Tensor:
    """A classifier: texts of even tokens."""
    return torch.nn.functional.logsigmoid((tokens % 2 == 0).float().mean(1) * 8.0 - 4.0)


def revised(lm: DiffusionLM) -> Task:
    return lm.revision("the cat sat on the hill", noise_rate=0.4, looks=2, seed=3, options={"steps": 2})


ORDERS: Mapping[str, Callable[[DiffusionLM], Task]] = {
    **{
        name: lambda lm, name=name, number=number: task(
            lm, PROMPTS[number % 3], 4 + number % 5, seed=number, sampler=name, steps=4, temperature=1.0
        )
        for number, name in enumerate(SAMPLERS)
    },
    "several prompts": lambda lm: task(lm, PROMPTS, 5, seed=7, steps=3),
    "guidance": lambda lm: task(lm, "the dog", 5, seed=8, guidance_scale=2.0, steps=3),
    "classifier": lambda lm: task(lm, "the cat", 4, classifier=likes_even, guidance_top_k=3, steps=2),
    "constraint": lambda lm: task(lm, "the cat", 8, seed=2, regex="[ a-z]+", steps=3),
    "holes": lambda lm: lm.infilling(["the [MASK:2] sat [MASK]"], seeds=[5], decoding=lm.decoding()),
    "blocks": lambda lm: task(lm, "the", 8, seed=1, block_size=3, steps=6, repetition_penalty=1.3),
    "prefix cache": lambda lm: task(lm, "the", 8, seed=1, block_size=4, cache="prefix", steps=4),
    "revision": revised,
}
ALONE: dict[str, list[Generation]] = {}


def alone(name: str) -> list[Generation]:
    """The texts of an order without an engine."""
    if name not in ALONE:
        ALONE[name] = solo(LM, ORDERS[name](LM))
    return ALONE[name]


@every_merging
def test_every_kind_of_request_gets_its_solo_text_in_a_crowd(merging: str) -> None:
    with Engine(LM, merging=merging) as engine:
        handles = {name: engine.submit(order) for name, order in ORDERS.items()}
    assert [name for name in ORDERS if not same_texts(handles[name].result(), alone(name))] == []
    metrics = engine.metrics()
    assert (metrics.finished, metrics.failed, metrics.running) == (len(ORDERS), 0, 0)
    assert (metrics.shared > 0) is (merging != "alone")


def test_alone_is_the_same_to_the_last_bit() -> None:
    with Engine(LM, merging="alone") as engine:
        handles = {name: engine.submit(ORDERS[name]) for name in ("ancestral", "several prompts", "guidance")}
    for name, handle in handles.items():
        assert same_bits(list(handle.frames()), alone(name)[0].frames)


def test_in_passes_of_fixed_shape_a_crowd_changes_no_bit() -> None:
    """The same request alone, first in a crowd, and last in it, where it sits in other rows of a pass."""
    crowd = [task(LM, PROMPTS[seed % 3], 5 + seed, seed=seed, steps=3) for seed in range(6)]
    asked = task(LM, "the cat", 6, seed=99, steps=4)
    found = []
    for orders, place in (([asked], 0), ([asked, *crowd], 0), ([*crowd, asked], -1)):
        with Engine(LM, merging="fixed") as engine:
            handles = [engine.submit(order) for order in orders]
        found.append(list(handles[place].frames()))
        assert engine.metrics().failed == 0
    assert same_bits(found[0], found[1])
    assert same_bits(found[0], found[2])


@every_merging
def test_finished_blocks_keep_their_exact_cache(merging: str) -> None:
    asked = [
        task(BLOCKS, PROMPTS[n % 3], 6 + n, seed=n, sampler=name)
        for n, name in enumerate(["ancestral", "confidence", "random", "first-hitting"])
    ]
    with Engine(BLOCKS, merging=merging) as engine:
        handles = [engine.submit(one) for one in asked]
    for one, handle in zip(asked, handles, strict=True):
        expected = solo(BLOCKS, one)
        assert same_texts(handle.result(), expected), "the tokens that were read are compared, too"
    assert (engine.metrics().shared > 0) is (merging == "padded")


TIMES = language_model(block_size=4, noise="uniform")


@pytest.mark.parametrize(
    ("lm", "samplers", "options"),
    [
        (language_model(noise="uniform"), ["posterior", "greedy-tail", "psi", "entropy-renoise"], {}),
        (TIMES, ["posterior", "psi"], {}),
        (TIMES, ["posterior", "greedy-tail"], {"cache": "none"}),
        (language_model(shift=True), ["ancestral", "confidence"], {}),
        (language_model(block_size=1, shift=True), ["autoregressive", "autoregressive"], {}),
    ],
    ids=["uniform noise, told the time", "a time for each token", "without cache", "one ahead", "next token"],
)
def test_other_networks(lm: DiffusionLM, samplers: list[str], options: dict[str, str]) -> None:
    asked = [
        task(lm, PROMPTS[1 + n % 2], 5 + 2 * n, seed=n, sampler=name, **options)
        for n, name in enumerate(samplers)
    ]
    with Engine(lm) as engine:
        handles = [engine.submit(one) for one in asked]
    for one, handle in zip(asked, handles, strict=True):
        assert same_texts(handle.result(), solo(lm, one))


@settings(max_examples=8)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(ORDERS)), st.integers(0, 2)), min_size=1, max_size=8),
    st.sampled_from(sorted(MERGINGS)),
    st.integers(1, 4),
    st.sampled_from([1, 40, 200]),
)
def test_any_mixture_is_done_and_nobody_is_lost(
    mixture: list[tuple[str, int]], merging: str, running: int, tokens: int
) -> None:
    """Whatever the limits, some requests being read while others are submitted."""
    limits = Limits(running=running, tokens_per_pass=tokens, tokens_running=200)
    with Engine(LM, limits, merging=merging) as engine:
        handles = []
        for name, waits in mixture:
            handles.append(engine.submit(ORDERS[name]))
            for handle in handles[:waits]:
                handle.result(60.0)
    assert all(
        same_texts(handle.result(), alone(name)) for (name, _), handle in zip(mixture, handles, strict=True)
    )
    assert engine.metrics().finished == len(mixture)
