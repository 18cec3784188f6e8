"""The Trainer of transformers with the loss replaced by a diffusion objective."""

import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers.trainer import TRAINER_STATE_NAME

from ..adapters import has_adapters, write_adapters
from ..canvas import Canvas
from ..corruptions import Corruption
from ..denoisers import Denoiser
from ..denoisers.adapt import denoiser_of, recompute_activations
from ..denoisers.annealed import Annealed, openness
from ..objectives import EndPosition, NextToken, Objective, Scores, Tunable
from ..randomness import RowGenerator
from ..shapes import PerText
from ..time_embedding import write_time_embedding
from .collate import IGNORED
from .filling import hide_fillers, is_end_step, shown_share
from .levels import LevelMeter
from .optimizers import OPTIMIZERS
from .overheard import Overheard
from .prefix import bar_random_prefix, hide_prefixes
from .recipe import TrainingRecipe
from .sharding import check_checkpoint, choose_layers, is_sharded, settle
from .teacher import Teacher

_ROOM = 6
_EVALUATION = 2**40
REPORT_FILE = "report.json"


class DiffusionTrainer(transformers.Trainer):
    """Corrupts each batch on the device, asks the network about the noisy tokens only, and sums the loss.

    Noise is keyed by (seed, optimiser step, row of the global batch), and the order of the rows by (seed,
    epoch), so neither the number of processes nor an interruption changes the run. The loss is nats per
    editable token of the whole global batch.
    """

    recipe: TrainingRecipe
    corruption: Corruption
    objective: Objective

    def __init__(
        self,
        *args: Any,
        recipe: TrainingRecipe,
        corruption: Corruption,
        objective: Objective,
        ends: Sequence[int] = (),
        special_ids: Collection[int] = (),
        writers: Sequence[Callable[[Path | None], None]] = (),
        measured: Callable[[], AbstractContextManager[None]] = nullcontext,
        teacher: Teacher | None = None,
        **kwargs: Any,
    ) -> None:
        """Besides transformers' own arguments, take what makes the loss, and `writers` of each checkpoint.

        Every process calls them: the first with the folder, the others, which may hold parts, with None.
        Within `measured()` the network has the weights that are to be measured. A distilling objective learns
        from the `teacher`.
        `ends` are the ids that end a text or stand behind its end, `special_ids` those that are no text.

        Raises:
            IncompatibleError: the objective has no meaning for the corruption.
        """
        objective.check(corruption)
        super().__init__(*args, **kwargs)
        if self._recomputes:
            recompute_activations(self.network)
        if isinstance(self.network, transformers.PreTrainedModel):
            choose_layers(self.accelerator, self.network)
        self.recipe, self.corruption, self.objective = recipe, corruption, objective.told(ends)
        self.end_objective = EndPosition(tuple(ends))
        self.writers, self.measured, self.special_ids = writers, measured, special_ids
        self.teacher = teacher
        self.model_accepts_loss_kwargs = True  # the loss is already divided by the items of the whole batch
        self.meter = LevelMeter()

    def create_accelerator_and_postprocess(self) -> None:
        """As transformers does, and then settle what it leaves open about shards."""
        super().create_accelerator_and_postprocess()
        self._recomputes = settle(self.accelerator, self.args)
        self.is_fsdp_enabled = self.is_fsdp_enabled or self.accelerator.is_fsdp2

    @property
    def _rows_per_step(self) -> int:
        return int(self.recipe.batch_size * self.args.world_size * self.args.gradient_accumulation_steps)

    @property
    def network(self) -> nn.Module:
        """The network that is trained."""
        assert self.model is not None
        return self.model

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """Fetch the micro-batches of a step, number their rows in the global batch and draw random prefixes.

        There are none once the training is over: resuming a finished one must not take another step.
        """
        if self.state.global_step >= self.state.max_steps or self.control.should_training_stop:
            return [], None
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        world, rank = self.args.world_size, self.args.process_index
        for number, sample in enumerate(samples):
            first = (number * world + rank) * self.recipe.batch_size
            draws = self._draws(self.state.global_step, first, self._rows_per_step, sample["input_ids"])
            if self.recipe.random_prefix:
                sample["labels"] = bar_random_prefix(sample, self.recipe.prefix_length, draws)
            if self._is_causal():
                sample["labels"][:, 0] = IGNORED  # nothing stands before it
            else:
                hide_prefixes(sample, self.recipe.prompt_dropout, self.corruption, self.special_ids, draws)
            hide_fillers(sample, *self._shown(draws))
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
        denoiser, editable = denoiser_of(model), inputs["labels"] != IGNORED
        if not self._is_causal():
            denoiser = self._annealed(denoiser, inputs["draws"])
        objective, add = self._lesson()
        scores = self._scores(denoiser, objective, inputs)
        add(LevelMeter.rows(scores, editable))
        items = editable.sum() if num_items_in_batch is None else num_items_in_batch
        loss = scores.nats.sum() / torch.as_tensor(items).clamp(min=1)
        # Every process divides by the items of all, and the gradients are then averaged over processes.
        scaled = loss * self.accelerator.num_processes
        return (scaled, {"nats": scores.nats.detach()}) if return_outputs else scaled

    @torch.no_grad()
    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """The bound on the held-out rows, with the same noise every time, and the losses by noise level.

        The noise is keyed by the number of the row, whatever the batches; the global random state stays.
        """
        self.network.eval()
        objective = self.objective.bound(self.corruption)
        network = Overheard(denoiser_of(self.network), self.corruption)
        meter, parts = LevelMeter(), []
        # The loader draws from the stream that dropout reads.
        with self.measured(), torch.random.fork_rng(devices=[]):
            for number, inputs in enumerate(self.get_eval_dataloader()):
                parts.append(self._measure(network, objective, self._prepare_inputs(inputs), number))
        if not parts:
            return {}
        table = torch.cat(parts)
        rows, moments = table.tensor_split([len(meter.sums)], dim=1)
        meter.add(rows)
        found = {**_mean_and_error(rows[:, 0], rows[:, 1]), **meter.report()}
        nats, answers = self._summed(network.sums).tolist()
        found |= {"entropy": nats / answers} if answers else {}
        if isinstance(self.objective, Tunable):
            choice = self.objective.choice(moments.double().sum(0))
            self.objective, found = self.objective.chosen(choice), {**found, **choice}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the losses by noise level since the last report to a training report."""
        if "loss" in logs:
            meter = LevelMeter.of_numbers(self._summed(self.meter.numbers()).tolist())
            # Without a token since the last report all steps were on ends: then it is the Trainer's own.
            loss = meter.mean_loss if meter.tokens else logs["loss"]
            logs = {**logs, "loss": loss, **meter.report()}
            if self.recipe.attention_annealing:
                logs["attention_openness"] = self._openness()
            if self.teacher is not None:
                logs |= self.teacher.report(self.state.global_step)
            self.meter = LevelMeter()
        super().log(logs, start_time)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The recipe's optimiser."""
        if self.optimizer is None:
            self.optimizer = OPTIMIZERS[self.recipe.optimizer](self.network, self.recipe)
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """How the recipe moves the learning rate."""
        if self.lr_scheduler is None:
            moved = optimizer or self.create_optimizer()
            self.lr_scheduler = self.recipe.falling().scheduler(moved, num_training_steps, self.recipe.warmup)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def whole_weights(self) -> dict[str, Tensor] | None:
        """All weights, on the first process, where each holds a part of them; None where each has them all.

        Every process has to ask.
        """
        if not is_sharded(self.network):
            return None
        gathered = self.accelerator.get_state_dict(self.network)
        # Once each: what is tied was gathered under all its names.
        once = {name for name, _ in [*self.network.named_parameters(), *self.network.named_buffers()]}
        return {name: weight for name, weight in gathered.items() if name in once}

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the model, and what goes with it; in a checkpoint the Trainer's own state comes after it.

        A checkpoint is a whole model, in whatever form Accelerate was told to keep the shards.
        """
        folder = Path(str(output_dir or self.args.output_dir)) if self.args.should_save else None
        weights = self.whole_weights()
        if weights is None:
            super().save_model(output_dir, _internal_call)
        elif folder is not None:
            self._save(str(folder), state_dict=weights)
        numbers = self._summed(self.meter.numbers()).tolist()
        if folder is not None:
            (folder / REPORT_FILE).write_text(json.dumps(numbers), encoding="utf-8")
        for write in self.writers:
            write(folder)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder, network = Path(str(output_dir or self.args.output_dir)), self.network
        assert isinstance(network, transformers.PreTrainedModel)
        folder.mkdir(parents=True, exist_ok=True)
        if not has_adapters(network):
            super()._save(output_dir, write_time_embedding(folder, network, state_dict))
        elif self.args.should_save:
            assert self.processing_class is not None
            write_adapters(network, folder, state_dict)
            self.processing_class.save_pretrained(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        check_checkpoint(Path(resume_from_checkpoint), is_sharded(self.network))
        if not has_adapters(self.network):  # else they were read together with what they belong to
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        saved = Path(resume_from_checkpoint) / REPORT_FILE
        if saved.is_file() and self.is_world_process_zero():
            self.meter = LevelMeter.of_numbers(json.loads(saved.read_text(encoding="utf-8")))
        self._recall(Path(resume_from_checkpoint))

    def _get_train_sampler(self, train_dataset: Any = None) -> "Sampler[int] | None":
        """The order of the rows; transformers' own ends an epoch otherwise on another number of processes."""
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        if isinstance(rows, torch.utils.data.IterableDataset):
            return None
        return RowOrder(len(rows), self._rows_per_step, self.recipe.seed, lambda: int(self.state.epoch or 0))

    def _measure(
        self, network: Denoiser, objective: Objective, inputs: dict[str, Any], number: int
    ) -> Tensor:
        """The meter's numbers of each row of all processes, and the moments that the objective asks for."""
        place = (number * self.args.world_size + self.args.process_index) * self.recipe.batch_size
        total = len(self.eval_dataset)  # type: ignore[arg-type]
        inputs["draws"] = self._draws(_EVALUATION, place, total, inputs["input_ids"])
        hide_fillers(inputs, 1.0 if objective.fills else self.recipe.pad_share)
        scores, canvas = self._scores(network, objective, inputs), _canvas(inputs)
        rows = LevelMeter.rows(scores, canvas.editable)
        if isinstance(self.objective, Tunable):
            rows = torch.cat([rows, self.objective.moments(scores, canvas)], dim=1)
        found: Tensor = self.accelerator.gather_for_metrics(rows)
        return found.cpu()

    def _recall(self, checkpoint: Path) -> None:
        """Take up the settings that the objective had last chosen; the log of a checkpoint holds them."""
        log = transformers.TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)).log_history
        measured = [entry for entry in log if "eval_loss" in entry]
        if measured and isinstance(self.objective, Tunable):
            choice = {name.removeprefix("eval_"): value for name, value in measured[-1].items()}
            self.objective = self.objective.chosen(choice)

    def _summed(self, numbers: Tensor) -> Tensor:
        """Numbers of this process, those of all processes added."""
        numbers = numbers.to(self.args.device)
        return self.accelerator.reduce(numbers, "sum") if self.args.world_size > 1 else numbers

    def _scores(self, denoiser: Denoiser, objective: Objective, inputs: dict[str, Any]) -> Scores:
        return objective(denoiser, self.corruption, _canvas(inputs), inputs["draws"])

    def _is_causal(self) -> bool:
        """Whether the network learns next tokens in this step, as a start."""
        return self.state.global_step < self.recipe.causal_steps(self.state.max_steps)

    def _lesson(self) -> tuple[Objective, Callable[[Tensor], None]]:
        """What is learnt in this step, and where its scores are collected."""
        if self._is_causal():
            return NextToken(), self.meter.add_unlevelled
        if is_end_step(self.state.global_step, self.recipe.end_share):
            return self.end_objective, self.meter.add_ends
        if self.teacher is not None:
            return self.teacher.lesson(self.network, self.state.global_step), self.meter.add
        begun = self.recipe.causal_steps(self.state.max_steps)
        step, steps = self.state.global_step - begun, self.state.max_steps - begun
        return self.objective.at(step, steps), self.meter.add

    def _shown(self, draws: RowGenerator) -> tuple[float, PerText | None]:
        """The share of fillers that this step shows, and what part of these a row does, if not all.

        All are shown where the size of the room may not tell of the length.
        """
        objective, _ = self._lesson()
        if objective.fills:
            return 1.0, None
        share = shown_share(self.state.global_step, self.recipe.pad_share, self.recipe.pad_annealing)
        if not self.recipe.random_room:
            return share, None
        chance, part = draws.uniform(2, _ROOM).unbind(1)
        return share, part.masked_fill(chance >= self.recipe.random_room, 1.0)

    def _annealed(self, denoiser: Denoiser, draws: RowGenerator) -> Denoiser:
        """The network as it may see in this step."""
        share = self._openness()
        return denoiser if share >= 1.0 else Annealed(denoiser, share, draws, self.recipe.attention_per_row)

    def _openness(self) -> float:
        recipe = self.recipe
        return openness(self.state.global_step, recipe.attention_annealing, recipe.attention_ramp)

    def _draws(self, step: int, first: int, total: int, ids: Tensor) -> RowGenerator:
        return RowGenerator.for_batch(
            self.recipe.seed, step, first=first, rows=len(ids), total=total, device=ids.device
        )


