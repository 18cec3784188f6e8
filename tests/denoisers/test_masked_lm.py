"""Families of masked language models behind the one adapter: tiny, with random weights, through the disk."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AutoModelForMaskedLM,
    BertConfig,
    CamembertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from textdiffusion.denoisers.masked_lm import MaskedLMDenoiser
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig
from textdiffusion.errors import IncompatibleError
from textdiffusion.training.network import set_dropout

VOCAB, PAD, LENGTH = 50, 1, 12
SMALL: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 34,
    "pad_token_id": PAD,
    "initializer_range": 0.2,
}
BEGIN_END = {"bos_token_id": 0, "eos_token_id": 2}

FAMILIES: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**SMALL),
    "roberta": RobertaConfig(**SMALL, **BEGIN_END),
    "distilbert": DistilBertConfig(
        vocab_size=VOCAB,
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=40,
        max_position_embeddings=34,
        pad_token_id=PAD,
        initializer_range=0.2,
    ),
    "modernbert": ModernBertConfig(
        **{**SMALL, "initializer_range": 0.1},
        **BEGIN_END,
        cls_token_id=0,
        sep_token_id=2,
        global_attn_every_n_layers=2,
        local_attention=8,
        attn_implementation="sdpa",
    ),
    "deberta-v2": DebertaV2Config(
        **SMALL,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        share_att_key=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
    ),
    "electra": ElectraConfig(**SMALL, embedding_size=16),
    "xlm-roberta": XLMRobertaConfig(**SMALL, **BEGIN_END),
    "albert": AlbertConfig(**SMALL, **BEGIN_END, embedding_size=16),
    "mpnet": MPNetConfig(**SMALL, **BEGIN_END),
    "camembert": CamembertConfig(**SMALL, **BEGIN_END),
    "diffusion-transformer": DiffusionTransformerConfig(**SMALL),
}
COUNTED_FROM_PAD = {"roberta", "xlm-roberta", "mpnet", "camembert"}
RELATIVE = {"modernbert", "deberta-v2", "diffusion-transformer"}


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, PreTrainedModel]:
    """Name and network, saved and loaded again."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(FAMILIES[request.param]).save_pretrained(folder)
    return request.param, AutoModelForMaskedLM.from_pretrained(folder).eval()


@pytest.fixture
def denoiser(family: tuple[str, PreTrainedModel]) -> MaskedLMDenoiser:
    return MaskedLMDenoiser.of(family[1])


def ids(rows: int = 3, length: int = LENGTH) -> Tensor:
    return torch.randint(5, VOCAB, (rows, length), generator=torch.Generator().manual_seed(3))


def places(rows: int = 3, length: int = LENGTH) -> Tensor:
    return torch.arange(length).expand(rows, -1)


NOW = torch.full((3, 1), 0.5)
CHOICES = {
    "some": torch.rand(3, LENGTH, generator=torch.Generator().manual_seed(1)) < 0.3,
    "one": torch.arange(3 * LENGTH).view(3, LENGTH) == 17,
    "all": torch.ones(3, LENGTH, dtype=torch.bool),
    "none": torch.zeros(3, LENGTH, dtype=torch.bool),
}


# -- the head on asked positions alone -------------------------------------------------------------------


@pytest.mark.parametrize("choice", list(CHOICES))
def test_asked_logits_are_rows_of_all_logits(denoiser: MaskedLMDenoiser, choice: str) -> None:
    where = CHOICES[choice]
    with torch.no_grad():
        whole = denoiser(ids(), NOW, positions=places())
        asked = denoiser(ids(), NOW, positions=places(), where=where)
    assert whole.shape == (3, LENGTH, VOCAB)
    assert asked.shape == (int(where.sum()), VOCAB)
    torch.testing.assert_close(asked, whole[where], atol=1e-6, rtol=1e-6)
    assert whole.std() > 1e-3


def test_the_head_sees_the_asked_positions_alone(denoiser: MaskedLMDenoiser) -> None:
    widths = []
    head = denoiser.network.get_output_embeddings()
    assert head is not None
    handle = head.register_forward_hook(lambda module, args, output: widths.append(tuple(output.shape[:-1])))
    with torch.no_grad():
        denoiser(ids(), NOW, where=CHOICES["some"])
        denoiser(ids(), NOW)
    handle.remove()
    assert widths == [(1, int(CHOICES["some"].sum())), (3, LENGTH)]


SPARED = {
    **dict.fromkeys(
        ("bert", "roberta", "electra", "xlm-roberta", "mpnet", "camembert"), "encoder.layer.1.output"
    ),
    "diffusion-transformer": "layers.1.feed_forward",
}


def test_the_last_feed_forward_sees_the_asked_positions_alone(
    family: tuple[str, PreTrainedModel], denoiser: MaskedLMDenoiser
) -> None:
    name, network = family
    if name not in SPARED:
        pytest.skip("its last layer is not of a layout that is known")
    widths = []
    last = network.base_model.get_submodule(SPARED[name])
    handle = last.register_forward_hook(lambda module, args, output: widths.append(tuple(output.shape[:-1])))
    with torch.no_grad():
        denoiser(ids(), NOW, where=CHOICES["some"])
    handle.remove()
    assert widths == [(1, int(CHOICES["some"].sum()))]


