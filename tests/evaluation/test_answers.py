"""Answers are scored as the network says and written as `generate` writes, whatever else is in the batch."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lengths.known import BEGIN, IS, MASK, VOCAB, A, B, Known, known_model, small_model, tokenizer

from textdiffusion.checkpoint import Checkpoint
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.errors import SettingsError
from textdiffusion.evaluation.answers import Option, fill, greedy, greedy_options, place, scores, write
from textdiffusion.language_model import DiffusionLM
from textdiffusion.model_settings import ModelSettings

TEXTS = st.text("ab=", min_size=1, max_size=5)


@pytest.fixture(scope="module")
def plain() -> DiffusionLM:
    """Reads whole texts, and ends none."""
    return small_model(after_end="", learns_end=False)


@pytest.fixture(scope="module")
def causal() -> DiffusionLM:
    """Predicts the next token."""
    config = DiffusionTransformerConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
        block_size=1,
        shift=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = DiffusionTransformerForMaskedLM(config).eval()
    own = ModelSettings(length=24, decoding={"sampler": "autoregressive"})
    return DiffusionLM(Checkpoint(network, tokenizer(), own), name="causal", device=torch.device("cpu"))


def placed(lm: DiffusionLM, *words: str) -> Any:
    found = place(lm, Option(*words))
    assert found is not None
    return found


@torch.inference_mode()
def log_p(lm: DiffusionLM, ids: list[int], place: int, token: int) -> float:
    """What the network says of a token at a place."""
    tokens = torch.tensor([ids])
    logits = lm.denoiser(tokens, torch.ones(1, 1), where=torch.arange(len(ids))[None] == place)
    return float(lm.corruption.clean_logits(logits).log_softmax(-1)[0, token])


# -- where things stand ----------------------------------------------------------------------------------


@given(TEXTS, TEXTS, st.text("ab=", max_size=5))
def test_ids_are_those_of_the_whole_text(plain: DiffusionLM, prompt: str, answer: str, suffix: str) -> None:
    found = placed(plain, prompt, answer, suffix)
    assert found.passage.ids == plain.format.prompt(prompt + answer + suffix)
    assert found.hole == found.passage.scored
    assert sum(found.hole) == found.tokens == len(answer)
    assert found.hole.index(True) == 1 + len(prompt)


def test_the_oldest_of_a_prompt_is_cut_and_the_begin_stays(plain: DiffusionLM) -> None:
    found = placed(plain, "a" * 30 + "b", "=b", "a")
    assert len(found.passage.ids) == plain.longest == 24
    assert found.passage.ids == [BEGIN, *[A] * 19, B, IS, B, A]
    assert found.cut == 32 - 21
    assert placed(plain, "", "a" * 23).cut == 0
    assert place(plain, Option("a", "a" * 24)) is None
    with pytest.raises(SettingsError, match="more tokens than small holds"):
        scores(plain, [Option("a", "a" * 24)])
    with pytest.raises(SettingsError, match="no token"):
        scores(plain, [Option("a", "")])


def test_spaces_belong_to_the_answer(tiny: DiffusionLM) -> None:
    one, two = placed(tiny, "The fox ", "read all"), placed(tiny, "The fox", " read all")
    assert one.passage.ids == two.passage.ids
    assert one.passage.scored == two.passage.scored
    # A token that would reach over the border is not taken: the answer keeps all its letters.
    split = placed(tiny, "The f", "ox read")
    hidden = [id for id, here in zip(split.passage.ids, split.hole, strict=True) if here]
    assert tiny.format.decode(hidden) == "ox read"


# -- scores ----------------------------------------------------------------------------------------------


def test_one_token_is_scored_exactly(plain: DiffusionLM) -> None:
    options = [Option("aab", "a"), Option("aab", "b"), Option("a", "=", "bb")]
    found = scores(plain, options)
    wanted = [
        log_p(plain, [BEGIN, A, A, B, MASK], 4, A),
        log_p(plain, [BEGIN, A, A, B, MASK], 4, B),
        log_p(plain, [BEGIN, A, MASK, B, B], 2, IS),
    ]
    assert [-each.nats for each in found] == pytest.approx(wanted, abs=1e-5)
    assert [each.error for each in found] == [0.0] * 3


def test_a_score_does_not_hang_on_what_else_is_scored(plain: DiffusionLM) -> None:
    options = [Option("ab", "abab"), Option("", "ba"), Option("ab", "bbbb", "a"), Option("b" * 40, "aaa")]
    together = [each.nats for each in scores(plain, options)]
    assert together == pytest.approx([scores(plain, [each])[0].nats for each in options], abs=1e-5)
    assert together == pytest.approx(
        [each.nats for each in scores(plain, options, tokens_at_once=1)], abs=1e-5
    )
    assert together != pytest.approx([each.nats for each in scores(plain, options, seed=1)], abs=1e-5)


def test_the_likelihood_of_a_causal_network_is_the_product_over_its_tokens(causal: DiffusionLM) -> None:
    ids = causal.format.prompt("ab=ba")
    wanted = -sum(log_p(causal, ids, place, ids[place]) for place in (3, 4, 5))
    (found,) = scores(causal, [Option("ab", "=ba")])
    assert found.nats == pytest.approx(wanted, abs=1e-5)
    assert found.error == 0.0


def test_a_causal_network_is_scored_on_the_suffix_too(causal: DiffusionLM, plain: DiffusionLM) -> None:
    """p(answer, suffix) ranks answers as p(answer | suffix) does, which it cannot be asked for."""
    (joint,), (alone,) = scores(causal, [Option("a", "b", "=")]), scores(causal, [Option("a", "b")])
    (behind,) = scores(causal, [Option("ab", "=")])
    assert joint.nats == pytest.approx(alone.nats + behind.nats, abs=1e-5)
    assert joint.placed.text == "b="
    assert scores(plain, [Option("a", "b", "=")])[0].placed.text == "b"


# -- greedy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["plain", "causal"])
def test_greedy_is_what_generate_writes(which: str, request: pytest.FixtureRequest) -> None:
    lm = request.getfixturevalue(which)
    prompts = ["ab", "b=a", ""]
    texts = [each.text for each in lm.generate(prompts, length=3, decoding=None, **greedy_options(lm))]
    right = [Option(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    wrong = [Option(each.prompt, each.answer[:2] + _other(each.answer[2])) for each in right]
    assert all(len(text) == 3 for text in texts)
    told = greedy(lm, [placed(lm, each.prompt, each.answer) for each in [*right, *wrong]], tokens_at_once=20)
    assert told == [True] * 3 + [False] * 3


def _other(letter: str) -> str:
    return "b" if letter == "a" else "a"


def test_greedy_may_see_what_follows() -> None:
    lm = known_model(Known(), after_end="")
    assert greedy(lm, [placed(lm, "aa=", "bb"), placed(lm, "aa=", "ba"), placed(lm, "aaa=", "bb", "b")]) == [
        True,
        False,
        True,
    ]


def test_greedy_may_end_a_text_as_generate_may() -> None:
    lm = known_model(Known(), after_end="")
    assert lm.generate("aa=", length=3, **greedy_options(lm)).text == "bb"
    assert greedy(lm, [placed(lm, "aa=", "bbb"), placed(lm, "aa=", "bbb", "b"), placed(lm, "aa=", "bb")]) == [
        False,
        False,
        True,
    ]


def test_most_texts_are_given_up_after_one_call() -> None:
    seen: list[Any] = []
    lm = known_model(Known(seen=seen), after_end="")
    assert not any(greedy(lm, [placed(lm, "aaaa=", "aaaa")] * 8))
    assert len(seen) == 1
    assert greedy(lm, [placed(lm, "aaaa=", "bbbb")]) == [True]
    assert len(seen) == 1 + 1 + 4


# -- writing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["plain", "causal"])
@pytest.mark.parametrize("at_once", [1, 1000])
def test_what_is_written_is_what_generate_writes(
    which: str, at_once: int, request: pytest.FixtureRequest
) -> None:
    lm = request.getfixturevalue(which)
    prompts, decoding = ["a", "bb=", "abab"], lm.decoding(None, {"temperature": 1.0})
    texts, pace = write(lm, prompts, length=6, decoding=decoding, seed=3, tokens_at_once=at_once)
    assert texts == [each.text for each in lm.generate(prompts, length=6, seed=3, decoding=decoding)]
    assert pace.nfe >= 6 and pace.steps >= 6 and pace.steps_per_second > 0
    until, _ = write(lm, prompts, length=6, decoding=decoding, seed=3, until=["b", "=", ""])
    assert until == [text.split("b")[0].split("=")[0] for text in texts]


def test_long_prompts_are_cut_on_the_left(plain: DiffusionLM) -> None:
    decoding = plain.decoding(None, {"temperature": 0.0, "sampler": "single-best"})
    long, _ = write(plain, ["a" * 50 + "bb="], length=4, decoding=decoding)
    short, _ = write(plain, ["a" * 16 + "bb="], length=4, decoding=decoding)
    assert long == short
    assert write(plain, ["a" * 50, "a"], length=4, decoding=decoding)[1].cut == 1
    with pytest.raises(SettingsError, match="leave no room"):
        write(plain, ["a"], length=23, decoding=decoding)


def test_gaps_are_filled_in_sight_of_both_sides() -> None:
    lm = known_model(Known(sure=1.0 - 1e-6), after_end="")
    texts, pace = fill(
        lm,
        [Option("aaa=b", "aa", "a"), Option("a=", "a", "")],
        decoding=lm.decoding(None, {"sampler": "single-best"}),
    )
    assert texts == ["bb", "b"]
    assert pace.nfe == pace.steps == 2


def test_a_causal_network_fills_a_gap_by_what_stands_before(causal: DiffusionLM) -> None:
    decoding = causal.decoding(None, greedy_options(causal))
    (one,), _ = fill(causal, [Option("ab", "aa", "b")], decoding=decoding)
    (two,), _ = fill(causal, [Option("ab", "aa", "=")], decoding=decoding)
    assert one == two == causal.generate("ab", length=2, **greedy_options(causal)).text
