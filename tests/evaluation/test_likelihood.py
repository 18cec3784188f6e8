"""Scores of answers given prompts: what they equal, how they are batched, and their paired draws."""

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from cli.conftest import SPECIAL, make_tokenizer
from exact.oracle import LENGTH, MASK, WORDS, oracle
from lengths.known import IS, A, B, small_model
from lengths.known import MASK as MASK_ID
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

import textdiffusion as td
from textdiffusion.corruptions import Absorbing, Mixture
from textdiffusion.corruptions.mixture import MIXTURES
from textdiffusion.denoisers import as_denoiser
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.evaluation import Bound, Passage, nelbo, score
from textdiffusion.evaluation.batches import in_batches
from textdiffusion.language_model import DiffusionLM
from textdiffusion.objectives import BlockNelbo, CountNelbo, Nelbo, NextToken
from textdiffusion.randomness import RowGenerator


def known(denoiser: Callable[[Tensor], Tensor] | None = None) -> DiffusionLM:
    """A model around a function."""
    lm = small_model()
    lm.denoiser, lm.corruption = as_denoiser(denoiser or oracle()), Absorbing(MASK)
    return lm


# -- the value -------------------------------------------------------------------------------------------


def test_an_answer_is_scored_given_its_prompt() -> None:
    texts = torch.tensor([[0, 1, 2, 0], [2, 1, 1, 1], [1, 2, 0, 2]])
    passages = [Passage.answer(row[:2], row[2:], seed) for seed, row in enumerate(texts.tolist())]
    found = score(known(), passages, Bound(4000))
    truth = -oracle().log_p(texts, given=torch.tensor([[True, True, False, False]]).expand(3, -1))
    assert bool(((found.mean - truth).abs() < 4 * found.standard_error).all())
    assert bool((found.standard_error < 0.05).all())


def test_one_token_needs_one_look() -> None:
    """Its estimate is exact by counts, not as an integral over time."""
    asked: list[int] = []

    def counting(ids: Tensor) -> Tensor:
        asked.append(len(ids))
        return oracle()(ids)

    texts = torch.tensor([[0, 1, 2, 0]])
    found = score(known(counting), [Passage.answer([0, 1, 2], [0])], Bound(64))
    truth = -oracle().log_p(texts, given=torch.tensor([[True, True, True, False]]))
    torch.testing.assert_close(found.mean, truth, atol=1e-5, rtol=0)
    assert (asked, found.standard_error.tolist()) == ([1], [0.0])
    assert not Nelbo().exact(1) and CountNelbo().exact(1) and not CountNelbo().exact(2)
    assert BlockNelbo(1).exact(9) and not BlockNelbo(2).exact(2) and NextToken().exact(9)


