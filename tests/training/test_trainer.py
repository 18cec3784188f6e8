"""The loss of the Trainer against a naive one, in any micro-batches; what is never noised."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from textdiffusion.canvas import Canvas
from textdiffusion.corruptions import Absorbing, Interpolating
from textdiffusion.denoisers.base import Denoiser
from textdiffusion.objectives import OBJECTIVES, Distilling, Objective
from textdiffusion.randomness import RowGenerator
from textdiffusion.tokens import TextFormat
from textdiffusion.training.collate import IGNORED, CanvasCollator
from textdiffusion.training.network import new_network
from textdiffusion.training.recipe import TrainingRecipe
from textdiffusion.training.run import _arguments
from textdiffusion.training.trainer import DiffusionTrainer, RowOrder

from .conftest import Recipe

Run = Callable[..., str]
OF_TOKENS = [name for name, kind in OBJECTIVES.items() if not kind.fills and not issubclass(kind, Distilling)]
"""Those that need neither filled rows nor a teacher; see test_fillers.py and test_distillation.py."""
OF_WORDS = ("duo", "symmetric-kl", "symmetric-kl-flowlm")
"""Those of them that are for noise of words alone; their losses are held to formulas in tests/exact."""
LOSSES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in OF_TOKENS if name not in OF_WORDS),
    ("block-nelbo", {"block_size": 4, "low": 0.3}),
    ("cross-entropy", {"one_rate_per_batch": True}),
]


@pytest.fixture
def rows(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[dict[str, list[int]]]:
    """Rows of unequal length."""
    return [{"input_ids": ids[:16]} for ids in TextFormat.of(tokenizer).document(texts)]


def make_trainer(
    recipe: TrainingRecipe, tokenizer: PreTrainedTokenizerBase, rows: Any, **changes: Any
) -> DiffusionTrainer:
    text_format = TextFormat.of(tokenizer)
    network, mask_id = new_network(recipe, tokenizer), text_format.mask_id
    words = recipe.objective in OF_WORDS
    given: dict[str, Any] = {
        "model": network,
        "args": _arguments(recipe),
        "data_collator": CanvasCollator(text_format, recipe.prefix_length, recipe.learn_end),
        "train_dataset": rows,
        "eval_dataset": rows[:10],
        "recipe": recipe,
        "corruption": Interpolating(mask_id, network.config.vocab_size, 0.0) if words else Absorbing(mask_id),
        "objective": recipe.loss(),
        **changes,
    }
    trainer = DiffusionTrainer(**given)
    trainer.state.max_steps = 10**6
    return trainer


def micro_batches(trainer: DiffusionTrainer, count: int) -> tuple[list[dict[str, Any]], Any]:
    return trainer.get_batch_samples(iter(trainer.get_train_dataloader()), count, torch.device("cpu"))


def gradient(trainer: DiffusionTrainer, count: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradient of one step of so many micro-batches, as the Trainer's own step takes them."""
    samples, items = micro_batches(trainer, count)
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = count
    losses = [trainer.training_step(trainer.network, dict(sample), items) for sample in samples]
    grads = {name: p.grad for name, p in trainer.network.named_parameters() if p.grad is not None}
    return float(sum(losses)), grads


class Spy(Denoiser):
    """Logits of all positions from a network, or at `where` only, and a list of what it was shown."""

    def __init__(self, network: Any) -> None:
        self.network, self.seen = network, list[torch.Tensor]()

    def __call__(self, xt, t, *, attend=None, positions=None, where=None):  # type: ignore[no-untyped-def]
        self.seen.append(xt)
        mask = attend if attend is None or attend.ndim == 2 else attend[:, None]
        logits = self.network(input_ids=xt, attention_mask=mask, position_ids=positions).logits
        return logits if where is None else logits[where]


