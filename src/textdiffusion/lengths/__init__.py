"""How long a text will be: read at the first look, before the rest of the steps is paid."""

from .base import LengthReader, cut
from .heads import LENGTH_HEADS, LengthHead
from .look import Look, look
from .readers import LENGTH_READERS, EndReader, HeadReader, Learnt, reader_of

__all__ = [
    "LENGTH_HEADS",
    "LENGTH_READERS",
    "EndReader",
    "HeadReader",
    "Learnt",
    "LengthHead",
    "LengthReader",
    "Look",
    "cut",
    "look",
    "reader_of",
]
