"""A training from its recipe to a finished model folder."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from safetensors import SafetensorError

from ..adapters import check_peft
from ..checkpoint import Checkpoint, quiet_transformers
from ..denoisers.adapt import check_attention, denoiser_of, recompute_activations
from ..denoisers.compiled import check_compiler, compile_for_training
from ..device import choose_device
from ..errors import SettingsError, TextDiffusionError, TrainingError
from ..language_model import DiffusionLM
from ..model_settings import write_settings
from ..settings import to_mapping
from ..token_frequencies import write_frequencies
from .callbacks import Average, Report, Samples, StopOnInterrupt, StopWhenBroken
from .collate import CanvasCollator
from .held_out import EarlyStop, Rotation
from .levels import LOSS_AT, diagnose
from .network import ATTENTION
from .optimizers import OPTIMIZERS
from .precision import PRECISIONS
from .prefix import check_dropout
from .prepare import Prepared, prepare
from .recipe import TrainingRecipe
from .reporters import check_reporter, named_project
from .result import as_measured, choose, save_result
from .resume import CHECKPOINTS, RECIPE_FILE, last_checkpoint, remove_halves
from .sharding import arguments as shard_arguments
from .sharding import check_launch, is_sharded, read_weights_everywhere
from .teacher import Teacher, check_start, teacher_of
from .trainer import DiffusionTrainer

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
    read_weights_everywhere()
    with quiet_transformers(), named_project(recipe.project_name):
        arguments = _arguments(recipe)
        prepared = prepare(recipe, checkpoint, console)
        sample_room(prepared, recipe)
        interrupt = StopOnInterrupt()
        average = Average(recipe.ema, checkpoint) if recipe.ema else None
        teacher = teacher_of(recipe, average, checkpoint)
        callbacks = _callbacks(recipe, prepared, arguments, console)
        trainer = _trainer(recipe, prepared, arguments, [interrupt, *callbacks], average, teacher)
        _run(trainer, checkpoint, interrupt)
        if not recipe.eval_every:  # else the last step has measured it
            trainer.evaluate()
        if average is not None:
            average.copy.put_into(trainer.network)
        _finish(trainer, prepared, recipe, console)
    return output


def _beginning(recipe: TrainingRecipe, folder: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from, if any; refuses what can be seen to fail before any data are read."""
    if not recipe.data:
        raise SettingsError(
            "no text to train on; give --data FILE, a folder, or the name of a data set of the Hub."
        )
    OPTIMIZERS[recipe.optimizer]  # raises where there is no such name
    check_reporter(recipe.report_to)
    check_dropout(recipe)
    check_start(recipe)
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
    check_launch(recipe.fsdp)
    if recipe.lora is not None:
        check_peft()
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


def _callbacks(
    recipe: TrainingRecipe, prepared: Prepared, arguments: transformers.TrainingArguments, console: Console
) -> list[transformers.TrainerCallback]:
    tokens = recipe.batch_size * recipe.accumulation * arguments.world_size * recipe.length
    return [
        EarlyStop(recipe),
        Rotation(recipe),
        StopWhenBroken(),  # looks at the weights when those before it have asked for a checkpoint
        Report(console, tokens),
        Samples(console, recipe.sample_every, lambda: sample_text(prepared, recipe)),
    ]


