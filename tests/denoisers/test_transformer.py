"""Our own network: a citizen of transformers, seeing both ways or block by block."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from textdiffusion.attention import block_causal, in_tiles, noisy_and_clean
from textdiffusion.denoisers import transformer
from textdiffusion.denoisers.adapt import denoiser_of
from textdiffusion.denoisers.masked_lm import MaskedLMDenoiser
from textdiffusion.denoisers.own import OwnDenoiser
from textdiffusion.denoisers.transformer import (
    KERNELS,
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


# -- another kernel for attention ------------------------------------------------------------------------

FLEX = {"attn_implementation": "flex_attention"}
flexible = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
"""Compiled it is only on a GPU; torch says so at the first call."""


def masks(length: int) -> dict[str, Tensor | None]:
    """What three texts of `length` tokens may be told to see."""
    half = length // 2
    valid = torch.arange(length) < torch.tensor([[length], [length - 3], [1]])
    both = noisy_and_clean(half, 4) & valid[:, :half].repeat(1, 2)[:, None]
    return {"plain": None, "padded": valid, "causal": block_causal(length, 3).repeat(3, 1, 1), "both": both}


@flexible
@pytest.mark.parametrize("length", [10, 128, 150])
@pytest.mark.parametrize("block_size", [None, 4])
@pytest.mark.parametrize("mask", list(masks(10)))
def test_flex_attention_gives_the_same_logits(length: int, block_size: int | None, mask: str) -> None:
    one, other = build(block_size=block_size), build(block_size=block_size, **FLEX)
    text, seen = ids(3, length), masks(length)[mask]
    with torch.no_grad():
        found, expected = (network(text, attention_mask=seen).logits for network in (other, one))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@flexible
def test_flex_attention_is_used_where_something_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, made = [], []

    def seen(q: Tensor, k: Tensor, v: Tensor, block_mask: BlockMask) -> Tensor:
        calls.append(block_mask)
        return flex_attention(q, k, v, block_mask=block_mask)

    def make(*given: Any) -> BlockMask:
        made.append(in_tiles(*given))
        return made[-1]

    monkeypatch.setattr(transformer, "flex_attention", seen)
    monkeypatch.setitem(KERNELS, "flex_attention", replace(KERNELS["flex_attention"], form=make))
    network = build(block_size=4, **FLEX)
    with torch.no_grad():
        network(ids())
        assert len(calls) == 3 and all(mask is made[0] for mask in calls) and len(made) == 1, (
            "one for all layers"
        )
        own = denoiser_of(network)
        assert isinstance(own, OwnDenoiser)
        past, now = own.past(2, LENGTH), torch.zeros(2, 1)
        found = [own.resume(past.at(i), ids()[:, i : i + 4], now) for i in (0, 4, 8)]
        assert len(calls) == 3, "a memory is read by sdpa"
        torch.testing.assert_close(torch.cat(found, 1), network(ids()).logits, atol=1e-4, rtol=1e-4)


def test_tiles_where_nothing_is_seen_are_left_out() -> None:
    """Those and no others, in each text, whether its length is made of whole tiles or not."""
    shared = noisy_and_clean(256, 128)[None, None]
    padded = (torch.arange(300) < torch.tensor([[300], [200], [1]]))[:, None, None]
    for mask, queries in ((shared, 512), (padded, 300)):
        whole = mask.expand(3, 1, queries, -1)[:, 0]
        short = -queries % 128
        tiles = F.pad(whole, (0, short, 0, short)).view(3, -(-queries // 128), 128, -(-queries // 128), 128)
        found = in_tiles(mask, 3, queries).to_dense()[:, 0].bool()
        assert torch.equal(found.expand(3, -1, -1), tiles.any(4).any(2))
        assert not bool(found.all())


def test_the_kernel_is_not_saved_and_can_be_asked_for(tmp_path: Path) -> None:
    build(**FLEX).save_pretrained(tmp_path)
    assert AutoModelForMaskedLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"
    asked = AutoModelForMaskedLM.from_pretrained(tmp_path, **FLEX)
    assert asked.config._attn_implementation == asked.model.config._attn_implementation == "flex_attention"
