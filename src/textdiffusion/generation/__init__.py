"""Generation: settings, windows and the loop that turns noise into text."""

from .decoding import Decoding
from .frames import Frame
from .loop import denoise
from .sample import sample

__all__ = ["Decoding", "Frame", "denoise", "sample"]
