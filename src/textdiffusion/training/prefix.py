"""What stands before the text to be learnt: a prefix that no noise strikes, or that is hidden as a whole."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from ..corruptions import Corruption
from ..errors import SettingsError
from ..objectives import NextToken
from ..randomness import RowGenerator
from .collate import FILLERS, IGNORED
from .recipe import TrainingRecipe

_PREFIX, _HIDDEN = 4, 7


def check_dropout(recipe: TrainingRecipe) -> None:
    """Raise SettingsError if a share of the prefixes is to be hidden where there is none, or no noise."""
    if not recipe.prompt_dropout:
        return
    if not (recipe.prefix_length or recipe.chat):
        raise SettingsError(
            f"prompt_dropout {recipe.prompt_dropout} hides prefixes, and prefix_length is 0: noise strikes "
            "all of a row, so that hidden prompts are familiar anyway; leave it out, or give a prefix_length."
        )
    if isinstance(recipe.loss(), NextToken):
        raise SettingsError(
            f"prompt_dropout {recipe.prompt_dropout} hides prefixes by noise, which the objective "
            f"{recipe.objective} does not know; leave it out."
        )


def bar_random_prefix(batch: dict[str, Any], longest: int, draws: RowGenerator) -> Tensor:
    """The labels, with noise barred from a prefix of 0 to `longest` tokens of each row; fillers are none."""
    labels: Tensor = batch["labels"]
    length = (draws.uniform(1, _PREFIX) * (longest + 1)).floor().to(labels.device)
    prefix = torch.arange(labels.shape[1], device=labels.device)[None] < length
    if FILLERS in batch:
        prefix = prefix & ~batch[FILLERS]
    return labels.masked_fill(prefix, IGNORED)


def hide_prefixes(
    batch: dict[str, Any], share: float, corruption: Corruption, kept: Collection[int], draws: RowGenerator
) -> None:
    """Put noise in place of the whole prefix of a share of the rows (Ho and Salimans, arXiv:2207.12598).

    That is what a guided generation shows of a prompt that it does not tell. The `kept` ids, such as what
    begins a text, stay.
    """
    if not share:
        return
    ids: Tensor = batch["input_ids"]
    before = (batch["labels"] != IGNORED).cumsum(1) == 0
    prefix = before & batch["attention_mask"].bool() & ~torch.isin(ids, ids.new_tensor(sorted(kept)))
    struck = (draws.uniform(1, _HIDDEN) < share).to(ids.device)
    batch["input_ids"] = torch.where(prefix & struck, corruption.prior(ids, draws), ids)
