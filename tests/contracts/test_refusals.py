"""What a generation does with requests at the edge, before it asks the network anything."""

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import as_denoiser
from textdiffusion.denoisers.masked_lm import MaskedLMDenoiser
from textdiffusion.errors import SettingsError
from textdiffusion.generation import Decoding, denoise, sample
from textdiffusion.randomness import RowGenerator
from textdiffusion.samplers import SAMPLERS

VOCAB, MASK = 24, 23


def never(ids: Tensor) -> Tensor:
    raise AssertionError("the network was asked")


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("shape", [(2, 5), (1, 0), (0, 5)])
def test_a_sample_without_masks_is_the_text_itself(sampler: str, shape: tuple[int, int]) -> None:
    tokens = torch.arange(shape[0] * shape[1]).view(shape)
    found = sample(never, tokens, mask_id=MASK, sampler=sampler)
    assert torch.equal(found, tokens) and found is not tokens


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_finished_text_is_not_asked_about(sampler: str) -> None:
    """Of three texts the second has no hole."""
    seen: list[Tensor] = []

    def even(ids: Tensor) -> Tensor:
        seen.append(ids)
        return torch.zeros(*ids.shape, VOCAB)

    tokens = torch.full((3, 6), MASK)
    tokens[1], tokens[2, :4] = 7, 8
    found = sample(even, tokens, mask_id=MASK, sampler=sampler)
    assert bool((found[1] == 7).all()) and bool((found[2, :4] == 8).all())
    assert not bool((found == MASK).any())
    assert seen and not any(bool((ids == 7).all(1).any()) for ids in seen)


def test_a_canvas_without_holes_is_refused() -> None:
    canvas = Canvas.from_rows([[1, 2], [3]], [[False, False], [False]], pad_id=0)
    with pytest.raises(SettingsError, match="nothing to write: the text has no hole and the length is 0"):
        denoise(as_denoiser(never), Absorbing(MASK), canvas, Decoding(), RowGenerator.for_rows([0, 1]))


def test_a_text_longer_than_the_positions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = BertConfig(
        vocab_size=VOCAB,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=16,
    )
    denoiser = MaskedLMDenoiser.of(BertForMaskedLM(config).eval())
    fits = sample(denoiser, torch.full((1, 16), MASK), mask_id=MASK, steps=1)
    assert not bool((fits == MASK).any())
    monkeypatch.setattr(denoiser.model, "forward", never)
    with pytest.raises(SettingsError, match="a text of 17 tokens is longer than the network's 16 positions"):
        sample(denoiser, torch.full((1, 17), MASK), mask_id=MASK)