class RowOrder(Sampler[int]):
    """The rows of an epoch in an order that depends on the seed and the epoch alone.

    The last step is filled up with the epoch's first rows, so that all steps are alike, and alike on any
    number of processes.
    """

    def __init__(self, rows: int, per_step: int, seed: int, epoch: Callable[[], int]) -> None:
        """`epoch` tells the number of the epoch that begins."""
        self.rows, self.per_step, self.seed, self.epoch = rows, per_step, seed, epoch

    def __iter__(self) -> Iterator[int]:
        """The numbers of all rows."""
        order = np.random.default_rng([self.seed, self.epoch()]).permutation(self.rows)
        yield from np.resize(order, len(self)).tolist()

    def __len__(self) -> int:
        """Number of rows, those that come twice included."""
        return -(-self.rows // self.per_step) * self.per_step


def _canvas(inputs: dict[str, Any]) -> Canvas:
    """A batch of the collator."""
    return Canvas(inputs["input_ids"], inputs["labels"] != IGNORED, inputs["attention_mask"].bool())


def _mean_and_error(nats: Tensor, items: Tensor) -> dict[str, float]:
    """Nats per token over all rows, and the standard error of that ratio."""
    rows, tokens = len(nats), max(1.0, float(items.sum()))
    mean = float(nats.double().sum()) / tokens
    spread = float((nats - mean * items).double().square().sum()) / max(1, rows - 1)
    return {"loss": mean, "standard_error": math.sqrt(spread * rows) / tokens}
