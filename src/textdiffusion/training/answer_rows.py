"""Rows of a training on conversations: each answer with what was said before it, and nothing behind it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from transformers import PreTrainedTokenizerBase

from ..chat_template import DEFAULT_TEMPLATE, ChatTemplate
from ..data.conversations import Turns, answers_of
from ..data.packing import TokenRows, truncated_rows
from ..errors import DataError, SettingsError
from ..tokens import TextFormat
from .collate import GIVEN


@dataclass(frozen=True, eq=False)
class AnswerRows:
    """Rows of ids in memory, each an answer with its end behind what is given; a map-style data set."""

    rows: TokenRows
    given: NDArray[np.int32]
    """Tokens of each row before its answer."""

    def __len__(self) -> int:
        """Number of answers."""
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int] | int]:
        """Row `index` as ``{"input_ids": [...], "given": n}``.

        Raises:
            IndexError: there is no such row.
        """
        return {**self.rows[index], GIVEN: int(self.given[index])}

    @classmethod
    def build(
        cls, conversations: Iterable[Turns], text_format: TextFormat, length: int, console: Console
    ) -> "AnswerRows":
        """A row of at most `length` tokens for each answer; the oldest turns go first where there are more.

        Every answer of several is learnt by itself, behind clean answers before it and in sight of nothing
        that was said later, which is how it will be asked for (as in the tuning of LLaDA, arXiv:2502.09992).

        Raises:
            DataError: there is no answer, or none fits.
            IncompatibleError: the tokenizer's template cannot render a conversation.
        """
        template, given, long = ChatTemplate(text_format.tokenizer), list[int](), 0
        found = list[list[int]]()
        for turns in conversations:
            for answered in answers_of(turns):
                ids = template.answered_within(answered, length)
                if ids is None:
                    long += 1
                    continue
                given.append(len(ids[0]))
                found.append(ids[0] + ids[1])
        if not found:
            raise DataError(
                f"the conversations hold no answer of up to {length} tokens with its question ({long} are "
                "longer); give others, or raise length."
            )
        if long:
            console.print(f"left out {long:,} answers that do not fit with their question", highlight=False)
        rows = TokenRows.of_rows(truncated_rows(found, length))
        return cls(rows, np.asarray(given, dtype=np.int32))


def give_template(tokenizer: PreTrainedTokenizerBase, file: str) -> None:
    """Let the tokenizer have the template in a file, its own, or the default one; it is saved with it.

    Raises:
        SettingsError: the file cannot be read.
    """
    if file:
        try:
            tokenizer.chat_template = Path(file).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"chat_template {file} cannot be read ({error}).") from None
    elif not tokenizer.chat_template:
        tokenizer.chat_template = DEFAULT_TEMPLATE
