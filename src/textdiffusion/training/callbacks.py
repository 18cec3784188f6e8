"""What happens around the steps of a training: reports, samples, guards, averaged weights, clean stops."""

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import TrainingError
from .resume import last_checkpoint
from .sharding import anywhere, held, is_sharded, take_apart
from .weight_copy import WeightCopy

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
        """Start the clock, and take the intervals of this run where a checkpoint brought others."""
        state.compute_steps(args, state.max_steps)
        self.since = (time.perf_counter(), state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Print the measurement of the held-out text or the report of the last steps."""
        logs: dict[str, float] = kwargs["logs"]
        if not state.is_world_process_zero:
            return
        if "eval_loss" in logs:
            error = logs["eval_standard_error"]
            self._print(f"held out: {logs['eval_loss']:.3f} +- {error:.3f} nats per token")
        if "loss" not in logs or self.since is None:
            return
        now = (time.perf_counter(), state.global_step)
        rate = (now[1] - self.since[1]) / max(1e-9, now[0] - self.since[0])
        self.since = now
        logs["tokens_per_second"] = round(rate * self.tokens_per_step, 1)
        left = (state.max_steps - state.global_step) / rate if rate else math.nan
        self._print(
            f"step {state.global_step}/{state.max_steps}  loss {logs['loss']:.3f} nats per token  "
            f"{logs['tokens_per_second']:,.0f} tokens/s  {_duration(left)} left"
        )

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Samples(TrainerCallback):
    """Prints a text written by the model every so many steps."""

    def __init__(self, console: Console, every: int, write: Callable[[], str]) -> None:
        """`write` makes a text with the network as it stands; `every` 0 makes none."""
        self.console, self.every, self.write = console, every, write

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Print a text, without dropout; the training goes on as if nothing had been written."""
        model: nn.Module = kwargs["model"]
        writes = state.is_world_process_zero or is_sharded(model)
        if self.every and state.global_step % self.every == 0 and writes:
            model.eval()
            text = self.write()
            model.train()
            if state.is_world_process_zero:
                said = f"sample at step {state.global_step}: {text!r}"
                self.console.print(said, markup=False, highlight=False, soft_wrap=True)


class StopWhenBroken(TrainerCallback):
    """Ends a training whose loss, gradient or weights are no numbers before they are saved."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the loss and the gradient of a report."""
        logs: dict[str, float] = kwargs["logs"]
        watched = {"loss": "loss", "eval_loss": "held-out loss"}
        if not args.fp16:  # whose scale of the loss is found by letting gradients overflow
            watched["grad_norm"] = "gradient"
        for key, said in watched.items():
            if not math.isfinite(logs.get(key, 0.0)):
                raise broken(f"the {said} is not a number", state.global_step, args)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the weights before they are saved; reports may be rarer than checkpoints."""
        self._look(args, state, control, kwargs["model"])

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at them where a measurement asks for a checkpoint."""
        self._look(args, state, control, kwargs["model"])

    def _look(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module
    ) -> None:
        if not control.should_save:
            return
        take_apart(model)
        finite = all(bool(held(p).isfinite().all()) for p in model.parameters())
        if anywhere(not finite, args.device):
            raise broken("the weights are not numbers", state.global_step, args)


def broken(what: str, step: int, args: TrainingArguments) -> TrainingError:
    """The error for a training that has left the numbers."""
    last = last_checkpoint(Path(str(args.output_dir)))
    kept = f"the last good checkpoint is {last}" if last else "nothing was saved yet"
    return TrainingError(f"{what} at step {step}; lower the learning rate or use float32 ({kept}).")


class StopOnInterrupt(TrainerCallback):
    """Turns the first Ctrl-C into a checkpoint at the end of the step; the second one stops at once."""

    def __init__(self) -> None:
        """Not interrupted yet."""
        self.interrupted = False
        self.before: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Catch Ctrl-C."""
        try:
            self.before = signal.signal(signal.SIGINT, self._note)
        except ValueError:
            self.before = None  # not in the main thread, which alone may catch signals

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save and stop if Ctrl-C came, on all processes after the same step."""
        self.interrupted = anywhere(self.interrupted, args.device)
        if self.interrupted:
            control.should_save = control.should_training_stop = True

    def restore(self) -> None:
        """Give Ctrl-C back to whoever had it."""
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
            self.before = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True


class Average(TrainerCallback):
    """Exponential moving average of the weights, which checkpoints hold and which is measured and saved."""

    def __init__(self, decay: float, resume_from: Path | None) -> None:
        """Average with `decay`, going on from a checkpoint if there is one."""
        self.decay, self.copy = decay, WeightCopy(AVERAGE_FILE, resume_from)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin with the weights as they are, or with the average in the checkpoint."""
        self.copy.begin(kwargs["model"])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take in the weights after a step."""
        # A young average would hold on to the random start, so its memory grows with the steps taken.
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        self.copy.follow(kwargs["model"], 1.0 - decay)


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
