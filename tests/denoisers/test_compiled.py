"""Compiled layers: the same answers and the same texts, and one line where nothing can be compiled."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

import textdiffusion as td
from textdiffusion.checkpoint import STARTER
from textdiffusion.denoisers.adapt import denoiser_of, set_reading
from textdiffusion.denoisers.base import CachingDenoiser
from textdiffusion.denoisers.compiled import check_compiler, compile_for_generation, compile_for_training
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.training.recipe import TrainingRecipe
from textdiffusion.training.run import train

# torch warns of what it does itself: when its compiler is first loaded, and when it looks for gradients.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning"),
]

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
}


def can_compile() -> bool:
    try:
        check_compiler(torch.device("cpu"))
    except IncompatibleError:
        return False
    return True


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the checks of shapes, which torch.compile cannot read."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def compiler(unchecked: None) -> None:
    """Skips where torch.compile does not work."""
    if not can_compile():
        pytest.skip("torch.compile has no C++ compiler here")


def bert() -> BertForMaskedLM:
    return BertForMaskedLM(BertConfig(**SIZES)).eval()


def ours(**changes: Any) -> DiffusionTransformerForMaskedLM:
    return DiffusionTransformerForMaskedLM(DiffusionTransformerConfig(**SIZES, **changes)).eval()


def gpt2() -> GPT2LMHeadModel:
    config = GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    network = GPT2LMHeadModel(config).eval()
    set_reading(network, block_size=3, shift=False)
    return network


def ids(rows: int, length: int) -> Tensor:
    return torch.randint(0, 40, (rows, length), generator=torch.Generator().manual_seed(1))


def now(text: Tensor) -> Tensor:
    return torch.ones(len(text), 1, device=text.device)


def refuse_to_compile(network: nn.Module) -> None:
    """Let the layers fail as soon as torch wants to compile them."""

    def fail(graph: Any, inputs: Any) -> Any:
        raise AssertionError("this is compiled")

    for part in network.modules():
        if isinstance(part, nn.ModuleList):
            for layer in part:
                layer.compile(backend=fail)


@pytest.mark.skipif(not (STARTER / "config.json").is_file(), reason="the bundled model is not here")
@pytest.mark.usefixtures("compiler")
def test_the_bundled_model_writes_the_same_texts() -> None:
    plain, compiled = (td.load(device="cpu", compile=choice) for choice in (False, True))
    text = ids(1, 14)
    with torch.inference_mode():
        found, expected = (
            lm.denoiser(text, now(text), positions=torch.arange(14)[None]) for lm in (compiled, plain)
        )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    for temperature in (0.0, 1.0):
        texts = [
            lm.generate("Once upon a", length=9, steps=3, seed=2, temperature=temperature).token_ids
            for lm in (plain, compiled)
        ]
        assert texts[0] == texts[1]
    assert all(layer._compiled_call_impl is not None for layer in compiled.model.model.layers)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("make", [bert, ours])
@torch.inference_mode()
def test_answers_are_the_same_in_every_shape(make: Callable[[], nn.Module]) -> None:
    network = make()
    denoiser = denoiser_of(network)
    texts = [ids(2, 7), ids(3, 9), ids(4, 9)]
    where = [torch.arange(len(text) * text.shape[1]).view_as(text) % 3 == 0 for text in texts]
    valid = [(torch.arange(text.shape[1]) < text.shape[1] - 2).expand_as(text) for text in texts]
    asked = [
        lambda i=i: denoiser(texts[i], now(texts[i]), attend=valid[i], where=where[i])
        for i in range(len(texts))
    ]
    expected = [ask() for ask in asked]
    compile_for_generation(network)
    torch._dynamo.utils.counters.clear()
    for ask, logits in zip(asked, expected, strict=True):
        torch.testing.assert_close(ask(), logits, atol=1e-4, rtol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2, "one for the first shape, one for any"


@pytest.mark.usefixtures("compiler")
def test_gradients_are_the_same() -> None:
    network, text = ours(), ids(2, 8)
    found = []
    for compiled in (False, True):
        if compiled:
            compile_for_training(network)
        network.zero_grad()
        network(text, labels=text).loss.backward()
        found.append(
            [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
        )
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("make", [ours, lambda: ours(block_size=3), gpt2])
@torch.inference_mode()
def test_what_is_read_with_a_memory_is_not_compiled(make: Callable[[], nn.Module]) -> None:
    network, text = make(), ids(2, 6)
    denoiser = denoiser_of(network)
    assert isinstance(denoiser, CachingDenoiser)
    expected = denoiser.resume(denoiser.past(2, 6), text, now(text))
    refuse_to_compile(network)
    assert torch.equal(denoiser.resume(denoiser.past(2, 6), text, now(text)), expected)
    with pytest.raises(Exception, match="this is compiled"):
        denoiser(text, now(text))


def test_int8_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"dtype int8 .* torch.compile cannot read"):
        td.load(dtype="int8", device="cpu", compile=True)


def test_without_a_compiler_one_line_says_so(tmp_path: Path) -> None:
    source = Path(td.__file__).parents[1]
    there = {
        "CXX": str(tmp_path / "nothing"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(source),
    }
    command = [sys.executable, "-m", "textdiffusion", "generate", "Once", "--device", "cpu", "--compile"]
    done = subprocess.run(
        command, env={**os.environ, **there}, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: torch.compile does not work here")
    assert line.endswith("install a C++ compiler such as g++, or leave compile out.")


def test_a_training_without_a_compiler_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(function: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: no compiler.\nAnd much more.")

    monkeypatch.setattr(torch, "compile", missing)
    recipe = TrainingRecipe(data=str(tmp_path), output=str(tmp_path / "out"), device="cpu", compile=True)
    with pytest.raises(IncompatibleError, match=r"here \(InvalidCxxCompiler: no compiler\); install"):
        train(recipe, resume=False, console=Console(quiet=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
@torch.inference_mode()
def test_cuda_graphs_give_the_same_answers() -> None:
    network = ours().cuda()
    denoiser = denoiser_of(network)
    texts = [ids(2, 8).cuda(), ids(2, 8).flip(1).cuda(), ids(1, 8).cuda()]
    expected = [denoiser(text, now(text)) for text in texts]
    compile_for_generation(network)
    for _ in range(4):  # warmed up, recorded, and played
        found = [denoiser(text, now(text)) for text in texts]
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
