"""What of a recipe can be refused before any data are read."""

import math
import re
from typing import TYPE_CHECKING, TypeAlias

from ..data.clean import TEXT_CLEANERS
from ..data.packing import ARRANGEMENTS, ONE_DOCUMENT
from ..data.prepared import is_prepared
from ..denoisers.annealed import RAMPS
from ..errors import SettingsError
from ..fillers import FILLERS
from ..generation import Decoding
from ..objectives import Objective, Tunable
from ..settings import check_at_least_one
from .precision import PRECISIONS
from .reporters import REPORTERS

if TYPE_CHECKING:
    import textdiffusion.training.recipe

Recipe: TypeAlias = "textdiffusion.training.recipe.TrainingRecipe"
"""By its full name, as its module imports this one."""


def check(recipe: Recipe) -> None:
    """Refuse what cannot work before any data are read.

    Raises:
        SettingsError, UnknownNameError: see the message.
    """
    check_at_least_one(
        recipe, "length", "batch_size", "accumulation", "vocab_size", "log_every", "save_every", "keep"
    )
    for name in (
        "prefix_length",
        "eval_every",
        "eval_rows",
        "sample_every",
        "attention_annealing",
        "keep_best",
        "patience",
        "pad_annealing",
    ):
        if recipe.__dict__[name] < 0:
            raise SettingsError(f"{name} is {recipe.__dict__[name]}; it must be 0 or more.")
    for name in ("ema", "validation_share", "causal_share", "warmup", "end_share", "prompt_dropout"):
        if not 0.0 <= recipe.__dict__[name] < 1.0:
            raise SettingsError(f"{name} {recipe.__dict__[name]} must be at least 0 and below 1.")
    for name in ("learning_rate", "muon_learning_rate", "weight_decay", "clip", "min_delta"):
        if not 0.0 <= recipe.__dict__[name] < math.inf:
            raise SettingsError(f"{name} is {recipe.__dict__[name]}; it must be 0 or more.")
    _check_numbers(recipe)
    _check_together(recipe)
    _check_names(recipe)
    _check_loss(recipe)
    _check_fillers(recipe)
    _check_chat(recipe)


def _check_numbers(recipe: Recipe) -> None:
    if not 0 <= recipe.seed < 2**32:
        raise SettingsError(f"seed is {recipe.seed}; it must be from 0 to {2**32 - 1}.")
    if not 0.0 < recipe.epochs < math.inf:
        raise SettingsError(f"epochs is {recipe.epochs}; it must be above 0.")
    if recipe.dropout is not None and not 0.0 <= recipe.dropout < 1.0:
        raise SettingsError(
            f"dropout {recipe.dropout} must be at least 0 and below 1; leave it out to keep the network's."
        )
    for group, times in {**recipe.repeats, "others": recipe.repeat_others}.items():
        if not 0.0 <= times < math.inf:
            raise SettingsError(f"repeats of {group!r} is {times}; it must be 0 or more.")
    if not re.fullmatch(r"[1-9]\d*[KMG]B", recipe.shard_size):
        raise SettingsError(f"shard_size is {recipe.shard_size!r}; give a size such as 500MB or 5GB.")


def _check_together(recipe: Recipe) -> None:
    if recipe.prefix_length >= recipe.length:
        raise SettingsError(
            f"prefix_length {recipe.prefix_length} leaves nothing to learn in rows of {recipe.length}."
        )
    if len(recipe.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in recipe.betas):
        raise SettingsError(f"betas are {list(recipe.betas)}; give two numbers from 0 to below 1.")
    if recipe.causal_share > 0.0 and recipe.model:
        raise SettingsError(
            f"causal_share {recipe.causal_share} is for a new network, but model is {recipe.model!r}; leave "
            "out one of them."
        )
    if recipe.adapters() is not None and not recipe.model:
        raise SettingsError("lora adapts a model that is there; name it as model, or leave lora out.")
    if "time_conditioning" in recipe.network:
        raise SettingsError("time_conditioning is no key of network; give it in the recipe itself.")
    if recipe.streaming and recipe.steps < 1:
        raise SettingsError("streaming reads data without a known end; give the number of steps.")


def _check_names(recipe: Recipe) -> None:
    PRECISIONS[recipe.precision]
    Decoding().changed(recipe.decoding)
    _one_of("report_to", recipe.report_to, REPORTERS)
    recipe.falling()
    ARRANGEMENTS[recipe.arrange]
    RAMPS[recipe.attention_ramp]
    for step in recipe.clean:
        TEXT_CLEANERS[step]
    recipe.process(mask_id=0, vocab_size=2)