def naive(name: str, trainer: DiffusionTrainer, batch: dict[str, Any]) -> torch.Tensor:
    """The loss over all logits and positions, position by position from the papers' formulas."""
    clean, editable, valid = batch["input_ids"], batch["labels"] != IGNORED, batch["attention_mask"].bool()
    spy = Spy(trainer.network)
    canvas = Canvas(clean, editable, valid)
    scores = trainer.objective(spy, trainer.corruption, canvas, batch["draws"])
    (xt,) = spy.seen
    if name.startswith("block"):
        return by_blocks(trainer, canvas, xt[:, : clean.shape[1]])
    causal = torch.ones(clean.shape[1], clean.shape[1]).tril().bool()
    mask = (causal & valid[:, None])[:, None] if name == "next-token" else valid
    mask_id = trainer.corruption.mask_id
    logits = trainer.network(input_ids=xt, attention_mask=mask).logits.float()
    logits[..., mask_id] = -torch.inf
    nll = -logits.log_softmax(-1)
    if name == "next-token":
        assert torch.equal(xt, clean)
        picked = nll[:, :-1].gather(-1, clean[:, 1:, None])[..., 0]
        return (picked * editable[:, 1:]).sum() / editable.sum()
    struck = (xt == mask_id) & editable
    assert torch.equal(struck, scores.asked)
    picked = torch.where(struck, nll.gather(-1, clean[..., None])[..., 0], 0.0)
    if name == "cart":
        return (picked * by_context(trainer, canvas, struck)).sum() / editable.sum()
    if name == "nelbo":
        floor = trainer.objective.time_floor  # type: ignore[attr-defined]
        t = floor + (1 - floor) * (1 - batch["draws"].stratified())
        weight = (1 - floor) / t
    elif name == "nelbo-count":
        weight = editable.sum(1) / struck.sum(1)
    else:
        rates = trainer.objective.rates  # type: ignore[attr-defined]
        own = rates.quantile(batch["draws"].common())
        mean = own if trainer.objective.one_rate_per_batch else rates.mean  # type: ignore[attr-defined]
        weight = torch.full((len(clean),), 1 / float(mean))
    return (picked * weight[:, None]).sum() / editable.sum()


def by_context(trainer: DiffusionTrainer, canvas: Canvas, struck: torch.Tensor) -> torch.Tensor:
    """The weight of each token, over the mean of a text's weights where mask rates are even."""
    p = trainer.objective.nearness  # type: ignore[attr-defined]
    place = torch.arange(struck.shape[1])
    apart = (place[:, None] - place).abs()
    near = torch.where(apart > 0, 0.5 * p * (1 - p) ** (apart - 1.0), 0.0)
    weights = (canvas.valid & ~struck).float() @ near
    chance = torch.where(canvas.editable, 1 / 6, 1 / 2) * canvas.valid  # i is hidden and j is visible
    mean = ((chance @ near) * canvas.editable).sum(1) / canvas.editable.sum(1)
    return weights / mean[:, None]


def by_blocks(trainer: DiffusionTrainer, canvas: Canvas, xt: torch.Tensor) -> torch.Tensor:
    """Block by block: the noisy one behind the clean ones, as the network reads them when it writes."""
    size, mask_id = trainer.objective.block_size, trainer.corruption.mask_id
    assert size is not None
    assert trainer.network.config.block_size == size
    nats = torch.zeros(())
    for first in range(0, xt.shape[1], size):
        here = slice(first, first + size)
        seen = torch.cat([canvas.tokens[:, :first], xt[:, here]], 1)
        logits = trainer.network(
            input_ids=seen, attention_mask=canvas.valid[:, : first + size]
        ).logits.float()
        logits[..., mask_id] = -torch.inf
        nll = -logits[:, here].log_softmax(-1).gather(-1, canvas.tokens[:, here, None])[..., 0]
        struck = (xt[:, here] == mask_id) & canvas.editable[:, here]
        share = struck.sum(1, keepdim=True) / canvas.editable[:, here].sum(1, keepdim=True).clamp(min=1)
        nats = nats + torch.where(struck, nll / share, 0.0).sum()
    return nats / canvas.editable.sum()


@pytest.mark.parametrize(("name", "settings"), LOSSES)
@pytest.mark.parametrize("batch_size", [8, 1])
def test_the_loss_equals_a_naive_one(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    rows: Any,
    name: str,
    settings: dict[str, Any],
    batch_size: int,
) -> None:
    given = {"objective": name, "objective_settings": settings, "eval_every": 9}
    made = recipe(**given, batch_size=batch_size, accumulation=1)
    trainer = make_trainer(made, tokenizer, rows)
    samples, items = micro_batches(trainer, 1)
    loss = trainer.compute_loss(trainer.network, samples[0], num_items_in_batch=items)
    torch.testing.assert_close(loss, naive(name, trainer, samples[0]).to(loss.dtype), rtol=1e-5, atol=1e-5)
    assert float(loss.detach()) == pytest.approx(trainer.meter.mean_loss, rel=1e-5)