@pytest.mark.parametrize("again", [False, True])
def test_gradients_are_those_of_all_logits(family: tuple[str, PreTrainedModel], again: bool) -> None:
    """Also where the layers run once more for the backward pass."""
    network = copy.deepcopy(family[1])
    if again and not network.supports_gradient_checkpointing:
        pytest.skip("its layers cannot be run again for the backward pass")
    keys = ("key.weight", "k_proj.weight", "k.weight", "Wqkv.weight", "k_lin.weight", "key_proj.weight")
    weight = next(each for name, each in network.named_parameters() if name.endswith(keys))
    denoiser, where = MaskedLMDenoiser.of(network), CHOICES["some"]

    def gradient(logits: Tensor) -> Tensor:
        return torch.autograd.grad(logits.square().sum(), weight)[0]

    whole = gradient(denoiser(ids(), NOW)[where])
    if again:
        set_dropout(network.train(), 0.0)
        network.activation_checkpointing_enable()
    asked = gradient(denoiser(ids(), NOW, where=where))
    torch.testing.assert_close(asked, whole, atol=1e-5, rtol=1e-4)


def test_nothing_stays_behind(denoiser: MaskedLMDenoiser) -> None:
    with torch.no_grad():
        before = denoiser.model(input_ids=ids()).logits
        denoiser(ids(), NOW, where=CHOICES["some"])
        after = denoiser.model(input_ids=ids()).logits
    assert torch.equal(before, after)
    assert not hooks(denoiser.network)


def test_nothing_stays_behind_a_failure(denoiser: MaskedLMDenoiser) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("no head today")

    head = denoiser.network.get_output_embeddings()
    assert head is not None
    handle = head.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="no head today"), torch.no_grad():
        denoiser(ids(), NOW, where=CHOICES["some"])
    handle.remove()
    assert not hooks(denoiser.network)
    with torch.no_grad():
        assert denoiser.model(input_ids=ids()).logits.shape == (3, LENGTH, VOCAB)


def hooks(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if module._forward_hooks]


# -- padding and positions -------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [False, True])
def test_padding_on_the_right_changes_nothing(denoiser: MaskedLMDenoiser, asked: bool) -> None:
    padded = torch.cat([ids(), torch.full((3, 5), PAD)], 1)
    valid = torch.arange(LENGTH + 5)[None].expand(3, -1) < LENGTH
    positions = (valid.long().cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        alone = denoiser(ids(), NOW, positions=places())
        found = denoiser(padded, NOW, attend=valid, positions=positions, where=valid if asked else None)
    real = found.view(3, LENGTH, VOCAB) if asked else found[:, :LENGTH]
    torch.testing.assert_close(real, alone, atol=1e-5, rtol=1e-5)
    padded[:, LENGTH:] = 7
    with torch.no_grad():
        other = denoiser(padded, NOW, attend=valid, positions=positions)
    torch.testing.assert_close(other[:, :LENGTH], alone, atol=1e-5, rtol=1e-5)


def test_without_the_mask_padding_would_be_seen(denoiser: MaskedLMDenoiser) -> None:
    padded = torch.cat([ids(), torch.full((3, 5), 7)], 1)
    with torch.no_grad():
        alone = denoiser(ids(), NOW, positions=places())
        seen = denoiser(padded, NOW, positions=places(3, LENGTH + 5))
    assert (seen[:, :LENGTH] - alone).abs().max() > 1e-3


def test_positions_are_the_familys_own(denoiser: MaskedLMDenoiser) -> None:
    with torch.no_grad():
        given = denoiser(ids(), NOW, positions=places())
        own = denoiser.model(input_ids=ids()).logits
    torch.testing.assert_close(given, own, atol=1e-6, rtol=1e-6)


def test_offset_and_longest(family: tuple[str, PreTrainedModel], denoiser: MaskedLMDenoiser) -> None:
    name, _ = family
    assert denoiser.offset == (PAD + 1 if name in COUNTED_FROM_PAD else 0)
    assert denoiser.longest == (32 if name in COUNTED_FROM_PAD else 34)
    longest = denoiser.longest
    assert longest is not None
    with torch.no_grad():
        denoiser(ids(1, longest), NOW[:1], positions=places(1, longest))
    if name not in RELATIVE:
        with pytest.raises((IndexError, RuntimeError)), torch.no_grad():
            denoiser(ids(1, longest + 1), NOW[:1], positions=places(1, longest + 1))


def test_generated_padding_does_not_move_the_others(denoiser: MaskedLMDenoiser) -> None:
    """A token equal to the pad id in the middle, attended: positions are given, so nothing shifts."""
    text = ids()
    text[:, 4] = PAD
    with torch.no_grad():
        given = denoiser(text, NOW, positions=places())
        offset = {"position_ids": places() + denoiser.offset} if denoiser.takes_positions else {}
        expected = denoiser.model(input_ids=text, **offset).logits
    torch.testing.assert_close(given, expected, atol=1e-6, rtol=1e-6)


# -- refusals --------------------------------------------------------------------------------------------


def test_other_networks_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="Linear is no model of transformers"):
        MaskedLMDenoiser.of(nn.Linear(2, 2))


def test_a_wrapped_network_is_called_through_its_wrapper(denoiser: MaskedLMDenoiser) -> None:
    wrapped = nn.DataParallel(denoiser.network)
    adapter = MaskedLMDenoiser.of(wrapped)
    assert adapter.model is wrapped
    assert adapter.network is denoiser.network
    with torch.no_grad():
        found = adapter(ids(), NOW, where=CHOICES["some"])
        torch.testing.assert_close(found, denoiser(ids(), NOW, where=CHOICES["some"]))
