"""The teacher of a distillation: the student as it was when the round began."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..denoisers.adapt import denoiser_of
from ..denoisers.view import View
from ..errors import SettingsError
from ..model_settings import ModelSettings
from ..objectives import Distilling, Objective
from ..shapes import Attend, Logits, Positions, Times, Tokens, Where
from .callbacks import Average
from .recipe import TrainingRecipe
from .weight_copy import WeightCopy

TEACHER_FILE = "teacher.safetensors"


class Teacher(TrainerCallback):
    """Weights of the network from the start of a round on, which checkpoints hold.

    The first teacher is the model that the training began with, each later one the student at the end of the
    round before, or the average of its weights where one is kept (`ema`), as that is what would be saved.
    """

    def __init__(self, objective: Distilling, average: Average | None, resume_from: Path | None) -> None:
        """Follow the rounds of an objective, going on from a checkpoint if there is one."""
        self.objective, self.average = objective, average
        self.copy = WeightCopy(TEACHER_FILE, resume_from)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin with the weights as they are, or with the teacher in the checkpoint."""
        self.copy.begin(kwargs["model"])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make the student the teacher where the next step begins a round; the average is up to date then."""
        if not self.objective.begins_round(state.global_step):
            return
        if self.average is None:
            self.copy.follow(kwargs["model"])
        else:
            self.copy.copy(self.average.copy)

    def lesson(self, network: nn.Module, step: int) -> Objective:
        """What is learnt at an optimiser step, 0 being the first."""
        return self.objective.taught(LentWeights(denoiser_of(network), network, self.copy), step)

    def report(self, step: int) -> dict[str, float]:
        """What a report says of it after so many steps: the step size of the round that it is about."""
        return {"teacher_step_size": self.objective.step_size(max(0, step - 1))}


@dataclass(frozen=True)
class LentWeights(View):
    """A network that answers by other weights, without dropout and without gradient.

    There is but one network, whose own weights come back before it learns: what it has computed by them
    before must not be needed for a gradient any more.
    """

    network: nn.Module
    weights: WeightCopy

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        learns = self.network.training
        self.network.eval()
        try:
            with torch.no_grad(), self.weights.inside(self.network):
                return self.denoiser(xt, t, attend=attend, positions=positions, where=where)
        finally:
            self.network.train(learns)


def teacher_of(recipe: TrainingRecipe, average: Average | None, resume_from: Path | None) -> Teacher | None:
    """The teacher of a training, if its objective learns from one."""
    objective = recipe.loss()
    return Teacher(objective, average, resume_from) if isinstance(objective, Distilling) else None


def check_start(recipe: TrainingRecipe) -> None:
    """Refuse to distil a network that has learnt nothing yet.

    Raises:
        SettingsError: no model is named.
    """
    if isinstance(recipe.loss(), Distilling) and not recipe.model:
        raise SettingsError(
            f"the objective {recipe.objective} distils a model that is trained; name its folder by --model."
        )


def check_noise(recipe: TrainingRecipe, known: ModelSettings) -> None:
    """Refuse to distil a model by noise that it does not know.

    Raises:
        SettingsError: the recipe has another noise than the training of the model.
    """
    if not isinstance(recipe.loss(), Distilling):
        return
    own = (known.noise, dict(known.noise_settings))
    if own != (recipe.noise, dict(recipe.noise_settings)):
        raise SettingsError(
            f"{recipe.model} has learnt noise {own[0]} with settings {own[1]}, but it is to be distilled "
            f"with noise {recipe.noise} and {dict(recipe.noise_settings)}; give the same."
        )
