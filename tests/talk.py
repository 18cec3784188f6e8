"""Conversations, templates and a tokenizer for the tests of chat."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from textdiffusion.data.conversations import Message, Turns
from textdiffusion.training.tokenizer import train_tokenizer

SAID = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A fox."},
    {"role": "user", "content": "Bye."},
]
TURNS: Turns = tuple(Message(**message) for message in SAID)
START, STOP = "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TAGGED = (
    "{{ messages | length }} messages\n{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{% endgeneration %}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
)
"""Marks answers without their ends, opens none when asked to, and begins otherwise with each message."""


def talker(template: str = "") -> PreTrainedTokenizerBase:
    """A tokenizer of bytes and a few words, with that template and its special tokens."""
    tokenizer = train_tokenizer([message["content"] for message in SAID] * 4, 320, longest=64)
    if template:
        tokenizer.add_special_tokens({"extra_special_tokens": [START, STOP]})
        tokenizer.chat_template = template
    return tokenizer


def write_rows(path: Path, rows: Sequence[Any]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
