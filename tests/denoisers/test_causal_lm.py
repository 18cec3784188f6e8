"""Families of causal language models, read block by block: tiny, with random weights, through the disk."""

from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
    Qwen3NextConfig,
)

from textdiffusion.denoisers import Denoiser
from textdiffusion.denoisers.adapt import denoiser_of, set_reading
from textdiffusion.denoisers.causal_lm import CausalLMDenoiser
from textdiffusion.denoisers.masked_lm import MaskedLMDenoiser
from textdiffusion.denoisers.own import OwnDenoiser
from textdiffusion.errors import IncompatibleError

from .test_transformer import build

VOCAB, LENGTH, LONGEST, WINDOW = 50, 12, 40, 24
SMALL: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": LONGEST,
    "initializer_range": 0.2,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
GPT2_SIZES = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": LONGEST}
BEGIN_END = {"bos_token_id": 0, "eos_token_id": 0}
FAMILIES: dict[str, PreTrainedConfig] = {
    "gpt2": GPT2Config(vocab_size=VOCAB, initializer_range=0.2, **GPT2_SIZES, **BEGIN_END),
    "llama": LlamaConfig(**SMALL, **GROUPED),
    "qwen3": Qwen3Config(**SMALL, **GROUPED),
    "gpt-neox": GPTNeoXConfig(**SMALL),
    "mistral": MistralConfig(**SMALL, **GROUPED, sliding_window=WINDOW),
    "gemma2": Gemma2Config(**SMALL, **GROUPED, sliding_window=WINDOW),  # its attention adds masks to scores
}
SLIDING = {"mistral", "gemma2"}
NOW = torch.zeros(2, 1)


def network_of(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(deepcopy(config)).eval()


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreTrainedModel]:
    """All families with blocks of 4, saved and loaded again."""
    found = {}
    for name, config in FAMILIES.items():
        folder: Path = tmp_path_factory.mktemp(name)
        fresh = network_of(config)
        set_reading(fresh, block_size=4, shift=False)
        fresh.save_pretrained(folder)
        found[name] = AutoModelForCausalLM.from_pretrained(folder).eval()
    return found


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def denoiser(family: str, networks: dict[str, PreTrainedModel]) -> CausalLMDenoiser:
    """One family, with blocks of 4."""
    return with_blocks(networks[family], 4)


def with_blocks(network: PreTrainedModel, size: int | None) -> CausalLMDenoiser:
    set_reading(network, block_size=size, shift=False)
    found = denoiser_of(network)
    assert isinstance(found, CausalLMDenoiser)
    return found