def _check_loss(recipe: Recipe) -> None:
    loss = recipe.loss()
    _check_measured(recipe, loss)
    if loss.shift is not None and recipe.shift not in (None, loss.shift):
        raise SettingsError(
            f"shift is {recipe.shift}, but the objective {recipe.objective} needs the contrary; leave it out."
        )
    blocks = loss.block_size
    if recipe.attention_annealing and blocks is not None:
        raise SettingsError(
            f"attention_annealing {recipe.attention_annealing} opens the attention to whole texts, but the "
            f"objective {recipe.objective} reads blocks of {blocks}; leave one of them out."
        )
    given = recipe.network.get("block_size", blocks)
    if given != blocks:
        raise SettingsError(
            f"network.block_size is {given}, but the objective {recipe.objective} trains "
            f"{'whole texts' if blocks is None else f'blocks of {blocks}'}; leave it out of network, as "
            "objective_settings.block_size decides for both."
        )


def _check_measured(recipe: Recipe, loss: Objective) -> None:
    """Refuse to decide by measurements that are never made."""
    if recipe.eval_every and recipe.eval_rows:
        return
    deciding = {
        f"the objective {recipe.objective} chooses": isinstance(loss, Tunable),
        f"keep_best {recipe.keep_best} chooses": recipe.keep_best > 0,
        f"patience {recipe.patience} stops": recipe.patience > 0,
    }
    for who in (who for who, decides in deciding.items() if decides):
        raise SettingsError(
            f"{who} by measurements of held-out text, but eval_every is {recipe.eval_every} and eval_rows "
            f"is {recipe.eval_rows}; both must be at least 1."
        )


def _check_fillers(recipe: Recipe) -> None:
    if not 0.0 < recipe.pad_share <= 1.0:
        raise SettingsError(f"pad_share {recipe.pad_share} must be above 0 and at most 1.")
    if not 0.0 <= recipe.random_room <= 1.0:
        raise SettingsError(f"random_room {recipe.random_room} must be from 0 to 1.")
    loss = recipe.loss()
    needed = {
        f"pad_share {recipe.pad_share}": recipe.pad_share != type(recipe).pad_share,
        f"pad_annealing {recipe.pad_annealing}": recipe.pad_annealing > 0,
        f"random_room {recipe.random_room}": recipe.random_room > 0.0,
        f"end_share {recipe.end_share}": recipe.end_share > 0.0,
        f"the objective {recipe.objective}": loss.fills,
    }
    for what, given in needed.items():
        if given and not recipe.after_end:
            raise SettingsError(
                f"{what} needs rows that are filled up behind the end: give after_end pad or end."
            )
    if recipe.end_share and loss.block_size is not None:
        raise SettingsError(
            f"end_share {recipe.end_share} looks at whole texts, but the objective {recipe.objective} reads "
            f"blocks of {loss.block_size}; leave end_share out."
        )
    if not recipe.after_end:
        return
    FILLERS[recipe.after_end]
    texts = [source for source in (recipe.data, recipe.validation_data) if not is_prepared(source)]
    if recipe.arrange not in ONE_DOCUMENT and any(texts) and not recipe.chat:  # of arrays their kind decides
        raise SettingsError(
            f"after_end {recipe.after_end} fills rows of one document each, but arrange {recipe.arrange} "
            "makes packed rows of several; choose arrange truncated."
        )
    if not recipe.learn_end:
        raise SettingsError(
            f"after_end {recipe.after_end} stands behind an end that is learnt; keep learn_end on."
        )


def _check_chat(recipe: Recipe) -> None:
    """Refuse with conversations what is for whole texts."""
    if not recipe.chat:
        if recipe.chat_template:
            raise SettingsError("chat_template is for a training on conversations: give chat too.")
        return
    for name in ("text_field", "clean", "arrange", "streaming", "prefix_length", "random_prefix"):
        given = recipe.__dict__[name]
        if given != getattr(type(recipe), name):
            raise SettingsError(
                f"{name} is {given!r}, but chat learns the answers of conversations, each given what stands "
                f"before it; leave {name} out."
            )
    if not recipe.learn_end:
        raise SettingsError("chat learns where answers end, or they would never be over; keep learn_end on.")
    for source in (recipe.data, recipe.validation_data):
        if is_prepared(source):
            raise SettingsError(f"{source} holds token ids, but chat reads rows with messages; name these.")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")
