"""Training: a recipe, the Trainer of transformers with our loss, and a collator for scripts of one's own."""

from .collate import DiffusionCollator
from .recipe import TrainingRecipe, read_recipe

__all__ = ["DiffusionCollator", "TrainingRecipe", "read_recipe"]
