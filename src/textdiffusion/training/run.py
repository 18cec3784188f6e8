"""A training from its recipe to a finished model folder."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from safetensors import SafetensorError

from ..checkpoint import quiet_transformers, save_checkpoint, write_settings
from ..denoisers.adapt import check_attention, denoiser_of
from ..denoisers.compiled import check_compiler, compile_for_training
from ..device import choose_device
from ..errors import SettingsError, TextDiffusionError, TrainingError
from ..language_model import DiffusionLM
from .callbacks import Average, Report, Samples, StopOnInterrupt, StopWhenBroken
from .collate import CanvasCollator
from .levels import diagnose
from .network import ATTENTION
from .optimizers import OPTIMIZERS
from .precision import PRECISIONS
from .prepare import Prepared, prepare
from .recipe import TrainingRecipe
from .resume import last_checkpoint, remove_halves
from .trainer import DiffusionTrainer

CHECKPOINTS = "checkpoints"
SAMPLE_LENGTH = 64
_CUT_SHORT = ("unexpected pos", "PytorchStreamWriter", "iostream error")
"""Signs of torch's writer that it could not go on; it does not say why, and a full disk is nearly always."""


def train(recipe: TrainingRecipe, *, resume: bool, console: Console) -> Path:
    """Train a model and return its folder, which `load` and transformers' Auto classes read.

    Ctrl-C saves a checkpoint first; `resume` goes on from the last whole one, and on a CPU gives the same
    weights, bit for bit, as a run that was never interrupted.

    Raises:
        TextDiffusionError: something is missing, unreadable or cannot work together.
        TrainingError: the loss is no number, or the disk is full; checkpoints already written are kept.
        KeyboardInterrupt: interrupted, after the checkpoint was saved.
    """
    output = Path(recipe.output)
    checkpoint = _beginning(recipe, output / CHECKPOINTS, resume)
    transformers.set_seed(recipe.seed)
    with quiet_transformers():
        prepared = prepare(recipe, checkpoint, console)
        sample_room(prepared, recipe)
        interrupt = StopOnInterrupt()
        average = Average(recipe.ema, checkpoint) if recipe.ema else None
        trainer = _trainer(recipe, prepared, console, interrupt, average)
        _run(trainer, checkpoint, interrupt)
        if average is not None:
            average.put_into(trainer.network)
        if average is not None or not recipe.eval_every:  # else the last step has measured it
            trainer.evaluate()
        if trainer.is_world_process_zero():
            save_checkpoint(output, prepared.checkpoint)
            _say_how_it_went(trainer, prepared, recipe, console)
    return output


