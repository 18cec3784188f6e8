"""Conversations as ids: what is given of them, and the answer with its end, by the tokenizer's template."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from .data.conversations import ASSISTANT, USER, Message, Turns, shortened
from .errors import IncompatibleError

DEFAULT_TEMPLATE = (
    "{{ bos_token or cls_token or '' }}"
    "{% for message in messages %}"
    "{{ {'system': 'System', 'user': 'User', 'assistant': 'Assistant'}[message['role']] + ':' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ ' ' + (message['content'] | trim) + (eos_token or sep_token or '') }}"
    "{% endgeneration %}"
    "{% else %}{{ ' ' + (message['content'] | trim) }}{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""Plain lines, each answer ended as texts are: for tokenizers that have no template."""

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_FIRST_SIGN = 0xF0000
"""Of the private characters that stand for special tokens which somebody has spelt out."""
_PROBE = Message(ASSISTANT, "x")


@dataclass(frozen=True)
class ChatTemplate:
    """How a tokenizer writes conversations; training, chat and measurements use the same one.

    What is given and what is answered are encoded one behind the other, so that an answer is learnt behind
    the very ids behind which it will be asked for.
    """

    tokenizer: PreTrainedTokenizerBase

    @property
    def source(self) -> str:
        """The template of the tokenizer in Jinja, or the default one."""
        if not self.tokenizer.chat_template:
            return DEFAULT_TEMPLATE
        found: str = self.tokenizer.get_chat_template()
        return found

    @cached_property
    def end_id(self) -> int | None:
        """The token that ends an answer, if the template has one and can be read."""
        try:
            return self.answered((Message(USER, "x"), _PROBE))[1][-1]
        except IncompatibleError:
            return None

    def prompt(self, turns: Turns) -> list[int]:
        """Ids of all that stands before the next answer.

        Raises:
            IncompatibleError: the template cannot render these turns.
        """
        return self._encode(self._before(turns))

    def answered(self, turns: Turns) -> tuple[list[int], list[int]]:
        """Ids of what stands before the last message, an answer, and of the answer with its end.

        The answer is what the template marks as generated, where it does; else what it adds to the turns
        before with the start of an answer behind them.

        Raises:
            IncompatibleError: the template cannot render these turns, or renders those before the answer
                otherwise without it, or ends answers with no special token.
        """
        whole, spans = self._render(turns, open_answer=False)
        if spans:
            start, stop = spans[-1]
        else:
            before = self._before(turns[:-1])
            if not whole.startswith(before):
                raise IncompatibleError(
                    "the chat template writes what stands before an answer otherwise than with the answer "
                    "behind it; mark answers in it with {% generation %} and {% endgeneration %}."
                )
            start, stop = len(before), len(whole)
        given, both = self._encode(whole[:start]), whole[: self._end(whole, start, stop)]
        ids = self._encode(both)
        joined = ids[: len(given)] == given  # else a token reaches into the answer, or would
        return given, ids[len(given) :] if joined else self._encode(both[start:])

    def prompt_within(self, turns: Turns, room: int) -> list[int]:
        """As `prompt`, without the oldest turns that leave no room; the shortest where none is short enough.

        Raises:
            IncompatibleError: as `prompt`.
        """
        ids = list[int]()
        for less in shortened(turns):
            ids = self.prompt(less)
            if len(ids) <= room:
                break
        return ids

    def answered_within(self, turns: Turns, room: int) -> tuple[list[int], list[int]] | None:
        """As `answered`, without the oldest turns that leave no room; None where the last ones leave none.

        Raises:
            IncompatibleError: as `answered`.
        """
        for less in shortened(turns):
            given, answer = self.answered(less)
            if len(given) + len(answer) <= room:
                return given, answer
        return None

    def _before(self, turns: Turns) -> str:
        if not _GENERATION.search(self.source):
            return self._render(turns, open_answer=True)[0]
        # What a template opens an answer with need not be what it marks.
        whole, spans = self._render((*turns, _PROBE), open_answer=False)
        if not spans:
            raise IncompatibleError(
                "the chat template marks no answer though it has {% generation %}; mark what the assistant "
                "says, its end included."
            )
        return whole[: spans[-1][0]]

    def _end(self, whole: str, start: int, stop: int) -> int:
        """Where the special token that ends the answer ends, within what is marked or right behind it."""
        inside = whole[start:stop].rstrip()
        if inside.endswith(self._specials):
            return start + len(inside)
        behind = whole[stop:].lstrip()
        skipped = len(whole) - stop - len(behind)
        for token in self._specials:
            if behind.startswith(token):
                return stop + skipped + len(token)
        raise IncompatibleError(
            "the chat template ends answers with no special token, so that no end of an answer can be learnt "
            "or seen; end them with one, such as {{ eos_token }}."
        )

    def _render(self, turns: Turns, *, open_answer: bool) -> tuple[str, list[tuple[int, int]]]:
        """The text with signs in place of special tokens that are spelt out, and where answers are marked."""
        source, render = self.source, cast(Any, render_jinja_template)  # its types are not what it returns
        chat = [{"role": each.role, "content": self._signed(each.content)} for each in turns]
        try:
            texts, spans = render(
                conversations=[chat],
                chat_template=source,
                return_assistant_tokens_mask=bool(_GENERATION.search(source)),
                add_generation_prompt=open_answer,
                **self.tokenizer.special_tokens_map,
            )
        except (TemplateError, TypeError, ValueError, ImportError) as error:
            said = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
            raise IncompatibleError(f"the chat template cannot write this conversation: {said}.") from None
        return texts[0], spans[0] if spans else []

    @cached_property
    def _specials(self) -> tuple[str, ...]:
        """Special tokens as text, the longest first."""
        added = self.tokenizer.added_tokens_decoder.values()
        found = {str(token) for token in added if token.special} | set(self.tokenizer.all_special_tokens)
        return tuple(sorted(found, key=lambda token: (-len(token), token)))

    @cached_property
    def _signs(self) -> dict[str, str]:
        return {chr(_FIRST_SIGN + number): token for number, token in enumerate(self._specials)}

    def _signed(self, content: str) -> str:
        for sign, token in self._signs.items():
            content = content.replace(token, sign)
        return content

    def _encode(self, text: str) -> list[int]:
        """Ids of a rendered text; what people have spelt out is made of ordinary tokens."""
        parts: Sequence[str] = re.split(f"([{''.join(self._signs)}])", text) if self._signs else [text]
        ids = list[int]()
        for part in filter(None, parts):
            spelt = self._signs.get(part)
            ids += self.tokenizer(
                part if spelt is None else spelt,
                add_special_tokens=False,
                split_special_tokens=spelt is not None,
                return_attention_mask=False,
                verbose=False,
            )["input_ids"]
        return ids
