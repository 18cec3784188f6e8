"""The quality of written text: metrics beside those of human text, against network calls and seconds."""

from .metric import ABOVE, BELOW, HUMAN, LESS, MORE, Material, Metric
from .metrics import METRICS
from .scorer import Scorer
from .texts import Texts

__all__ = ["ABOVE", "BELOW", "HUMAN", "LESS", "METRICS", "MORE", "Material", "Metric", "Scorer", "Texts"]
