"""What the held-out loss decides: which checkpoints stay, when a training ends, and which model it gives.

All of it is read off the log, which every checkpoint holds, so that a resumed training decides as one that
was never interrupted.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .recipe import TrainingRecipe
from .resume import checkpoints, is_whole, remove


@dataclass(frozen=True)
class Measurement:
    """The loss of the held-out text after a step, in nats per token."""

    step: int
    loss: float


def measurements(recipe: TrainingRecipe, state: TrainerState) -> list[Measurement]:
    """The measurements so far, those of a start with next tokens left out: they are of another loss."""
    return read_log(state.log_history, after=recipe.causal_steps(state.max_steps))


def read_log(log: Iterable[Mapping[str, Any]], *, after: int = 0) -> list[Measurement]:
    """The measurements in a log, oldest first, of the steps `after` one."""
    found = [Measurement(int(entry["step"]), entry["eval_loss"]) for entry in log if "eval_loss" in entry]
    return [measured for measured in found if measured.step > after]


def best(found: Sequence[Measurement], count: int) -> list[Measurement]:
    """The `count` lowest losses, the lowest first; of equal ones the earlier."""
    return sorted(found, key=lambda measured: (measured.loss, measured.step))[:count]


def in_vain(found: Sequence[Measurement], min_delta: float) -> int:
    """How many measurements there were since the loss last fell below its best by more than `min_delta`.

    A best is what fell by so much itself; small steps down add up until they do.
    """
    lowest, since = math.inf, 0
    for measured in found:
        fell = measured.loss < lowest - min_delta
        lowest, since = (measured.loss, 0) if fell else (lowest, since + 1)
    return since


def best_checkpoint(folder: Path, found: Sequence[Measurement]) -> tuple[Measurement, Path] | None:
    """The lowest loss of which there is a whole checkpoint, with that; None where there is none."""
    there = {step: path for step, path in checkpoints(folder).items() if is_whole(path)}
    kept = best([measured for measured in found if measured.step in there], 1)
    return (kept[0], there[kept[0].step]) if kept else None


class EarlyStop(TrainerCallback):
    """Ends a training, with a checkpoint, when `patience` measurements in a row brought no lower loss."""

    def __init__(self, recipe: TrainingRecipe) -> None:
        """Take `patience` and `min_delta` from a recipe."""
        self.recipe = recipe

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take no further step in a resumed training that had ended so."""
        if self.over(state):
            control.should_training_stop = True

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the newest measurement."""
        if self.over(state):
            control.should_training_stop = control.should_save = True

    def over(self, state: TrainerState) -> bool:
        """Whether the patience is at its end."""
        failed = in_vain(measurements(self.recipe, state), self.recipe.min_delta)
        return 0 < self.recipe.patience <= failed


class Rotation(TrainerCallback):
    """Keeps the newest checkpoints and those of the lowest held-out losses, which it asks for.

    The newest one counts, and those that `save_every` asked for. Another one, as an interruption leaves it,
    goes with the next: a training that was interrupted keeps what it would have kept without.
    """

    def __init__(self, recipe: TrainingRecipe) -> None:
        """Take `keep`, `keep_best` and `save_every` from a recipe."""
        self.recipe = recipe

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for a checkpoint if this is one of the best."""
        if state.global_step in self._best(state):
            control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remove what need not stay, once the new one is whole."""
        self._remove(args, state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Do so for a training that was interrupted between the two."""
        self._remove(args, state)

    def _best(self, state: TrainerState) -> set[int]:
        return {measured.step for measured in best(measurements(self.recipe, state), self.recipe.keep_best)}

    def _remove(self, args: TrainingArguments, state: TrainerState) -> None:
        found = checkpoints(Path(str(args.output_dir)))
        if not args.should_save or not found:  # another process sees to it, or nothing was saved
            return
        newest = max(found)
        regular = [step for step in found if step % self.recipe.save_every == 0 and step != newest]
        kept = {newest, *sorted(regular, reverse=True)[: self.recipe.keep - 1], *self._best(state)}
        for step in found.keys() - kept:
            remove(found[step])
