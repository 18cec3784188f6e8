"""How a draft is revised: what in it is taken for noise, and what came of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from .corruptions import Corruption
from .denoisers import Denoiser
from .drafts import Draft
from .errors import IncompatibleError
from .generation import Decoding, Frame, Start
from .generation.doubts import remasked
from .generation.loop import check_room
from .generation.start import check_noise_rate
from .tasks import Generation, Task

LOOKS = 8
"""Calls by which all tokens of a draft are asked about once."""
USUAL: Mapping[bool, Mapping[str, Any]] = {
    True: {"sampler": "confidence", "temperature": 0.0},
    False: {"sampler": "any-position"},
}
"""How a draft is revised when nobody says how: by a model of masks that are all alike, or not."""


def revision(
    draft: Draft,
    denoiser: Denoiser,
    corruption: Corruption,
    decoding: Decoding,
    *,
    noise_rate: float,
    looks: int,
    seed: int,
    device: torch.device,
    banned: Sequence[int] = (),
) -> Task:
    """A draft as the start of a generation; left out, steps are as many as tokens are believed wrong.

    `banned` ids are never what was meant.

    Raises:
        SettingsError: a setting is out of range.
        IncompatibleError: the network sees nothing but what stands before.
    """
    check_noise_rate(noise_rate)
    if denoiser.next_token:
        raise IncompatibleError(
            "this model predicts the next token and cannot see what stands behind a word: revise with a "
            "diffusion model."
        )
    canvas = draft.canvas
    there = canvas.to(device)
    check_room(denoiser, there)
    if corruption.masks_only:
        start = remasked(denoiser, corruption, there, noise_rate, looks=looks, banned=banned)
        wrong = int(corruption.may_be_noise(start.tokens).sum(1).max())
    else:
        start = Start(there.tokens, noise_rate)
        wrong = math.ceil(noise_rate * int(canvas.editable.sum(1).max()))
    if decoding.filled().steps is None:
        decoding = replace(decoding, steps=max(1, -(-wrong // decoding.tokens_per_step)))
    seeds = tuple(seed + row for row in range(len(draft.stretches)))
    return Task(canvas, decoding, seeds, (draft.text,) * len(seeds), inside=True, start=start, draft=draft)


def revised(task: Task, draft: Draft, frames: list[Frame]) -> Generation:
    """The revised text of a finished task."""
    last = frames[-1]
    ids = draft.after(last.tokens)
    changes = draft.changes(ids)
    return Generation(
        text="".join(piece.text for piece in draft.pieces(ids)),
        prompt=draft.text,
        token_ids=ids[draft.first : draft.last],
        prompt_tokens=draft.last - draft.first,
        generated_tokens=len(changes),
        nfe=last.nfe,
        read_tokens=int(last.read.sum()),
        judged_texts=last.judged,
        predicted_length=None,
        seconds=last.seconds,
        sampler=task.decoding.sampler,
        steps=last.step,
        seed=task.seeds[0],
        frames=frames,
        row=0,
        changes=changes,
    )
