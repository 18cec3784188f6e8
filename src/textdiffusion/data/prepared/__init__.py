"""Text as arrays of token ids on disk: made once, checked when opened, read by any number of trainings."""

from .folder import PreparedFolder, PreparedSplit, is_prepared, open_prepared
from .metadata import Counts, Metadata, Vocabulary
from .plan import Plan
from .preparation import Progress, Tokenising, prepare

__all__ = [
    "Counts",
    "Metadata",
    "Plan",
    "PreparedFolder",
    "PreparedSplit",
    "Progress",
    "Tokenising",
    "Vocabulary",
    "is_prepared",
    "open_prepared",
    "prepare",
]
