"""The Trainer of transformers with the loss replaced by a diffusion objective."""

import math
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers.masked_lm import MaskedLMDenoiser
from ..objectives import CountNelbo, Nelbo, Objective, Scores
from ..randomness import RowGenerator
from .collate import IGNORED
from .levels import LevelMeter
from .optimizers import OPTIMIZERS
from .recipe import TrainingRecipe

_PREFIX = 4
_EVALUATION = 2**40


class DiffusionTrainer(transformers.Trainer):
    """Corrupts each batch on the device, asks the network about the noisy tokens only, and sums the loss.

    Noise is keyed by (seed, optimiser step, row of the global batch), so neither the number of processes nor an
    interruption changes the run. The loss is nats per editable token of the whole global batch.
    """

    def __init__(
        self, *args: Any, recipe: TrainingRecipe, corruption: Corruption, objective: Objective, **kwargs: Any
    ) -> None:
        """Besides transformers' own arguments, take what makes the loss.

        Raises:
            IncompatibleError: the objective has no meaning for the corruption.
        """
        objective.check(corruption)
        super().__init__(*args, **kwargs)
        self.recipe, self.corruption, self.objective = recipe, corruption, objective
        self.model_accepts_loss_kwargs = True  # the loss is already divided by the items of the whole batch
        self.meter = LevelMeter()

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """Fetch the micro-batches of a step, number their rows in the global batch and draw random prefixes."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        rows = self.recipe.batch_size
        world, rank = self.args.world_size, self.args.process_index
        for number, sample in enumerate(samples):
            first = (number * world + rank) * rows
            draws = self._draws(self.state.global_step, first, len(sample["input_ids"]), sample["input_ids"].device)
            sample["labels"] = self._with_prefix(sample["labels"], draws)
            sample["draws"] = draws
        return samples, self._get_num_items_in_batch(samples, device)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Nats per editable token; divided by the items of all processes and micro-batches of the step."""
        scores = self._scores(model, self.objective, inputs)
        items = (inputs["labels"] != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        self.meter.add(scores)
        # Every process divides by the items of all, and the gradients are then averaged over processes.
        loss = scores.nats.sum() / items * self.accelerator.num_processes
        return (loss, {"nats": scores.nats.detach()}) if return_outputs else loss

    @torch.no_grad()
    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """The bound on the held-out rows, with the same noise every time, and the losses by noise level."""
        self.model.eval()
        objective = CountNelbo() if self.corruption.masks_only else Nelbo()
        meter, per_row = LevelMeter(), []
        items = 0
        for number, inputs in enumerate(self.get_eval_dataloader()):
            inputs = self._prepare_inputs(inputs)
            inputs["draws"] = self._draws(_EVALUATION + number, 0, len(inputs["input_ids"]), self.args.device)
            scores = self._scores(self.model, objective, inputs)
            meter.add(scores)
            gathered = self.accelerator.gather_for_metrics(scores.nats.double().sum(1))
            per_row += gathered.tolist()
            items += int(self.accelerator.gather_for_metrics((inputs["labels"] != IGNORED).sum(1)).sum())
        mean = sum(per_row) / len(per_row)
        spread = math.sqrt(sum((x - mean) ** 2 for x in per_row) / max(1, len(per_row) - 1))
        per_token = len(per_row) / max(1, items)
        metrics = {
            f"{metric_key_prefix}_loss": mean * per_token,
            f"{metric_key_prefix}_standard_error": spread / math.sqrt(len(per_row)) * per_token,
            **{f"{metric_key_prefix}_{name}": value for name, value in meter.report().items()},
        }
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the losses by noise level since the last report to a training report."""
        if "loss" in logs:
            logs = {**logs, **self.meter.report()}
            self.meter = LevelMeter()
        super().log(logs, start_time)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The recipe's optimiser."""
        if self.optimizer is None:
            self.optimizer = OPTIMIZERS[self.recipe.optimizer](self.model, self.recipe)
        return self.optimizer

    def _scores(self, model: nn.Module, objective: Objective, inputs: dict[str, Any]) -> Scores:
        canvas = Canvas(inputs["input_ids"], inputs["labels"] != IGNORED, inputs["attention_mask"].bool())
        return objective(MaskedLMDenoiser.of(model), self.corruption, canvas, inputs["draws"])

    def _draws(self, step: int, first: int, rows: int, device: torch.device) -> RowGenerator:
        total = self.recipe.batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        return RowGenerator.for_batch(
            self.recipe.seed, step, first=first, rows=rows, total=max(total, first + rows), device=device
        )

    def _with_prefix(self, labels: Tensor, draws: RowGenerator) -> Tensor:
        """Bar noise from a prefix of random length in each row."""
        if not self.recipe.random_prefix:
            return labels
        length = (draws.uniform(1, _PREFIX) * (self.recipe.prefix_length + 1)).floor().to(labels.device)
        positions = torch.arange(labels.shape[1], device=labels.device)[None]
        return labels.masked_fill(positions < length, IGNORED)
