"""What a training gives: which weights, and the folder that they are written to."""

import tempfile
from pathlib import Path

from torch import Tensor
from transformers import TrainerState

from ..checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .callbacks import AVERAGE_FILE
from .held_out import best_checkpoint, measurements
from .recipe import TrainingRecipe
from .weight_copy import put_saved


def choose(recipe: TrainingRecipe, state: TrainerState, checkpoints: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint that becomes the model, None for the weights as they are, and what to say of it."""
    found, said = measurements(recipe, state), list[str]()
    if recipe.patience and state.global_step < state.max_steps:
        said.append(
            f"stopped at step {state.global_step} of {state.max_steps}: {recipe.patience} measurements "
            f"brought no held-out loss lower by more than {recipe.min_delta:g}"
        )
    chosen = best_checkpoint(checkpoints, found) if recipe.keep_best else None
    if chosen is None:
        return None, said
    measured, folder = chosen
    said.append(f"the model is {folder.name}, the best held out: {measured.loss:.3f} nats per token")
    return folder, said


def as_measured(folder: Path, recipe: TrainingRecipe) -> Checkpoint:
    """The model in a checkpoint with the weights that were measured, and its adapters beside it."""
    loaded = load_checkpoint(str(folder), dtype="float32", merge=False)
    if recipe.ema and (folder / AVERAGE_FILE).is_file():
        put_saved(folder / AVERAGE_FILE, loaded.model)
    return loaded


def save_result(result: Checkpoint, recipe: TrainingRecipe, weights: dict[str, Tensor] | None) -> None:
    """Write an ordinary folder, or the adapters alone; `weights` are all where the network holds a part."""
    output, adapters = Path(recipe.output), recipe.adapters()
    if adapters is not None and adapters.merge:
        with tempfile.TemporaryDirectory(prefix=".adapters.", dir=output) as place:
            save_checkpoint(Path(place), result, weights=weights)
            result, weights = load_checkpoint(place, dtype="float32"), None
    save_checkpoint(output, result, weights=weights, shard_size=recipe.shard_size)
