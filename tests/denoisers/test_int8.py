"""Weights in eight bits: close to float32, in every layer, and refused where they cannot run."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

import textdiffusion as td
from textdiffusion.denoisers.adapt import denoiser_of
from textdiffusion.denoisers.int8 import Int8Linear, quantise
from textdiffusion.denoisers.own import OwnDenoiser
from textdiffusion.errors import SettingsError, UnknownNameError

from .test_transformer import build, ids


def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 30, "n_positions": 32}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()


@torch.inference_mode()
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_is_close(bias: bool, rows: int) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 48, bias=bias)
    x = torch.randn(rows, 3, 64)
    found = Int8Linear(layer.weight, layer.bias)(x)
    assert found.shape == (rows, 3, 48)
    error = (found - layer(x)).norm() / layer(x).norm()
    assert 0.0 < float(error) < 0.02


@torch.inference_mode()
@pytest.mark.parametrize("make", [build, gpt2], ids=["own", "gpt2"])
def test_all_layers_of_a_network(make: "type[PreTrainedModel]") -> None:
    network = make()
    before = network(ids()).logits.log_softmax(-1)
    quantise(network)
    kinds = [type(module).__name__ for module in network.modules()]
    assert "Int8Linear" in kinds
    assert not {"Linear", "ToStream", "Conv1D"} & set(kinds)
    after = network(ids()).logits.log_softmax(-1)
    divergence = (before.exp() * (before - after)).sum(-1)
    assert 0.0 < float(divergence.mean()) < 0.02


@torch.inference_mode()
def test_memory_works_on_rounded_weights() -> None:
    network = build(block_size=3)
    quantise(network)
    own = denoiser_of(network)
    assert isinstance(own, OwnDenoiser)
    t = torch.zeros(2, 1)
    past = own.past(2, 9)
    own.resume(past, ids()[:, :6], t)
    found, whole = (
        own.resume(past.at(6), ids()[:, 6:], t).log_softmax(-1),
        own(ids(), t)[:, 6:].log_softmax(-1),
    )
    # Not equal, as the inputs of a call share a scale.
    assert 0.0 < float((whole.exp() * (whole - found)).sum(-1).mean()) < 0.02


@torch.inference_mode()
def test_trained_weights_stay_close() -> None:
    """On text of the bundled model's own: a divergence of at most 0.02 nats, and 1 % of the bound."""
    exact, rounded = (td.load(device="cpu", dtype=dtype) for dtype in ("float32", "int8"))
    found = exact.generate(["Once upon a time", "The old king", "Tom"], length=60, steps=30, seed=3)
    tokens = torch.tensor([text.frames[-1].tokens[text.row].tolist()[:60] for text in found])
    hidden = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    xt, t = tokens.masked_fill(hidden, exact.format.mask_id), torch.zeros(3, 1)
    p, q = (lm.denoiser(xt, t, where=hidden).double().log_softmax(-1) for lm in (exact, rounded))
    assert 0.0 < float((p.exp() * (p - q)).sum(-1).mean()) < 0.02
    before, after = (
        td.nelbo(lm.denoiser, tokens, mask_id=exact.format.mask_id, samples=16).mean.sum()
        for lm in (exact, rounded)
    )
    assert float(after) == pytest.approx(float(before), rel=0.01)


def test_the_bundled_model_in_int8(capsys: pytest.CaptureFixture[str]) -> None:
    text = td.load(dtype="int8").generate("Once upon a time", length=16, seed=1).text
    assert text and text == td.load(dtype="int8").generate("Once upon a time", length=16, seed=1).text
    assert capsys.readouterr().err == ""


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="int8"):
        td.load(dtype="int9")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(SettingsError, match="int8 is for CPUs"):
        td.load(dtype="int8", device="cuda")
