"""Samplers. A new one: a row in recipes.py, and a policy in commit.py or reopen.py where none fits."""

from .base import Sampler, State
from .recipes import SAMPLERS, Recipe, sampler_settings, setting_fields

__all__ = ["SAMPLERS", "Recipe", "Sampler", "State", "sampler_settings", "setting_fields"]
