"""Tiny models whose words hang on what they see, and a network that can be watched and held up."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from textdiffusion.checkpoint import Checkpoint
from textdiffusion.denoisers.adapt import set_reading
from textdiffusion.denoisers.view import View
from textdiffusion.generation import Frame
from textdiffusion.language_model import DiffusionLM, Generation
from textdiffusion.model_settings import ModelSettings
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where
from textdiffusion.tasks import Task
from textdiffusion.training.network import new_network
from textdiffusion.training.recipe import TrainingRecipe
from textdiffusion.training.tokenizer import train_tokenizer

SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "tie_word_embeddings": False,
    "initializer_range": 0.4,
}
TOKENIZER = train_tokenizer(["the cat sat on the mat and the dog ran over the hill"] * 4, 300, longest=64)
PROMPTS = ["", "the cat", "the dog ran over the hill and the cat sat on the mat"]


def language_model(
    *, block_size: int | None = None, shift: bool = False, noise: str = "absorbing"
) -> DiffusionLM:
    """A tiny model of random weights, told the time where its noise cannot be seen."""
    network = new_network(TrainingRecipe(network=SHAPE, noise=noise), TOKENIZER).eval()
    set_reading(network, block_size=block_size, shift=shift)
    saved = Checkpoint(network, TOKENIZER, ModelSettings(length=64, noise=noise))
    return DiffusionLM(saved, name="tiny", device=torch.device("cpu"))


def task(
    lm: DiffusionLM, prompts: str | Sequence[str] = "the cat", length: int = 6, seed: int = 0, **options: Any
) -> Task:
    """Continuations; a classifier may be among the options."""
    several = [prompts] if isinstance(prompts, str) else prompts
    classifier = options.pop("classifier", None)
    seeds = [seed + row for row in range(len(several))]
    asked = lm.continuation(several, length=length, seeds=seeds, decoding=lm.decoding(None, options))
    return replace(asked, classifier=classifier)


def solo(lm: DiffusionLM, asked: Task) -> list[Generation]:
    """What is written when nobody else is there."""
    return lm.results(asked, list(lm.stream(asked)))


def same_texts(found: Sequence[Generation], expected: Sequence[Generation]) -> bool:
    """Whether both say the same, by the same calls."""
    ours, theirs = (
        [(text.text, text.token_ids, text.nfe, text.read_tokens, text.steps) for text in texts]
        for texts in (found, expected)
    )
    return ours == theirs


def same_bits(one: Sequence[Frame], other: Sequence[Frame]) -> bool:
    """Whether tokens and the probabilities that they had are equal to the last bit, in every frame."""
    return len(one) == len(other) and all(
        torch.equal(a.tokens, b.tokens)
        and torch.equal(a.confidence.nan_to_num(nan=-1.0), b.confidence.nan_to_num(nan=-1.0))
        for a, b in zip(one, other, strict=True)
    )


@dataclass(frozen=True)
class Held(View):
    """Notes the shape of each pass, and lets it begin when it is allowed to."""

    shapes: list[tuple[int, int]] = field(default_factory=list)
    allowed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        self.entered.release()
        assert self.allowed.acquire(timeout=60)
        self.shapes.append((xt.shape[0], xt.shape[1]))
        return self.denoiser(xt, t, attend=attend, positions=positions, where=where)

    def allow(self, passes: int = 10**4) -> None:
        """Let so many passes begin; all that there will be when left out."""
        self.allowed.release(passes)

    def wait(self) -> None:
        """Until one more pass stands before the door."""
        assert self.entered.acquire(timeout=60)


def held(lm: DiffusionLM) -> Held:
    """Put a door before the network of a model."""
    door = Held(lm.denoiser)
    lm.denoiser = door
    return door
