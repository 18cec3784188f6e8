"""Training speed of our Trainer against transformers' own with logits at every position.

python benchmarks/training.py --size base --batch-size 2 --rounds 3 --save docs/results/training-base.md
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
import tyro
from shapes import MASK_ID, SIZES, network
from timing import machine, table, take_turns

from textdiffusion.corruptions import Absorbing
from textdiffusion.training import TrainingRecipe
from textdiffusion.training.trainer import DiffusionTrainer


def main(
    size: str = "base",
    batch_size: int = 2,
    steps: int = 4,
    rounds: int = 3,
    seed: int = 0,
    save: Path | None = None,
) -> None:
    """Race over rows of 256 tokens, of which half are masked in the mean."""
    rows = torch.randint(5, SIZES[size]["vocab_size"], (batch_size * steps, 256), generator=_draws(seed))
    contestants = {
        name: _training(kind, rows, size=size, batch_size=batch_size, dropout=dropout, seed=seed)
        for name, kind, dropout in (
            ("transformers.Trainer, all logits, dropout 0.1", "full", 0.1),
            ("ours, dropout 0.1", "ours", 0.1),
            ("transformers.Trainer, all logits, dropout 0", "full", 0.0),
            ("ours, dropout 0", "ours", 0.0),
        )
    }
    costs = take_turns(contestants, rounds, rows.numel())
    names = list(costs)
    parts = [
        f"# Training, {size}: batch {batch_size} of 256 tokens, {steps} steps a round, float32, AdamW",
        f"{machine()}; {rounds} rounds in turn after a warm-up, seed {seed}.",
        f"Command: `python benchmarks/training.py --size {size} --batch-size {batch_size} --steps {steps} "
        f"--rounds {rounds} --seed {seed}`",
        "Speed relative to transformers.Trainer at dropout 0.1:",
        table(costs, names[0], "tokens"),
        "Speed relative to transformers.Trainer at dropout 0:",
        table({name: costs[name] for name in names[2:]}, names[2], "tokens"),
    ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if save is not None:
        save.write_text(text, encoding="utf-8")


def _draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _training(
    kind: str, rows: torch.Tensor, *, size: str, batch_size: int, dropout: float, seed: int
) -> Callable[[], object]:
    """A function that trains for one pass over the rows; the network lives on between rounds."""
    model = network(size, dropout=dropout, seed=seed)
    arguments = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=batch_size,
        num_train_epochs=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=seed,
        logging_strategy="no",
        remove_unused_columns=False,
    )
    recipe = TrainingRecipe(batch_size=batch_size, learning_rate=5e-5, seed=seed)
    data = [{"input_ids": row} for row in rows]
    trainers = {
        "full": lambda: transformers.Trainer(
            model, arguments, train_dataset=data, data_collator=_masked(seed)
        ),
        "ours": lambda: DiffusionTrainer(
            model=model,
            args=arguments,
            train_dataset=data,
            data_collator=_clean,
            recipe=recipe,
            corruption=Absorbing(MASK_ID),
            objective=recipe.loss(),
        ),
    }
    trainer = trainers[kind]()
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer.train


def _clean(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    ids = torch.stack([row["input_ids"] for row in rows])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def _masked(seed: int) -> Callable[[list[dict[str, torch.Tensor]]], dict[str, torch.Tensor]]:
    """Masks at rates spread evenly over 0 to 1, as our loss does, for the loss of the model itself."""
    draws = _draws(seed)

    def collate(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        batch = _clean(rows)
        offset = torch.rand(1, generator=draws)
        rate = (torch.arange(len(rows)) / len(rows) + offset) % 1.0
        hit = torch.rand(batch["labels"].shape, generator=draws) < rate[:, None]
        hit[:, 0] = True  # the mean over no token at all would be nan
        batch["labels"] = batch["labels"].masked_fill(~hit, -100)
        batch["input_ids"] = batch["input_ids"].masked_fill(hit, MASK_ID)
        return batch

    return collate


if __name__ == "__main__":
    tyro.cli(main)