def ids(rows: int = 2, length: int = LENGTH, seed: int = 3) -> Tensor:
    return torch.randint(5, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


# -- who sees whom ---------------------------------------------------------------------------------------


def test_blocks_are_saved_with_the_network(networks: dict[str, PreTrainedModel], family: str) -> None:
    assert networks[family].config.diffusion == {"block_size": 4, "shift": False}
    denoiser = CausalLMDenoiser.of(networks[family])
    assert (denoiser.block_size, denoiser.shift) == (4, False)


@torch.inference_mode()
@pytest.mark.parametrize("block_size", [1, 2, 4, LENGTH, 20])
@pytest.mark.parametrize("place", [0, 5, LENGTH - 1])
def test_blocks_see_themselves_and_what_came_before(
    networks: dict[str, PreTrainedModel], family: str, block_size: int, place: int
) -> None:
    denoiser, before = with_blocks(networks[family], block_size), ids(1)
    after = before.clone()
    after[0, place] = (after[0, place] - 4) % 45 + 5
    change = (denoiser(before, NOW[:1]) - denoiser(after, NOW[:1])).abs().amax(-1)[0]
    expected = [query // block_size >= place // block_size for query in range(LENGTH)]
    assert [bool(part > 1e-5) for part in change] == expected


@torch.inference_mode()
def test_blocks_of_one_are_the_networks_own_reading(
    networks: dict[str, PreTrainedModel], family: str
) -> None:
    own = networks[family](input_ids=ids(), use_cache=False).logits
    close(with_blocks(networks[family], 1)(ids(), NOW), own)
    causal = torch.ones(LENGTH, LENGTH).tril().bool().expand(2, -1, -1)
    close(with_blocks(networks[family], None)(ids(), NOW, attend=causal), own)


@torch.inference_mode()
def test_padding_changes_nothing(denoiser: CausalLMDenoiser) -> None:
    valid = (torch.arange(LENGTH + 3) < LENGTH).expand(2, -1)
    alone = denoiser(ids(), NOW)
    for filler in (1, 7):
        padded = torch.cat([ids(), torch.full((2, 3), filler)], 1)
        positions = (valid.long().cumsum(1) - 1).clamp(min=0)
        found = denoiser(padded, NOW, attend=valid, positions=positions, where=valid)
        close(found.view(2, LENGTH, VOCAB), alone)


@torch.inference_mode()
def test_positions_are_heeded(denoiser: CausalLMDenoiser) -> None:
    places = torch.arange(LENGTH).expand(2, -1)
    close(denoiser(ids(), NOW, positions=places), denoiser(ids(), NOW))
    spread = denoiser(ids(), NOW, positions=places * 2)
    assert (spread - denoiser(ids(), NOW)).abs().max() > 1e-3


# -- the head on asked positions alone -------------------------------------------------------------------


@torch.inference_mode()
@pytest.mark.parametrize("count", [0, 1, 7, 2 * LENGTH])
def test_asked_logits_are_rows_of_all_logits(denoiser: CausalLMDenoiser, count: int) -> None:
    where = torch.randperm(2 * LENGTH, generator=torch.Generator().manual_seed(0)).view(2, -1) < count
    widths = []
    head = denoiser.network.get_output_embeddings()
    assert head is not None
    handle = head.register_forward_hook(lambda module, args, output: widths.append(tuple(output.shape[:-1])))
    asked, whole = denoiser(ids(), NOW, where=where), denoiser(ids(), NOW)
    handle.remove()
    assert widths == [(1, count), (2, LENGTH)]
    close(asked, whole[where], 1e-6)
    assert not any(module._forward_hooks for module in denoiser.network.modules())


# -- the memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(FAMILIES))
@given(block=st.integers(1, 5), cuts=st.sets(st.integers(1, 4)), seed=st.integers(0, 99))
@torch.inference_mode()
def test_block_by_block_equals_the_whole(
    networks: dict[str, PreTrainedModel], name: str, block: int, cuts: set[int], seed: int
) -> None:
    """Cut wherever blocks end, the parts give the logits of one call, padding and chosen places included."""
    denoiser, xt = with_blocks(networks[name], block), ids(seed=seed)
    valid = torch.arange(LENGTH) < torch.tensor([[LENGTH], [7]])
    whole = denoiser(xt, NOW, attend=valid)
    edges = sorted({0, LENGTH, *(cut * block for cut in cuts if cut * block < LENGTH)})
    past = denoiser.past(2, LENGTH)
    for start, stop in pairwise(edges):
        here = valid[:, start:stop]
        found = denoiser.resume(past.at(start), xt[:, start:stop], NOW, attend=valid[:, :stop], where=here)
        close(found, whole[:, start:stop][here])


@torch.inference_mode()
def test_a_block_read_again_forgets_what_it_was(denoiser: CausalLMDenoiser) -> None:
    xt, past = ids(), denoiser.past(2, LENGTH)
    denoiser.resume(past.at(0), xt[:, :4], NOW)
    for seed in (1, 2, 3):  # the same block in three states; only the last one, the true one, stays
        denoiser.resume(past.at(4), ids(seed=seed)[:, 4:8], NOW)
    close(denoiser.resume(past.at(8), xt[:, 8:], NOW), denoiser(xt, NOW)[:, 8:])


@torch.inference_mode()
@pytest.mark.parametrize("row", [0, 1])
def test_memory_of_some_texts(denoiser: CausalLMDenoiser, row: int) -> None:
    xt, past, some = ids(), denoiser.past(2, LENGTH), torch.tensor([row])
    denoiser.resume(past, xt[:, :8], NOW)
    found = denoiser.resume(past.of_rows(some).at(8), xt[some, 8:], NOW[some])
    close(found, denoiser(xt, NOW)[some, 8:])
    close(denoiser.resume(past.at(8), xt[:, 8:], NOW), denoiser(xt, NOW)[:, 8:])  # it was a copy


def test_nothing_behind_the_block_can_be_seen(denoiser: CausalLMDenoiser) -> None:
    past = denoiser.past(2, LENGTH)
    with pytest.raises(IncompatibleError, match="holds nothing behind what it reads"):
        denoiser.resume(past.at(0, reads=LENGTH), ids()[:, :4], NOW)


# -- what it can hold, and what is refused ---------------------------------------------------------------


def test_longest_is_the_window_where_it_slides(denoiser: CausalLMDenoiser, family: str) -> None:
    assert denoiser.longest == (WINDOW if family in SLIDING else LONGEST)


@torch.inference_mode()
def test_as_it_was_made_it_says_the_next_token() -> None:
    denoiser = denoiser_of(network_of(FAMILIES["gpt2"]))
    assert (denoiser.block_size, denoiser.shift, denoiser.next_token) == (1, True, True)
    own = denoiser.network(input_ids=ids(), use_cache=False).logits  # type: ignore[attr-defined]
    close(denoiser(ids(), NOW)[:, 1:], own[:, :-1])
    set_reading(denoiser.network, block_size=4, shift=True)  # type: ignore[attr-defined]
    assert not denoiser.next_token


@torch.inference_mode()
def test_it_may_see_all(networks: dict[str, PreTrainedModel], family: str) -> None:
    denoiser, before = with_blocks(networks[family], None), ids(1)
    after = before.clone()
    after[0, -1] = (after[0, -1] - 4) % 45 + 5
    assert bool(((denoiser(before, NOW[:1]) - denoiser(after, NOW[:1])).abs().amax(-1) > 1e-6).all())


def test_our_own_network_takes_blocks_too() -> None:
    network = build()
    set_reading(network, block_size=3, shift=False)
    assert denoiser_of(network).block_size == 3
    set_reading(nn.DataParallel(network), block_size=None, shift=True)
    assert denoiser_of(network).block_size is None
    assert denoiser_of(network).shift


def test_our_own_network_notes_that_it_predicts_the_next_token(tmp_path: Path) -> None:
    network = build()
    set_reading(network, block_size=1, shift=True)
    network.save_pretrained(tmp_path)
    denoiser = denoiser_of(AutoModelForMaskedLM.from_pretrained(tmp_path))
    assert isinstance(denoiser, OwnDenoiser)
    assert denoiser.next_token


def wrong(config: PreTrainedConfig) -> Denoiser:
    network = network_of(config)
    set_reading(network, block_size=4, shift=False)
    return denoiser_of(network)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (MambaConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=1), "takes no past_key_values"),
        (
            Qwen3NextConfig(**{**SMALL, "num_hidden_layers": 1}),
            "it remembers by LinearAttentionLayer",
        ),
        (
            GPTNeoConfig(
                vocab_size=VOCAB, hidden_size=32, num_layers=1, num_heads=4, attention_types=[[["global"], 1]]
            ),
            "does not obey a mask for each query",
        ),
    ],
)
def test_other_memories_and_masks_are_refused(config: PreTrainedConfig, reason: str) -> None:
    with pytest.raises(IncompatibleError, match=reason) as caught:
        wrong(config)
    assert "\n" not in str(caught.value)


def test_a_head_that_cannot_be_found_is_refused() -> None:
    network = network_of(FAMILIES["llama"])
    network.base_model_prefix = "elsewhere"
    with pytest.raises(IncompatibleError, match="its body from its head"):
        denoiser_of(network)


def test_attention_without_masks_is_refused() -> None:
    network = network_of(FAMILIES["llama"])
    network.config._attn_implementation = "flash_attention_2"
    with pytest.raises(IncompatibleError, match="attn_implementation sdpa or eager"):
        set_reading(network, block_size=4, shift=False)


def test_masked_models_stay_what_they_are() -> None:
    network = BertForMaskedLM(BertConfig(**SMALL))
    assert isinstance(denoiser_of(network), MaskedLMDenoiser)
    with pytest.raises(IncompatibleError, match="BertForMaskedLM always sees both ways"):
        set_reading(network, block_size=4, shift=False)
