"""A training from its recipe to a finished model folder."""

import logging
import shutil
from collections.abc import Iterator

from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel

from ..checkpoint import save_checkpoint
from ..device import choose_device
from ..errors import SettingsError, TrainingError
from ..language_model import DiffusionLM

from .callbacks import Average, Report, Samples, SettingsWriter, StopOnInterrupt, StopWhenBroken
from .collate import CanvasCollator
from .levels import diagnose
from .prepare import Prepared, prepare
from .recipe import TrainingRecipe
from .trainer import DiffusionTrainer

logger = logging.getLogger(__name__)
CHECKPOINTS = "checkpoints"


def train(recipe: TrainingRecipe, *, resume: bool, console: Console) -> Path:
    """Train a model and return its folder, which `load` and transformers' Auto classes read.

    Ctrl-C saves a checkpoint first; `resume` goes on from the last whole one, and on a CPU gives the same
    weights, bit for bit, as a run that was never interrupted.

    Raises:
        TextDiffusionError: something is missing, unreadable or cannot work together.
        TrainingError: the loss is no number, or the disk is full; checkpoints already written are kept.
        KeyboardInterrupt: interrupted, after the checkpoint was saved.
    """
    if not recipe.data:
        raise SettingsError("no text to train on; give --data FILE, a folder, or the name of a data set of the Hub.")
    output = Path(recipe.output)
    checkpoint = last_checkpoint(output / CHECKPOINTS) if resume else None
    if resume and checkpoint is None:
        raise SettingsError(f"there is no whole checkpoint in {output / CHECKPOINTS}; leave --resume out to begin.")
    if not resume and (output / CHECKPOINTS).exists() and last_checkpoint(output / CHECKPOINTS):
        raise SettingsError(
            f"{output} holds the checkpoints of another training; go on with --resume, or choose another --output."
        )
    transformers.set_seed(recipe.seed)
    prepared = prepare(recipe, checkpoint, console)
    trainer, average = _trainer(recipe, prepared, checkpoint, console)
    _run(trainer, checkpoint, output)
    if average is not None:
        average.put_into(trainer.model)
    trainer.evaluate()
    if trainer.is_world_process_zero():
        save_checkpoint(output, prepared.checkpoint)
        _say_how_it_went(trainer, prepared, recipe, console)
    return output


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; halves that a crash left behind are removed."""
    if not folder.is_dir():
        return None
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    whole = [path for path in found if (path / "trainer_state.json").is_file()]
    for path in set(found) - set(whole):
        shutil.rmtree(path, ignore_errors=True)
    return whole[-1] if whole else None


def _run(trainer: DiffusionTrainer, checkpoint: Path | None, output: Path) -> None:
    interrupt = StopOnInterrupt()
    trainer.add_callback(interrupt)
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, TrainingError):
            raise
        first = next(iter(str(error).splitlines()), type(error).__name__)
        kept = last_checkpoint(output / CHECKPOINTS)
        advice = f"go on from {kept} with --resume" if kept else "no checkpoint was written yet"
        raise TrainingError(f"training stopped: {first} ({advice}).") from error
    finally:
        interrupt.restore()
    if interrupt.interrupted:
        raise KeyboardInterrupt


def _trainer(
    recipe: TrainingRecipe, prepared: Prepared, checkpoint: Path | None, console: Console
) -> tuple[DiffusionTrainer, Average | None]:
    model, text_format = prepared.checkpoint.model, prepared.format
    if recipe.compile:
        compile_layers(model)
    arguments = _arguments(recipe)
    average = Average(recipe.ema, checkpoint) if recipe.ema else None
    tokens = recipe.batch_size * recipe.accumulation * arguments.world_size * recipe.length
    callbacks: list[transformers.TrainerCallback] = [
        StopWhenBroken(),
        Report(console, tokens),
        Samples(console, recipe.sample_every, lambda network: sample_text(prepared, recipe)),
        SettingsWriter(prepared.checkpoint.settings),
        *([average] if average is not None else []),
    ]
    trainer = DiffusionTrainer(
        model=model,
        args=arguments,
        data_collator=CanvasCollator(
            text_format, 0 if recipe.random_prefix else recipe.prefix_length, recipe.learn_end
        ),
        train_dataset=prepared.rows,
        eval_dataset=prepared.held_out,
        processing_class=prepared.checkpoint.tokenizer,
        callbacks=callbacks,
        recipe=recipe,
        corruption=prepared.checkpoint.settings.corruption(text_format.mask_id, model.config.vocab_size),
        objective=recipe.loss(),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer, average


def _arguments(recipe: TrainingRecipe) -> transformers.TrainingArguments:
    device = choose_device(recipe.device)
    if recipe.precision == "bf16" and device.type == "cpu" and not fast_bf16():
        logger.warning("this CPU emulates bfloat16, which is many times slower than float32")
    return transformers.TrainingArguments(
        output_dir=str(Path(recipe.output) / CHECKPOINTS),
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup,
        lr_scheduler_type=recipe.decay,
        max_grad_norm=recipe.clip,
        bf16=recipe.precision == "bf16",
        use_cpu=device.type == "cpu",
        seed=recipe.seed,
        logging_steps=recipe.log_every,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if recipe.eval_every else "no",
        eval_steps=recipe.eval_every or None,
        save_steps=recipe.save_every,
        save_total_limit=recipe.keep,
        report_to=recipe.report_to,
        run_name=Path(recipe.output).name,
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_pin_memory=device.type == "cuda",
    )


def fast_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices itself."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def compile_layers(model: nn.Module) -> None:
    """Compile each repeated layer by itself: quick to compile, and the names of the weights stay."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for layer in module:
                layer.compile(dynamic=False)


def sample_text(prepared: Prepared, recipe: TrainingRecipe) -> str:
    """A text that the network writes as it stands."""
    model: PreTrainedModel = prepared.checkpoint.model
    lm = DiffusionLM(prepared.checkpoint, name="training", device=model.device)
    room = lm.longest - len(lm.format.prompt(recipe.sample_prompt))
    with torch.autocast(model.device.type, enabled=False):
        written = lm.generate(recipe.sample_prompt, length=min(64, room), seed=recipe.seed)
    return recipe.sample_prompt + written.text


def _say_how_it_went(
    trainer: DiffusionTrainer, prepared: Prepared, recipe: TrainingRecipe, console: Console
) -> None:
    trainer.model.eval()
    console.print(f"sample: {sample_text(prepared, recipe)!r}", markup=False, highlight=False)
    for sentence in diagnose(list(_history(trainer.state.log_history))):
        console.print(f"note: {sentence}", markup=False, highlight=False)


def _history(logs: list[dict[str, Any]]) -> Iterator[dict[int, float]]:
    prefix = "loss_at_"
    for entry in logs:
        yield {int(key.removeprefix(prefix)): value for key, value in entry.items() if key.startswith(prefix)}