def test_the_autoregressive_likelihood_is_the_loss_of_transformers(tmp_path: Path) -> None:
    """With the mask that was added to the vocabulary, and texts of unequal length in one batch."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer({name: token for name, token in SPECIAL.items() if name != "mask_token"})
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=32,
        initializer_range=0.4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    network = GPT2LMHeadModel(config).eval()
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    lm = td.load(str(tmp_path), device="cpu")
    assert lm.denoiser.next_token and lm.format.mask_id >= len(tokenizer)
    rows = [torch.randint(0, len(tokenizer), (size,)).tolist() for size in (9, 32, 2)]
    found = score(lm, [Passage.answer(row[:1], row[1:]) for row in rows], Bound(8))
    assert found.standard_error.tolist() == [0.0] * 3
    for row, nats in zip(rows, found.mean.tolist(), strict=True):
        ids = torch.tensor([row])
        with torch.no_grad():
            loss = network(ids, labels=ids).loss
        assert nats == pytest.approx(float(loss) * (len(row) - 1), rel=1e-5)


def test_a_mixture_is_measured_by_its_own_bound() -> None:
    lm = known()
    lm.corruption = Mixture(MASK, WORDS + 1, shares=MIXTURES["flowlm"])
    text = [Passage([0, 1, 2, 0], [True] * 4)]
    assert bool(score(lm, text, Bound(64)).mean.isfinite().all())
    with pytest.raises(IncompatibleError, match="counts masked tokens"):
        score(lm, text, Bound(8, objective=CountNelbo()))


# -- batches ---------------------------------------------------------------------------------------------


def passages() -> list[Passage]:
    """Of unequal length, and with prompts, in no order."""
    sizes = ((3, 4), (1, 9), (6, 1), (2, 2), (4, 12))
    return [Passage.answer([A] * a + [IS], [B] * b, seed) for seed, (a, b) in enumerate(sizes)]


@pytest.mark.parametrize("block_size", [None, 4])
def test_what_else_is_in_the_batch_changes_nothing(block_size: int | None) -> None:
    lm = small_model(block_size=block_size)
    together = score(lm, passages(), Bound(6))
    alone = [score(lm, [passage], Bound(6)) for passage in passages()]
    few = score(lm, passages(), Bound(6), tokens_at_once=20)
    for other in (torch.cat([each.mean for each in alone]), few.mean):
        torch.testing.assert_close(together.mean, other, atol=1e-4, rtol=1e-5)
    assert float(together.standard_error[2]) == 0.0, "a single token"
    assert bool((together.standard_error[[0, 1, 4]] > 0).all())
    backwards = score(lm, passages()[::-1], Bound(6))
    torch.testing.assert_close(together.mean, backwards.mean.flip(0), atol=1e-4, rtol=1e-5)


def test_batches_hold_texts_of_like_length() -> None:
    sizes, seen, shares = [5, 1, 9, 1, 2, 9], list[list[int]](), list[float]()

    def work(rows: Sequence[int]) -> list[str]:
        seen.append([sizes[row] for row in rows])
        return [f"{row}" for row in rows]

    assert in_batches(work, sizes, 18, progress=shares.append) == ["0", "1", "2", "3", "4", "5"]
    assert seen == [[9, 9], [5, 2, 1], [1]]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert in_batches(work, [], 18) == []
    seen.clear()
    assert in_batches(work, [30], 18) == ["0"], "at least one"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
    ],
    ids=["cuda", "cpu"],
)
def test_a_batch_that_the_memory_does_not_hold_is_halved(
    error: RuntimeError, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    def work(rows: Sequence[int]) -> list[int]:
        seen.append(len(rows))
        if len(rows) > 3:
            raise error
        return list(rows)

    with caplog.at_level(logging.WARNING):
        assert in_batches(work, [4] * 20, 48) == list(range(20))
    assert seen == [12, 6, 3, 3, 3, 3, 3, 3, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory with 12 texts at once; going on with 6",
        "out of memory with 6 texts at once; going on with 3",
    ]


def test_a_single_text_beyond_the_memory_and_other_errors_are_told() -> None:
    def work(rows: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(work, [4] * 5, 48)

    def broken(rows: Sequence[int]) -> list[int]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(broken, [4] * 5, 48)


@pytest.mark.parametrize(
    ("passage", "said"),
    [
        (Passage([], []), "no tokens"),
        (Passage([A] * 99, [True] * 99), "a text of 99 tokens is longer than the network's 64"),
        (Passage([A, MASK_ID, B], [False, True, True]), "the mask itself"),
    ],
)
def test_what_cannot_be_scored_is_refused(passage: Passage, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        score(small_model(), [passage])


# -- paired draws ----------------------------------------------------------------------------------------


def blurred(ids: Tensor) -> Tensor:
    """No oracle: its conditionals belong to no joint, so that the bound is loose."""
    return 0.6 * oracle()(ids) + 0.3 * torch.arange(4).flip(0)


def all_draws(text: Tensor) -> Tensor:
    """Loss of each order of the positions (24) and each number of masks (4), by the definition."""
    found = torch.zeros(24, LENGTH)
    for number, order in enumerate(itertools.permutations(range(LENGTH))):
        for count in range(1, LENGTH + 1):
            hidden = list(order[:count])
            shown = text.clone()
            shown[hidden] = MASK
            said = blurred(shown[None])[0, :, :WORDS].log_softmax(-1)
            found[number, count - 1] = -LENGTH / count * said[hidden, text[hidden]].sum()
    return found.double()


def test_pairs_are_unbiased_and_vary_less_than_two_draws() -> None:
    """A pair is an order and a count n, and the reversed order and N + 1 - n; enumerated for some texts.

    Nothing promises it for each text: on one of four tokens it may win nothing.
    """
    backwards = [
        list(itertools.permutations(range(LENGTH))).index(order[::-1])
        for order in itertools.permutations(range(LENGTH))
    ]
    gain, weight = list[float](), list[float]()
    for text, p in zip(oracle().texts[::4], oracle().joint[::4].tolist(), strict=True):
        draws = all_draws(text)
        other = draws[backwards].flip(1)
        pairs = (draws + other) / 2
        assert float(pairs.mean()) == pytest.approx(float(draws.mean()))
        gain.append(float(pairs.var(correction=0) / (draws.var(correction=0) / 2)))
        weight.append(p)
    assert max(gain) < 1.05
    assert math.fsum(g * w for g, w in zip(gain, weight, strict=True)) / sum(weight) < 0.8


def test_the_generator_makes_these_pairs() -> None:
    text = torch.tensor([2, 0, 0, 1])
    truth = float(all_draws(text).mean())
    found = nelbo(blurred, text[None], mask_id=MASK, samples=6000)
    assert float(found.mean) == pytest.approx(truth, abs=4 * float(found.standard_error))
    draws = RowGenerator.for_samples([5] * 6, range(6), 6, antithetic=True)
    for each in (draws.uniform(7), draws.stratified()[:, None], draws.stratified_parts(3)):
        torch.testing.assert_close(each[0::2] + each[1::2], torch.ones_like(each[::2]))
    plain = RowGenerator.for_samples([5] * 6, range(6), 6)
    assert len(plain.uniform(1).unique()) == 6


def test_samples_of_a_text_are_stratified_by_themselves() -> None:
    draws = RowGenerator.for_samples([1, 1, 2, 1, 2, 2], [0, 1, 0, 2, 1, 2], 3)
    for rows in ([0, 1, 3], [2, 4, 5]):
        assert sorted((draws.stratified()[rows] * 3).long().tolist()) == [0, 1, 2]
    alone = RowGenerator.for_samples([2], [1], 3)
    assert torch.equal(alone.uniform(4), draws.uniform(4)[4:5])
    assert torch.equal(alone.stratified(), draws.stratified()[4:5])
    batch = RowGenerator.for_batch(2, 0, first=0, rows=3, total=3)
    assert torch.equal(batch.stratified(), draws.stratified()[[2, 4, 5]])
