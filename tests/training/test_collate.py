"""Batches for a Trainer script of one's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerBase

import textdiffusion as td
from textdiffusion.errors import IncompatibleError
from textdiffusion.mask_rates import StepRates, UniformRates
from textdiffusion.tokens import TextFormat
from textdiffusion.training.collate import IGNORED, CanvasCollator, DiffusionCollator
from textdiffusion.training.network import new_network
from textdiffusion.training.tokenizer import train_tokenizer

from .conftest import Recipe

TOKENIZER = train_tokenizer(["the cat sat on the mat"], 280, longest=16)
FORMAT = TextFormat.of(TOKENIZER)
plain = st.integers(min_value=4, max_value=len(FORMAT.tokenizer) - 1)


@given(st.lists(st.lists(plain, min_size=1, max_size=9), min_size=1, max_size=5), st.integers(0, 4))
def test_labels_are_the_tokens_behind_the_prefix(rows: list[list[int]], prefix: int) -> None:
    batch = CanvasCollator(FORMAT, prefix)([{"input_ids": row} for row in rows])
    for number, row in enumerate(rows):
        size = len(row)
        assert batch["input_ids"][number, :size].tolist() == row
        assert batch["attention_mask"][number].tolist() == [1] * size + [0] * (max(map(len, rows)) - size)
        assert batch["labels"][number, :size].tolist() == [IGNORED] * min(prefix, size) + row[prefix:]
        assert set(batch["labels"][number, size:].tolist()) <= {IGNORED}


@given(
    st.lists(st.lists(plain, min_size=1, max_size=9), min_size=1, max_size=5),
    st.booleans(),
    st.integers(0, 1000),
)
def test_struck_tokens_are_masked_and_labelled(rows: list[list[int]], one_rate: bool, seed: int) -> None:
    collate = DiffusionCollator(TOKENIZER, one_rate_per_batch=one_rate, with_rate=True, seed=seed)
    batch = collate([{"input_ids": row} for row in rows])
    struck = batch["labels"] != IGNORED
    assert bool(struck.any()), "a loss over no tokens is no number"
    assert set(batch["input_ids"][struck].tolist()) == {FORMAT.mask_id}
    whole = torch.where(struck, batch["labels"], batch["input_ids"])
    assert [whole[i, : len(row)].tolist() for i, row in enumerate(rows)] == rows
    assert not bool(struck[batch["attention_mask"] == 0].any())
    assert len(set(batch["mask_rate"].tolist())) == 1 or not one_rate
    assert all(round(rate * 10) in range(1, 11) for rate in batch["mask_rate"].tolist())


def test_special_tokens_stay_and_the_end_only_if_it_is_not_learnt() -> None:
    (ids,) = FORMAT.document(["the cat"])
    rows = [{"input_ids": ids}] * 4
    for learn_end in (True, False):
        batch = DiffusionCollator(TOKENIZER, StepRates(1), learn_end=learn_end)(rows)
        assert bool((batch["input_ids"][:, -1] == FORMAT.mask_id).all()) is learn_end


def test_a_tokenizer_without_a_mask_is_refused_at_once() -> None:
    bare = train_tokenizer(["the cat"], 270, longest=16)
    bare.mask_token = None
    with pytest.raises(IncompatibleError, match="no mask token"):
        DiffusionCollator(bare)


def test_each_batch_draws_anew_and_the_seed_gives_it_again() -> None:
    rows = [{"input_ids": list(range(10, 30))}] * 4
    one, other = DiffusionCollator(TOKENIZER, seed=3), DiffusionCollator(TOKENIZER, seed=3)
    first, second = one(rows), one(rows)
    assert not torch.equal(first["labels"], second["labels"])
    assert torch.equal(first["labels"], other(rows)["labels"])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_epochs_and_ranks_draw_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has a copy of the collator that begins anew each epoch."""
    rows: Any = [{"input_ids": list(range(10, 40))} for _ in range(8)]
    collate = DiffusionCollator(TOKENIZER, seed=3)
    torch.manual_seed(0)
    loader = DataLoader(rows, batch_size=2, num_workers=2, collate_fn=collate, multiprocessing_context="fork")
    drawn = [batch["labels"] for _ in range(2) for batch in loader]
    ranks = []
    for rank in range(3):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        ranks.append(DiffusionCollator(TOKENIZER, seed=3)(rows[:2])["labels"])
    assert len({tuple(labels.flatten().tolist()) for labels in [*drawn, *ranks]}) == 8 + 3
    monkeypatch.undo()
    assert torch.equal(DiffusionCollator(TOKENIZER, seed=3)(rows[:2])["labels"], ranks[0])
    torch.manual_seed(0)
    again = [batch["labels"] for _ in range(2) for batch in loader]
    assert all(torch.equal(one, other) for one, other in zip(drawn, again, strict=True))


@pytest.mark.parametrize("kind", ["bert", "ours"])
def test_a_plain_trainer_learns_with_it(
    tmp_path: Path,
    bert: Path,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    recipe: Recipe,
    kind: str,
) -> None:
    rows: Any = [{"input_ids": ids[:16]} for ids in TextFormat.of(tokenizer).document(texts)]
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_pretrained(bert) if kind == "bert" else new_network(recipe(), tokenizer)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=16,
        num_train_epochs=12,
        learning_rate=2e-2,
        logging_steps=4,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    collator = td.DiffusionCollator(tokenizer, UniformRates(0.15, 0.99), prefix_length=2)
    trainer = transformers.Trainer(
        model=model, args=arguments, data_collator=collator, train_dataset=rows, processing_class=tokenizer
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]
    trainer.save_model(str(tmp_path / "saved"))
    lm = td.load(str(tmp_path / "saved"), device="cpu")
    assert lm.generate("the cat", length=4, steps=2).text
