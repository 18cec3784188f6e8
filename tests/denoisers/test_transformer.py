"""Our own network: a citizen of transformers, seeing both ways or block by block."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from textdiffusion.attention import block_causal
from textdiffusion.denoisers.masked_lm import MaskedLMDenoiser
from textdiffusion.denoisers.transformer import (
    DiffusionTransformerConfig,
    DiffusionTransformerForMaskedLM,
    DiffusionTransformerModel,
)
from textdiffusion.errors import SettingsError

LENGTH = 9


def config(**changes: Any) -> DiffusionTransformerConfig:
    sizes = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    return DiffusionTransformerConfig(
        **{**sizes, "intermediate_size": 24, "initializer_range": 0.3, **changes}
    )


def build(seed: int = 0, **changes: Any) -> DiffusionTransformerForMaskedLM:
    torch.manual_seed(seed)
    return DiffusionTransformerForMaskedLM(config(**changes)).eval()


def ids(rows: int = 2, length: int = LENGTH) -> torch.Tensor:
    return torch.randint(0, 30, (rows, length), generator=torch.Generator().manual_seed(1))


# -- saving, loading, weights ----------------------------------------------------------------------------


def test_auto_classes_load_what_was_saved(tmp_path: Path) -> None:
    network = build(block_size=4, mask_token_id=29, pad_token_id=0)
    network.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, DiffusionTransformerForMaskedLM)
    with torch.no_grad():
        assert torch.equal(loaded(ids()).logits, network(ids()).logits)
    read = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(read, DiffusionTransformerConfig)
    assert (read.block_size, read.mask_token_id, read.pad_token_id) == (4, 29, 0)
    body = AutoModel.from_pretrained(tmp_path).eval()
    assert isinstance(body, DiffusionTransformerModel)
    with torch.no_grad():
        expected = network.model(ids()).last_hidden_state
        assert torch.equal(body(ids()).last_hidden_state, expected)


def test_head_and_embeddings_are_one_tensor(tmp_path: Path) -> None:
    network = build()
    assert network.lm_head.weight is network.model.embed_tokens.weight
    assert network.get_input_embeddings() is network.model.embed_tokens
    assert network.get_output_embeddings() is network.lm_head
    network.save_pretrained(tmp_path)
    loaded = DiffusionTransformerForMaskedLM.from_pretrained(tmp_path)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    apart = build(tie_word_embeddings=False)
    assert apart.lm_head.weight is not apart.model.embed_tokens.weight


def test_more_tokens_can_be_added() -> None:
    network = build()
    network.resize_token_embeddings(33, mean_resizing=False)
    assert network.lm_head.weight is network.model.embed_tokens.weight
    assert network(torch.tensor([[32, 1]])).logits.shape == (1, 2, 33)
    assert network.config.vocab_size == 33


def test_the_seed_decides_the_weights() -> None:
    one, two, other = build(0), build(0), build(1)
    pairs = list(zip(one.parameters(), two.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


def test_initial_weights_have_the_spread_asked_for() -> None:
    network = build(hidden_size=128, intermediate_size=256, initializer_range=0.02)
    layer = network.model.layers[0]
    assert layer.attention.q_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert layer.feed_forward.down_proj.weight.std().item() == pytest.approx(0.02 / 6**0.5, rel=0.05)
    assert layer.attention.o_proj.weight.std().item() == pytest.approx(0.02 / 6**0.5, rel=0.05)
    assert network.model.embed_tokens.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert bool((network.model.norm.weight == 1.0).all())


def test_heads_of_odd_size_are_refused() -> None:
    with pytest.raises(SettingsError, match="hidden_size 18 and 2 heads"):
        build(hidden_size=18)


# -- who sees whom ---------------------------------------------------------------------------------------


def moved(network: DiffusionTransformerForMaskedLM, place: int) -> list[bool]:
    """Positions whose logits change when the token at `place` does."""
    before = ids(1)
    after = before.clone()
    after[0, place] = (after[0, place] + 1) % 30
    with torch.no_grad():
        change = (network(before).logits - network(after).logits).abs().amax(-1)[0]
    return [bool(part > 1e-6) for part in change]


@pytest.mark.parametrize("block_size", [1, 2, 4, 9, 20])
@pytest.mark.parametrize("place", [0, 3, 8])
def test_blocks_see_themselves_and_what_came_before(block_size: int, place: int) -> None:
    expected = [query // block_size >= place // block_size for query in range(LENGTH)]
    assert moved(build(block_size=block_size), place) == expected


@pytest.mark.parametrize("place", [0, 4, 8])
def test_without_blocks_all_see_all(place: int) -> None:
    assert moved(build(), place) == [True] * LENGTH


@pytest.mark.parametrize("block_size", [None, 1, 4])
@pytest.mark.parametrize("kind", ["bool", "int", "square"])
def test_padding_is_not_seen(block_size: int | None, kind: str) -> None:
    network = build(block_size=block_size)
    padded = torch.cat([ids(), torch.full((2, 4), 3)], 1)
    valid = (torch.arange(LENGTH + 4) < LENGTH).expand(2, -1)
    blocks = block_causal(LENGTH + 4, block_size or LENGTH + 4)  # a square mask says all, blocks included
    masks = {"bool": valid, "int": valid.long(), "square": valid[:, None, None] & blocks}
    with torch.no_grad():
        alone = network(ids()).logits
        found = network(padded, attention_mask=masks[kind]).logits
    torch.testing.assert_close(found[:, :LENGTH], alone, atol=1e-5, rtol=1e-5)
    assert bool(found.isfinite().all())


def test_a_square_mask_through_the_adapter() -> None:
    """A causal pattern given from outside equals the network's own blocks of one."""
    causal = torch.ones(LENGTH, LENGTH).tril().bool().expand(2, -1, -1)
    now = torch.zeros(2, 1)
    with torch.no_grad():
        given = MaskedLMDenoiser.of(build())(ids(), now, attend=causal)
        own = MaskedLMDenoiser.of(build(block_size=1))(ids(), now)
    torch.testing.assert_close(given, own, atol=1e-6, rtol=1e-6)


def test_only_distances_matter() -> None:
    """Rotary positions: a shift of all of them changes nothing, a gap does."""
    network, place = build(), torch.arange(LENGTH).expand(2, -1)
    with torch.no_grad():
        here = network(ids()).logits
        shifted = network(ids(), position_ids=place + 5).logits
        spread = network(ids(), position_ids=place * 3).logits
    torch.testing.assert_close(here, shifted, atol=1e-4, rtol=1e-4)
    assert (here - spread).abs().max() > 1e-2


# -- the loss of transformers' own interface -------------------------------------------------------------


def test_labels_give_the_mean_cross_entropy() -> None:
    network, labels = build(), ids().masked_fill(ids() < 10, -100)
    out = network(ids(), labels=labels)
    keep = labels != -100
    expected = torch.nn.functional.cross_entropy(out.logits[keep], labels[keep])
    torch.testing.assert_close(out.loss, expected)
    out.loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
