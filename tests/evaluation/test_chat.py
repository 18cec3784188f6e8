"""Answers of conversations as they are measured, and how probable the end is before anything is written."""

from typing import Any

import pytest
import torch
from lengths.known import Known
from talk import CHATML, TURNS, talker

from textdiffusion.chat_template import ChatTemplate
from textdiffusion.checkpoint import Checkpoint
from textdiffusion.data.prompted import Prompted
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.evaluation.documents import Windows, read_corpus
from textdiffusion.evaluation.length import STUDIES, examples_of
from textdiffusion.language_model import DiffusionLM
from textdiffusion.model_settings import ModelSettings

from .test_length import COUNTS, subject


@pytest.fixture(scope="module", params=["", CHATML], ids=["default", "chatml"])
def lm(request: pytest.FixtureRequest) -> DiffusionLM:
    """A small model with that template."""
    tokenizer = talker(request.param)
    config = DiffusionTransformerConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    network = DiffusionTransformerForMaskedLM(config)
    checkpoint = Checkpoint(network, tokenizer, ModelSettings(length=128, learns_end=True))
    return DiffusionLM(checkpoint, name="talker", device=torch.device("cpu"))


@pytest.mark.parametrize("ends", [True, False])
def test_an_answer_is_scored_as_it_is_learnt(lm: DiffusionLM, ends: bool) -> None:
    template = ChatTemplate(lm.format.tokenizer)
    texts = [Prompted("Who are you?", "A fox.", TURNS[:4]), Prompted("Hello?", "Hello!", TURNS[:2])]
    corpus = read_corpus(texts, lm, Windows.of(lm), ends=ends)
    for document, turns in zip(corpus.documents, (TURNS[:5], TURNS[:3]), strict=True):
        before, answer = template.answered(turns)
        (passage,) = document.passages
        assert list(passage.ids) == before + answer
        assert passage.scored == [False] * len(before) + [True] * (len(answer) - 1) + [ends]
        assert document.bytes == 6
    assert corpus.altered == 0


def test_a_long_conversation_is_cut_at_its_turns(lm: DiffusionLM) -> None:
    template = ChatTemplate(lm.format.tokenizer)
    before, answer = template.answered((TURNS[0], *TURNS[3:5]))
    text = Prompted("Who are you?", "A fox.", TURNS[:4])
    room = len(before) + len(answer)
    (document,) = read_corpus([text], lm, Windows.of(lm, room), ends=True).documents
    assert list(document.passages[0].ids) == before + answer
    (example,), _ = examples_of([text], lm, given=1, limit=None, seed=0)
    assert (example.given, (*example.rest, answer[-1])) == tuple(map(tuple, template.answered(TURNS[:5])))


def expected(size: int, places: list[int]) -> tuple[float, float]:
    """What `Known` says of the end at these places of an answer, and what is true, over all texts."""
    sure = 0.95 + 0.05 / 6
    told = [[sure if place >= count else 2 * 0.05 / 6 for place in places] for count in COUNTS]
    true = [[float(place >= count) for place in places] for count in COUNTS]
    return tuple(sum(map(sum, table)) / (len(COUNTS) * len(places)) for table in (told, true))  # type: ignore[return-value]


def test_the_end_before_anything_is_written() -> None:
    found: list[dict[str, Any]] = list(STUDIES["bias"](subject(Known(0.95))))
    assert [row["room"] for row in found] == [8] * 5 + [16] * 5
    for row in found:
        size, part = row["room"], row["quarter"]
        quarter = size // 4
        places = list(range((part - 1) * quarter, part * quarter)) if part else [0]
        told, true = expected(size, places)
        assert row["end_probability"] == pytest.approx(told, abs=1e-5)
        assert row["ended_share"] == pytest.approx(true)
        assert row["bias"] == pytest.approx(told - true, abs=1e-5)
        assert row["texts"] == len(COUNTS) and "bias_error" in row
