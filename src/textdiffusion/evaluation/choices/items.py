"""What a model is asked: to choose among options, or to answer in words."""

from dataclasses import dataclass

from ..answers import Option


@dataclass(frozen=True)
class Choice:
    """Several texts of which one is right."""

    options: tuple[Option, ...]
    gold: int
    """The right one, counted from 0."""

    def __post_init__(self) -> None:
        """Refuse a right answer that is none of them."""
        if not 0 <= self.gold < len(self.options):
            raise ValueError(f"answer {self.gold} of {len(self.options)}")


@dataclass(frozen=True)
class Question:
    """Something that is answered in words, any of `answers` being right."""

    prompt: str
    answers: tuple[str, ...]
