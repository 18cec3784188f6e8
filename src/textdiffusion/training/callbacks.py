"""What happens around the steps of a training: reports, samples, guards, averaged weights, clean stops."""

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from ..checkpoint import ModelSettings, write_settings
from ..errors import TrainingError

AVERAGE_FILE = "average.safetensors"


class Report(TrainerCallback):
    """Prints loss, tokens per second and time left at each report."""

    def __init__(self, console: Console, tokens_per_step: int) -> None:
        """Print to `console`; a step reads `tokens_per_step` tokens on all devices together."""
        self.console, self.tokens_per_step = console, tokens_per_step
        self.since: tuple[float, int] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.since = (time.perf_counter(), state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        if "eval_loss" in logs:
            error = logs["eval_standard_error"]
            self.console.print(f"held out: {logs['eval_loss']:.3f} +- {error:.3f} nats per token", highlight=False)
        if "loss" not in logs or self.since is None:
            return
        now = (time.perf_counter(), state.global_step)
        rate = (now[1] - self.since[1]) / max(1e-9, now[0] - self.since[0])
        self.since = now
        logs["tokens_per_second"] = round(rate * self.tokens_per_step, 1)
        left = (state.max_steps - state.global_step) / rate if rate else math.nan
        self.console.print(
            f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.3f} nats per token  "
            f"{logs['tokens_per_second']:,.0f} tokens/s  {_duration(left)} left",
            highlight=False,
        )


class Samples(TrainerCallback):
    """Prints a text written by the model every so many steps."""

    def __init__(self, console: Console, every: int, write: Callable[[nn.Module], str]) -> None:
        """`write` makes a text with the network as it stands."""
        self.console, self.every, self.write = console, every, write

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module, **kwargs: Any
    ) -> None:
        if self.every and state.global_step % self.every == 0 and state.is_world_process_zero:
            model.eval()
            text = self.write(model)
            model.train()
            self.console.print(f"sample at step {state.global_step}: {text!r}", markup=False, highlight=False)


class StopWhenBroken(TrainerCallback):
    """Ends a training whose loss or gradient is no number before that is saved."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **kwargs: Any
    ) -> None:
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise broken(name, state.global_step, Path(str(args.output_dir)))


def broken(name: str, step: int, checkpoints: Path) -> TrainingError:
    """The error for a loss or gradient that is no number."""
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    kept = f"the last good checkpoint is {last}" if last else "nothing was saved yet"
    return TrainingError(
        f"the {name} is not a number at step {step}; lower the learning rate or use float32 ({kept})."
    )


class StopOnInterrupt(TrainerCallback):
    """Turns the first Ctrl-C into a checkpoint at the end of the step; the second one stops at once."""

    def __init__(self) -> None:
        """Not interrupted yet."""
        self.interrupted = False
        self.before: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        try:
            self.before = signal.signal(signal.SIGINT, self._note)
        except ValueError:
            self.before = None  # not in the main thread, which alone may catch signals

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.interrupted:
            control.should_save = control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.restore()

    def restore(self) -> None:
        """Give Ctrl-C back to whoever had it."""
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
            self.before = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True


class SettingsWriter(TrainerCallback):
    """Puts `diffusion.json` into each checkpoint, so that it loads as a model."""

    def __init__(self, settings: ModelSettings) -> None:
        """Write these settings."""
        self.settings = settings

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            write_settings(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}", self.settings)


class Average(TrainerCallback):
    """Exponential moving average of the weights, saved with the checkpoints and resumed from them."""

    def __init__(self, decay: float, resume_from: Path | None) -> None:
        """Average with `decay`, going on from a checkpoint if there is one."""
        self.decay, self.resume_from = decay, resume_from
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module, **kwargs: Any
    ) -> None:
        saved = None if self.resume_from is None else self.resume_from / AVERAGE_FILE
        if saved is not None and saved.is_file():
            device = next(model.parameters()).device
            self.weights = {name: weight.to(device) for name, weight in load_file(saved).items()}
        else:
            self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module, **kwargs: Any
    ) -> None:
        # A young average would hold on to the random start, so its memory grows with the steps taken.
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        for name, p in model.named_parameters():
            self.weights[name].lerp_(p.detach(), 1.0 - decay)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            save_file({name: w.contiguous() for name, w in self.weights.items()}, folder / AVERAGE_FILE)

    @torch.no_grad()
    def put_into(self, model: nn.Module) -> None:
        """Replace the weights of the network by their average."""
        for name, p in model.named_parameters():
            p.copy_(self.weights[name])


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
