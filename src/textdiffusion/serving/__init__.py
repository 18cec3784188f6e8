"""Many requests at once: an engine in which texts of all kinds share the calls of one network."""

from .engine import Engine as Engine
from .handle import Handle as Handle
from .limits import Limits as Limits
from .merging import MERGINGS as MERGINGS
from .metrics import Metrics as Metrics

__all__ = ["MERGINGS", "Engine", "Handle", "Limits", "Metrics"]