def _trainer(
    recipe: TrainingRecipe,
    prepared: Prepared,
    arguments: transformers.TrainingArguments,
    callbacks: list[transformers.TrainerCallback],
    average: Average | None,
    teacher: Teacher | None,
) -> DiffusionTrainer:
    model, text_format = prepared.checkpoint.model, prepared.format
    # What is said one ahead has nothing to be said by at the start of a row.
    given = max(int(denoiser_of(model).shift), 0 if recipe.random_prefix else recipe.prefix_length)
    settings, counts = prepared.checkpoint.settings, prepared.checkpoint.frequencies
    if recipe.gradient_checkpointing:
        recompute_activations(model)
    if recipe.compile:
        compile_for_training(model)
    kept = [each for each in (average, teacher) if each is not None]
    trainer = DiffusionTrainer(
        model=model,
        args=arguments,
        data_collator=CanvasCollator(text_format, given, recipe.learn_end, recipe.length),
        train_dataset=prepared.rows,
        eval_dataset=prepared.held_out,
        processing_class=prepared.checkpoint.tokenizer,
        callbacks=[*kept, *callbacks],
        recipe=recipe,
        corruption=settings.corruption(text_format.mask_id, model.config.vocab_size, counts),
        objective=recipe.loss(),
        ends=text_format.ends,
        special_ids=text_format.special_ids,
        writers=[partial(_write_beside, recipe, prepared.checkpoint), *(each.copy.write for each in kept)],
        measured=nullcontext if average is None else lambda: average.copy.inside(model),
        teacher=teacher,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _arguments(recipe: TrainingRecipe) -> transformers.TrainingArguments:
    device = choose_device(recipe.device)
    numbers = PRECISIONS[recipe.precision](device)
    arguments = transformers.TrainingArguments(
        output_dir=str(Path(recipe.output) / CHECKPOINTS),
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup,
        max_grad_norm=recipe.clip,
        bf16=numbers is torch.bfloat16,
        fp16=numbers is torch.float16,
        use_cpu=device.type == "cpu",
        seed=recipe.seed,
        logging_steps=recipe.log_every,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if recipe.eval_every else "no",
        eval_steps=recipe.eval_every or None,
        save_steps=recipe.save_every,
        report_to=recipe.report_to,
        run_name=recipe.run_name or Path(recipe.output).name,
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_pin_memory=device.type == "cuda",
        accelerator_config={"dispatch_batches": False},  # each process reads the stream and takes its rows
        **shard_arguments(recipe.fsdp),
    )
    arguments.lr_scheduler_type = recipe.decay  # shown by loggers; the trainer asks the recipe
    arguments.project = recipe.project_name or arguments.project
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one process drives one device; torchrun starts a process for each
    return arguments


def _write_beside(recipe: TrainingRecipe, checkpoint: Checkpoint, folder: Path | None) -> None:
    """What a checkpoint holds beside the weights; nothing where another process writes it."""
    if folder is None:
        return
    if checkpoint.frequencies is not None:
        write_frequencies(folder, checkpoint.frequencies)
    write_settings(folder, checkpoint.settings)
    text = json.dumps(to_mapping(recipe), indent=2, ensure_ascii=False)
    (folder / RECIPE_FILE).write_text(text + "\n", encoding="utf-8")


def _finish(trainer: DiffusionTrainer, prepared: Prepared, recipe: TrainingRecipe, console: Console) -> None:
    """Write the model, as it is now or as the best checkpoint has it, and say how it went.

    Every process has to call; the first one alone writes and speaks.
    """
    chosen, said = choose(recipe, trainer.state, Path(str(trainer.args.output_dir)))
    weights = trainer.whole_weights() if chosen is None else None
    first, result = trainer.is_world_process_zero(), prepared.checkpoint
    if first and chosen is not None:
        result = as_measured(chosen, recipe)
        result.model.to(trainer.args.device)  # type: ignore[arg-type, unused-ignore]
    if first:
        save_result(result, recipe, weights)
    if first or (chosen is None and is_sharded(trainer.network)):
        result.model.eval()
        said.append(f"sample: {sample_text(replace(prepared, checkpoint=result), recipe)!r}")
    said += [f"note: {sentence}" for sentence in diagnose(list(_history(trainer.state.log_history)))]
    for line in said if first else []:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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
        if recipe.chat and recipe.sample_prompt:
            asked = [{"role": "user", "content": recipe.sample_prompt}]
            length = min(SAMPLE_LENGTH, max(1, recipe.length // 2))
            return f"{recipe.sample_prompt} -> {lm.chat(asked, length=length, seed=recipe.seed).text}"
        written = lm.generate(recipe.sample_prompt, length=sample_room(prepared, recipe), seed=recipe.seed)
    return recipe.sample_prompt + written.text


def _history(logs: list[dict[str, Any]]) -> Iterator[dict[int, float]]:
    for entry in logs:
        yield {int(k.removeprefix(LOSS_AT)): value for k, value in entry.items() if k.startswith(LOSS_AT)}