def _beginning(recipe: TrainingRecipe, folder: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from, if any; refuses what can be seen to fail before any data are read."""
    if not recipe.data:
        raise SettingsError(
            "no text to train on; give --data FILE, a folder, or the name of a data set of the Hub."
        )
    OPTIMIZERS[recipe.optimizer]  # raises where there is no such name
    reporters = set() if recipe.report_to in ("none", "all") else {recipe.report_to}
    for reporter in reporters:
        if importlib.util.find_spec(reporter) is None:
            raise SettingsError(
                f"report_to is {reporter!r}, but the package {reporter} is not installed; install "
                f"textdiffusion[{reporter}] or choose another."
            )
    last = last_checkpoint(folder)
    if resume and last is None:
        raise SettingsError(f"there is no whole checkpoint in {folder}; leave --resume out to begin.")
    if last is not None and not resume:
        raise SettingsError(
            f"{folder.parent} holds the checkpoints of another training; go on with --resume, or choose "
            "another --output."
        )
    device = choose_device(recipe.device)
    if ATTENTION in recipe.network:
        check_attention(recipe.network[ATTENTION], device)
    if recipe.compile:
        check_compiler(device)
    remove_halves(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"cannot write to output {recipe.output}: {error.strerror}.") from None
    return last


def _run(trainer: DiffusionTrainer, checkpoint: Path | None, interrupt: StopOnInterrupt) -> None:
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except TextDiffusionError:
        raise
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        folder = Path(str(trainer.args.output_dir))
        remove_halves(folder)
        kept = last_checkpoint(folder)
        advice = f"go on from {kept} with --resume" if kept else "no checkpoint was written yet"
        raise TrainingError(f"training stopped: {_reason(error, folder)} ({advice}).") from error
    finally:
        interrupt.restore()
    if interrupt.interrupted:
        raise KeyboardInterrupt


def _reason(error: Exception, folder: Path) -> str:
    """The first line of a message, in plain words where torch could not write a file to its end."""
    if any(sign in str(error) for sign in _CUT_SHORT):
        return f"a file in {folder} could not be written to its end; the disk seems to be full"
    return next(iter(str(error).splitlines()), type(error).__name__)


def _trainer(
    recipe: TrainingRecipe,
    prepared: Prepared,
    console: Console,
    interrupt: StopOnInterrupt,
    average: Average | None,
) -> DiffusionTrainer:
    model, text_format = prepared.checkpoint.model, prepared.format
    # What is said one ahead has nothing to be said by at the start of a row.
    given = max(int(denoiser_of(model).shift), 0 if recipe.random_prefix else recipe.prefix_length)
    settings = prepared.checkpoint.settings
    if recipe.compile:
        compile_for_training(model)
    arguments = _arguments(recipe)
    tokens = recipe.batch_size * recipe.accumulation * arguments.world_size * recipe.length
    averages = [] if average is None else [average]
    # In this order: an interruption asks for a checkpoint, which is looked at before it is written.
    callbacks: list[transformers.TrainerCallback] = [
        *averages,
        interrupt,
        StopWhenBroken(),
        Report(console, tokens),
        Samples(console, recipe.sample_every, lambda: sample_text(prepared, recipe)),
    ]
    trainer = DiffusionTrainer(
        model=model,
        args=arguments,
        data_collator=CanvasCollator(text_format, given, recipe.learn_end),
        train_dataset=prepared.rows,
        eval_dataset=prepared.held_out,
        processing_class=prepared.checkpoint.tokenizer,
        callbacks=callbacks,
        recipe=recipe,
        corruption=settings.corruption(text_format.mask_id, model.config.vocab_size),
        objective=recipe.loss(),
        writers=[lambda folder: write_settings(folder, settings), *(each.write for each in averages)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _arguments(recipe: TrainingRecipe) -> transformers.TrainingArguments:
    device = choose_device(recipe.device)
    arguments = transformers.TrainingArguments(
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
        bf16=PRECISIONS[recipe.precision](device) is torch.bfloat16,
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
        accelerator_config={"dispatch_batches": False},  # each process reads the stream and takes its rows
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one process drives one device; torchrun starts a process for each
    return arguments


def sample_room(prepared: Prepared, recipe: TrainingRecipe) -> int:
    """Tokens of a sample text.

    Raises:
        SettingsError: the prompt leaves no room for any, or nothing to begin with.
    """
    given = len(prepared.format.prompt(recipe.sample_prompt))
    if not given and denoiser_of(prepared.checkpoint.model).shift:
        raise SettingsError(
            "the network says each token from the one before it, and the tokenizer has none that begins a "
            "text; give a sample_prompt."
        )
    room = recipe.length - given
    if room < 1:
        raise SettingsError(f"sample_prompt leaves no room in {recipe.length} tokens; shorten it.")
    return min(SAMPLE_LENGTH, room)


def sample_text(prepared: Prepared, recipe: TrainingRecipe) -> str:
    """A text that the network writes as it stands."""
    device = prepared.checkpoint.model.device
    lm = DiffusionLM(prepared.checkpoint, name="training", device=device)
    with torch.autocast(device.type, enabled=False):
        written = lm.generate(recipe.sample_prompt, length=sample_room(prepared, recipe), seed=recipe.seed)
    return recipe.sample_prompt + written.text


def _say_how_it_went(
    trainer: DiffusionTrainer, prepared: Prepared, recipe: TrainingRecipe, console: Console
) -> None:
    trainer.network.eval()
    said = [f"sample: {sample_text(prepared, recipe)!r}"]
    said += [f"note: {sentence}" for sentence in diagnose(list(_history(trainer.state.log_history)))]
    for line in said:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _history(logs: list[dict[str, Any]]) -> Iterator[dict[int, float]]:
    prefix = "loss_at_"
    for entry in logs:
        yield {int(key.removeprefix(prefix)): value for key, value in entry.items() if key.startswith(prefix)}