@pytest.mark.parametrize(("name", "settings"), [*LOSSES, *((name, {}) for name in OF_WORDS)])
def test_micro_batches_change_nothing(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any, name: str, settings: dict[str, Any]
) -> None:
    """Also the mask rates are spread evenly over the whole batch, not over each part of it."""
    given = {"objective": name, "objective_settings": settings, "eval_every": 9}
    whole = make_trainer(recipe(**given, batch_size=8, accumulation=1), tokenizer, rows)
    parted = make_trainer(recipe(**given, batch_size=4, accumulation=2), tokenizer, rows)
    (one,), two = micro_batches(whole, 1)[0], micro_batches(parted, 2)[0]
    assert one["draws"].stratified().tolist() == [
        u for part in two for u in part["draws"].stratified().tolist()
    ]
    assert sorted((one["draws"].stratified() * 8).floor().tolist()) == list(range(8))
    (loss, grads), (other, others) = gradient(whole, 1), gradient(parted, 2)
    assert loss == pytest.approx(other, rel=1e-5)
    assert grads.keys() == others.keys()
    for key in grads:
        torch.testing.assert_close(grads[key], others[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", OF_TOKENS)
@pytest.mark.parametrize("text", ["", "the"])
def test_rows_with_next_to_nothing_to_learn_give_a_number(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, name: str, text: str
) -> None:
    text_format = TextFormat.of(tokenizer)
    rows = [{"input_ids": ids} for ids in text_format.document([text] * 4)]
    made = recipe(objective=name, learn_end=False, accumulation=1, eval_every=9)
    trainer = make_trainer(made, tokenizer, rows)
    loss, grads = gradient(trainer, 1)
    assert np.isfinite(loss)
    assert all(bool(grad.isfinite().all()) for grad in grads.values())


@pytest.mark.parametrize("name", ["nelbo", "nelbo-count", "block-nelbo", "cross-entropy"])
@pytest.mark.parametrize("learn_end", [True, False])
def test_prefix_special_tokens_and_padding_are_never_noised(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any, name: str, learn_end: bool
) -> None:
    made = recipe(objective=name, prefix_length=3, learn_end=learn_end, batch_size=16)
    trainer = make_trainer(made, tokenizer, rows)
    text_format = TextFormat.of(tokenizer)
    struck_ends = 0
    for step in range(12):
        trainer.state.global_step = step
        (batch,), _ = micro_batches(trainer, 1)
        spy = Spy(trainer.network)
        canvas = Canvas(batch["input_ids"], batch["labels"] != IGNORED, batch["attention_mask"].bool())
        trainer.objective(spy, trainer.corruption, canvas, batch["draws"])
        changed = spy.seen[0][:, : batch["input_ids"].shape[1]] != batch["input_ids"]
        assert not bool(changed[:, :3].any())
        assert not bool(changed[batch["attention_mask"] == 0].any())
        ends = batch["input_ids"] == text_format.end_id
        struck_ends += int((changed & ends).sum())
        specials = torch.isin(batch["input_ids"], torch.tensor(sorted(text_format.special_ids))) & ~ends
        assert not bool((changed & specials)[:, 1:].any())
        assert bool(changed.any())
    assert (struck_ends > 0) is learn_end


def test_random_prefixes_have_every_length_alike(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any
) -> None:
    made = recipe(random_prefix=True, prefix_length=4, batch_size=50, accumulation=1)
    collate = CanvasCollator(TextFormat.of(tokenizer), 0, True)
    trainer = make_trainer(made, tokenizer, rows, data_collator=collate)
    counts = np.zeros(5)
    for step in range(60):
        trainer.state.global_step = step
        (batch,), _ = micro_batches(trainer, 1)
        counts += np.bincount((batch["labels"] != IGNORED).int().argmax(1).numpy(), minlength=5)
    assert abs(counts / counts.sum() - 0.2).max() < 0.03


def test_one_rate_per_batch_is_one_for_the_whole_step(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any
) -> None:
    settings = {"one_rate_per_batch": True}
    rates = {"mask_rates": "steps", "mask_rate_settings": {"count": 10}}
    made = recipe(objective="cross-entropy", objective_settings=settings, batch_size=8, **rates)
    trainer = make_trainer(made, tokenizer, rows)
    seen = set()
    for step in range(20):
        trainer.state.global_step = step
        samples, _ = micro_batches(trainer, 2)
        commons = {float(sample["draws"].common()) for sample in samples}
        assert len(commons) == 1
        seen |= commons
    assert len(seen) == 20


def test_measuring_gives_the_same_every_time_whatever_the_batches(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any
) -> None:
    found = []
    for size in (10, 3):
        trainer = make_trainer(recipe(batch_size=size), tokenizer, rows)
        state = torch.get_rng_state()
        found.append(trainer.evaluate())
        assert found[-1] == trainer.evaluate()
        assert torch.equal(state, torch.get_rng_state())
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[0]["eval_standard_error"] > 0.0
    assert 0.0 < found[0]["eval_entropy"] < math.log(len(tokenizer))


def test_measuring_nothing_is_allowed(recipe: Recipe, run: Run) -> None:
    assert "held out" not in run(recipe(eval_rows=0, eval_every=3, steps=4))


def test_the_order_of_the_rows_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return list(RowOrder(50, 16, seed, lambda: epoch))

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(found[:50]) == list(range(50)) and found[50:] == found[:14] for found in orders)
    assert len({tuple(found) for found in orders}) == 4
    assert order(1, 1) == orders[-1]
    assert len(RowOrder(3, 8, 0, lambda: 0)) == len(list(RowOrder(3, 8, 0, lambda: 0))) == 8


def test_reports_hold_losses_by_level(recipe: Recipe, run: Run) -> None:
    run(recipe(steps=6, save_every=6))
    state = json.loads((Path(recipe().output) / "checkpoints/checkpoint-6/trainer_state.json").read_text())
    first = state["log_history"][0]
    assert first["step"] == 3
    assert first["loss"] > 0
    assert sum(key.startswith("loss_at_") for key in first) > 5
    assert all(0.0 <= first[f"accuracy_to_{edge}"] <= 1.0 for edge in (25, 50, 75, 100))


def test_a_causal_start_learns_next_tokens_and_has_no_noise_levels(recipe: Recipe, run: Run) -> None:
    def reports(name: str, **changes: Any) -> list[dict[str, float]]:
        output = str(Path(recipe().output) / name)
        run(recipe(steps=4, save_every=4, log_every=1, output=output, **changes))
        state = json.loads((Path(output) / "checkpoints/checkpoint-4/trainer_state.json").read_text())
        return [entry for entry in state["log_history"] if "loss" in entry]

    causal = reports("causal", objective="cross-entropy", causal_share=0.5)
    levels = [any(name.startswith("loss_at_") for name in entry) for entry in causal]
    assert levels == [False, False, True, True]
    plain = reports("plain", objective="next-token")
    assert [entry["loss"] for entry in causal[:2]] == [entry["loss"] for entry in plain[:2]]


def test_the_learning_rate_rises_for_its_share_of_the_steps_and_falls(recipe: Recipe, run: Run) -> None:
    run(recipe(steps=20, save_every=20, log_every=1, warmup=0.25, learning_rate=1e-3))
    state = json.loads((Path(recipe().output) / "checkpoints/checkpoint-20/trainer_state.json").read_text())
    rates = [entry["learning_rate"] for entry in state["log_history"] if "learning_rate" in entry]
    assert rates.index(max(rates)) == 5
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] < 2e-5


def test_incompatible_objectives_are_refused_by_name() -> None:
    assert all(isinstance(kind(), Objective) for kind in OBJECTIVES.values())


def test_rows_of_a_batch_have_streams_of_their_own() -> None:
    whole = RowGenerator.for_batch(0, 3, first=0, rows=8, total=8)
    second = RowGenerator.for_batch(0, 3, first=4, rows=4, total=8)
    assert torch.equal(whole.uniform(5)[4:], second.uniform(5))
