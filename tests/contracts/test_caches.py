"""Memory during a generation: exact ones change nothing, approximate ones say so, wrong ones are refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import Past, as_denoiser
from textdiffusion.denoisers.own import OwnDenoiser
from textdiffusion.denoisers.transformer import DiffusionTransformerConfig, DiffusionTransformerForMaskedLM
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.evaluation.speed import staleness
from textdiffusion.generation import Decoding, Frame, denoise
from textdiffusion.generation.memory import CACHES
from textdiffusion.randomness import RowGenerator
from textdiffusion.samplers import SAMPLERS, Recipe, State, sampler_settings
from textdiffusion.samplers.commit import Commit
from textdiffusion.samplers.moment import Moment
from textdiffusion.samplers.reopen import Nothing, Reopen, Writing
from textdiffusion.samplers.unmask import Unmask

VOCAB, MASK, PAD = 24, 23, 0
LENGTHS = [(3, 9), (6, 6), (1, 4), (8, 1)]
"""Prompt and new tokens of each text."""


def denoiser(block_size: int | None, seed: int = 0) -> OwnDenoiser:
    torch.manual_seed(seed)
    config = DiffusionTransformerConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        initializer_range=0.4,
        block_size=block_size,
    )
    network = DiffusionTransformerForMaskedLM(config).eval()
    return OwnDenoiser.of(network)


def canvas(lengths: Sequence[tuple[int, int]] = LENGTHS) -> Canvas:
    draws = torch.Generator().manual_seed(5)
    prompts = [torch.randint(1, MASK, (given,), generator=draws).tolist() for given, _ in lengths]
    holes = [[False] * given + [True] * new for given, new in lengths]
    rows = [[*prompt, *[PAD] * new] for prompt, (_, new) in zip(prompts, lengths, strict=True)]
    return Canvas.from_rows(rows, holes, pad_id=PAD)


def run(
    network: OwnDenoiser,
    text: Canvas,
    *,
    seeds: Sequence[int] | None = None,
    end: int | None = None,
    **options: Any,
) -> list[Frame]:
    rows = RowGenerator.for_rows(range(len(text.tokens)) if seeds is None else seeds)
    decoding = Decoding().changed(options)
    return list(
        denoise(
            network, Absorbing(MASK), text, decoding, rows, banned=[PAD], ends=() if end is None else (end,)
        )
    )


# -- exact -----------------------------------------------------------------------------------------------


def same(plain: Sequence[Frame], fast: Sequence[Frame]) -> None:
    assert len(plain) == len(fast)
    for a, b in zip(plain, fast, strict=True):
        assert torch.equal(a.tokens, b.tokens)
        torch.testing.assert_close(a.confidence, b.confidence, atol=1e-4, rtol=1e-4, equal_nan=True)
        assert a.nfe == b.nfe


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize(("block", "part"), [(1, None), (4, None), (4, 2), (5, None), (16, None)])
def test_exact_memory_changes_nothing(sampler: str, block: int, part: int | None) -> None:
    network, text = denoiser(block), canvas()
    options: dict[str, Any] = {"sampler": sampler, "temperature": 1.0}
    options |= {} if part is None and sampler == "autoregressive" else {"block_size": part}
    same(*(run(network, text, cache=cache, **options) for cache in ("none", None)))


def takes_back(sampler: str) -> bool:
    rule = SAMPLERS[sampler].sampler
    return isinstance(rule, Unmask) and not isinstance(rule.reopen, Nothing)


@pytest.mark.parametrize("sampler", ["edit", *filter(takes_back, SAMPLERS)])
def test_second_thoughts_leave_an_exact_memory_exact(sampler: str) -> None:
    """They strike inside the block alone, which is read anew at every call."""
    network, text, changed = denoiser(4), canvas([(3, 13), (6, 10), (1, 7)]), False
    eager = {"eta": 0.3, "threshold": 0.3, "edit_threshold": 0.1, "remask_threshold": 0.9}
    own = {name: eager[name] for name in sampler_settings(SAMPLERS[sampler].sampler) if name in eager}
    options: dict[str, Any] = {"sampler": sampler, "steps": 24, "temperature": 1.0, "top_p": 1.0, **own}
    for seed in range(0, 9, 3):
        seeds = range(seed, seed + 3)
        plain, fast = (run(network, text, cache=c, seeds=seeds, **options) for c in ("none", "exact"))
        same(plain, fast)
        changed |= any(
            bool((a.settled & text.editable & (a.tokens != b.tokens)).any()) for a, b in pairwise(fast)
        )
    assert changed, "what was written has been changed"


@dataclass(frozen=True)
class AnywhereSoFar(Commit):
    """Whatever is noise in the window or before it."""

    def ask(self, state: State, moment: Moment, generator: RowGenerator) -> Tensor:
        return ~state.settled & (state.window | before(state))


@dataclass(frozen=True)
class EarlierOnes(Reopen):
    """Takes back every second of the tokens written before the window."""

    beyond = True

    def choose(self, state: State, writing: Writing, generator: RowGenerator) -> Tensor:
        drawn = generator.uniform(state.tokens.shape[1], 9) < 0.5
        own = before(state) & ~state.confidence.isnan()
        return own & drawn & (writing.moment.after > 0.0)


@dataclass(frozen=True)
class HeldBack(EarlierOnes):
    """The same, not owning up to it."""

    beyond = False


def before(state: State) -> Tensor:
    """Places before the window of each text."""
    return (state.window.cumsum(1) == 0) & state.window.any(1, keepdim=True)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Callable[[Reopen], None]:
    """Puts a rule that looks back into the table, under the name far."""

    def put(rule: Reopen) -> None:
        row = Recipe(Unmask(AnywhereSoFar(), rule), "", "", "biased: only a test")
        monkeypatch.setattr(SAMPLERS, "_entries", {**dict(SAMPLERS), "far": row})

    return put


def rewritten(frames: Sequence[Frame]) -> bool:
    """Whether the first block of the first text was touched after it was finished."""
    return any(bool((b.tokens[0, :4] != frames[4].tokens[0, :4]).any()) for b in frames[5:])


def test_what_reaches_behind_its_block_excludes_an_exact_memory(far: Callable[[Reopen], None]) -> None:
    network, text = counting(4), canvas([(0, 16)])
    far(EarlierOnes())
    rows = RowGenerator.for_rows([0])
    with pytest.raises(IncompatibleError, match="takes back tokens of finished blocks") as caught:
        denoise(network, Absorbing(MASK), text, Decoding(sampler="far", cache="exact"), rows)
    assert "\n" not in str(caught.value) and not network.read
    plain, default = (run(network, text, sampler="far", cache=cache) for cache in ("none", None))
    assert rewritten(plain) and not network.read, "left out, the cache is none"
    same(plain, default)
    assert bool(plain[-1].settled.all())


def test_a_rule_is_held_to_its_window(far: Callable[[Reopen], None]) -> None:
    far(HeldBack())
    plain, fast = (run(denoiser(4), canvas([(0, 16)]), sampler="far", cache=c) for c in ("none", "exact"))
    assert not rewritten(plain)
    same(plain, fast)


@given(
    lengths=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=4),
    block=st.integers(1, 6),
    steps=st.none() | st.integers(1, 12),
)
def test_exact_memory_with_any_prompts(lengths: list[tuple[int, int]], block: int, steps: int | None) -> None:
    network, text = denoiser(block), canvas(lengths)
    plain, fast = (run(network, text, cache=cache, steps=steps)[-1] for cache in ("none", "exact"))
    assert torch.equal(plain.tokens, fast.tokens)
    assert bool(fast.settled.all())
    assert not bool((fast.tokens == MASK).any())


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("seed", [0, 1000])
def test_a_text_alone_and_in_a_batch(sampler: str, seed: int) -> None:
    """Prompts and lengths are mixed; one of the texts has no hole at all."""
    network, text = denoiser(4), canvas([*LENGTHS, (5, 0)])
    options: dict[str, Any] = {"sampler": sampler, "temperature": 1.0, "steps": 7, "cache": "exact"}
    together = run(network, text, seeds=range(seed, seed + 5), **options)[-1].tokens
    for row in range(len(LENGTHS)):
        width = int(text.valid[row].sum())
        alone = Canvas(*(part[row : row + 1, :width] for part in (text.tokens, text.editable, text.valid)))
        found = run(network, alone, seeds=[seed + row], **options)[-1].tokens
        assert torch.equal(found[0], together[row, :width])
    assert torch.equal(together[-1], text.tokens[-1])


class Counting(OwnDenoiser):
    """Notes how many tokens each call reads, of how many texts."""

    read: list[tuple[int, int]]

    def resume(self, past: Past, xt: Tensor, t: Tensor, **options: Any) -> Tensor:
        self.read.append((xt.shape[0], xt.shape[1]))
        return super().resume(past, xt, t, **options)


def counting(block_size: int | None) -> Counting:
    plain = denoiser(block_size)
    found = Counting(plain.model, plain.network)
    object.__setattr__(found, "read", [])
    return found


def test_each_block_is_read_once_more_than_written_and_finished_texts_not_at_all() -> None:
    network = counting(4)
    run(network, canvas([(6, 10), (6, 2)]), sampler="first-hitting")
    # The prompt's block and the second one; the one step that is left in it; then each block with the one
    # before it at first. From the third block on the second text, which is finished, is left out.
    assert network.read == [(2, 8), (2, 4), (1, 8), *[(1, 4)] * 3, (1, 8), *[(1, 4)] * 3]


@pytest.mark.parametrize("block", [1, 4])
def test_writing_stops_at_the_end_of_text(block: int) -> None:
    network, text = denoiser(block), canvas([(3, 20), (5, 18), (4, 19)])
    free = run(network, text)[-1].tokens
    end = int(free[0, 9])
    frames = run(network, text, end=end)
    last = frames[-1]
    assert bool(last.settled.all())
    assert not bool((last.tokens == MASK).any())
    for row in range(3):
        places = (free[row] == end) & text.editable[row]
        if not bool(places.any()):
            assert torch.equal(last.tokens[row], free[row])
            continue
        stop = (int(places.nonzero()[0]) // block + 1) * block
        assert torch.equal(last.tokens[row, :stop], free[row, :stop])
        assert bool((last.tokens[row, stop:] == end).all())
    alone = Canvas(*(part[:1] for part in (text.tokens, text.editable, text.valid)))
    assert run(network, alone, end=end)[-1].nfe < run(network, alone)[-1].nfe


# -- approximate -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_approximate_memory_is_exact_when_always_fresh(cache: str) -> None:
    network, text = denoiser(None), canvas()
    options: dict[str, Any] = {"block_size": 3, "sampler": "confidence"}
    plain, fresh = (
        run(network, text, **options, **more)[-1] for more in ({}, {"cache": cache, "refresh": 1})
    )
    assert torch.equal(plain.tokens, fresh.tokens)


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_approximate_memory_differs_and_reads_less(cache: str) -> None:
    network, text = counting(None), canvas([(4, 12)])
    options: dict[str, Any] = {"block_size": 4, "sampler": "first-hitting"}
    plain, stale = (run(network, text, **options, **more)[-1] for more in ({}, {"cache": cache}))
    assert not torch.allclose(plain.confidence, stale.confidence, atol=1e-4, equal_nan=True)
    inner = {"prefix": [12, 8, 4], "dual": [4, 4, 4]}[cache]
    assert [width for _, width in network.read] == [w for own in inner for w in (16, own, own, own)]


def test_an_exact_cache_is_not_stale_and_an_old_one_is() -> None:
    """With a cache that is always fresh the divergence is zero; otherwise it estimates the true one."""
    text = canvas([(4, 12)] * 8)
    options: dict[str, Any] = {"block_size": 4, "sampler": "first-hitting"}
    for block, cache, refresh, low, high in (
        (4, "exact", 0, -1e-6, 1e-6),
        (None, "dual", 1, -1e-6, 1e-6),
        (None, "dual", 0, 1e-3, 1.0),
    ):
        network = denoiser(block)
        decoding = Decoding().changed({**options, "cache": cache, "refresh": refresh})
        rows = RowGenerator.for_rows(range(8))
        frames = list(denoise(network, Absorbing(MASK), text, decoding, rows))
        with torch.inference_mode():
            assert low < staleness(network, Absorbing(MASK), text, frames) < high


# -- what is refused -------------------------------------------------------------------------------------


def never(ids: Tensor) -> Tensor:
    raise AssertionError("the network was asked")


def test_wrong_caches_are_refused_before_any_call() -> None:
    text, rows = canvas(), RowGenerator.for_rows(range(4))
    for cache, reason in (("exact", "trained block by block"), ("dual", "cannot remember")):
        with pytest.raises(IncompatibleError, match=reason):
            denoise(as_denoiser(never), Absorbing(MASK), text, Decoding(cache=cache), rows)
    with pytest.raises(IncompatibleError, match="has an exact cache"):
        run(denoiser(4), text, cache="prefix")
    with pytest.raises(IncompatibleError, match="trained block by block"):
        run(denoiser(None), text, cache="exact")


@pytest.mark.parametrize("size", [3, 8])
def test_blocks_that_do_not_fit_the_network(size: int) -> None:
    with pytest.raises(SettingsError, match="trained in blocks of 4 tokens"):
        run(denoiser(4), canvas(), block_size=size)


def test_settings_of_caches() -> None:
    assert set(CACHES) == {"none", "exact", "prefix", "dual"}
    with pytest.raises(SettingsError, match="refresh"):
        Decoding(refresh=-1)
    for cache in (None, "none", "exact"):
        with pytest.raises(SettingsError, match="name one"):
            Decoding(cache=cache, refresh=2)
    assert Decoding(cache="dual", refresh=2).refresh == 2
    with pytest.raises(Exception, match="dual"):
        Decoding(cache="duall")
