"""What a model is asked to write, and what came of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .canvas import Canvas
from .drafts import Change, Draft
from .errors import SettingsError
from .generation import Decoding, Frame, Start
from .guidance import Classifier
from .lengths import Look
from .tokens import TextFormat


@dataclass(frozen=True)
class Task:
    """A batch of texts to write, ready for the loop."""

    canvas: Canvas
    decoding: Decoding
    seeds: tuple[int, ...]
    prompts: tuple[str, ...]
    inside: bool
    """Whether the holes lie inside the texts, which then end where they ended."""
    look: Look | None = None
    """What was read of the lengths before the canvas was cut to them."""
    classifier: Classifier | None = None
    """What steers the texts, if anything does."""
    start: Start | None = None
    """The text in which the steps begin, where that is not all noise."""
    likely: int = 0
    """Tokens of each place that the frames show beside the one that stands there."""
    draft: Draft | None = None
    """The one text that all rows are parts of, where one is revised."""


@dataclass(frozen=True)
class Generation:
    """One written text."""

    text: str
    """The continuation without the prompt; where holes were filled the text, else as it was given."""
    prompt: str
    token_ids: list[int]
    """Written ids, up to the end of text."""
    prompt_tokens: int
    generated_tokens: int
    nfe: int
    """Network calls of the whole batch."""
    read_tokens: int
    """Tokens of this text that were in these calls, each once a call: what they cost."""
    judged_texts: int
    """Texts that the classifier read for the whole batch, every candidate counted; 0 without one."""
    predicted_length: int | None
    """New tokens that there was room for, the end included, if that was read from the prompt."""
    seconds: float
    """Wall time of the whole batch, loading left out."""
    sampler: str
    steps: int
    """Steps taken; fewer than planned where the sampler finished early."""
    seed: int
    """Gives this very text when generated alone."""
    frames: list[Frame]
    """All steps of the whole batch."""
    row: int
    """This text's row in the frames."""
    changes: tuple[Change, ...] = ()
    """What is no longer as it was in a draft."""


def check_fits(given: int, new: int, longest: int) -> None:
    """Raise SettingsError if so many given and new tokens do not fit a model that holds `longest`."""
    if new == 0 and given > longest:
        raise SettingsError(
            f"the text has {given} tokens, its holes included, but the model holds {longest}; "
            "shorten the text or its holes."
        )
    if given >= longest and new:
        raise SettingsError(
            f"the prompt has {given} tokens and leaves no room for new ones: the model holds "
            f"{longest} in all; shorten the prompt."
        )
    if given + new > longest:
        raise SettingsError(
            f"{given} tokens of text and {new} new ones do not fit: the model holds {longest}; "
            "shorten the text or lower --length."
        )


def counted_behind(
    frames: Iterator[Frame], calls: int, tokens: Sequence[int], seconds: float
) -> Iterator[Frame]:
    """Frames that count what was looked at before them among what was paid."""
    for frame in frames:
        read = frame.read + frame.read.new_tensor(tokens)
        yield replace(frame, nfe=frame.nfe + calls, seconds=frame.seconds + seconds, read=read)


def finished(task: Task, frames: list[Frame], text_format: TextFormat) -> list[Generation]:
    """The texts of a task by its frames, of which the last one has them whole."""
    last, found = frames[-1], list[Generation]()
    for row, prompt in enumerate(task.prompts):
        ids = last.tokens[row].cpu()
        valid, editable = task.canvas.valid[row], task.canvas.editable[row]
        new = ids[editable].tolist()
        written = new if task.inside else text_format.written(new)
        text = (
            text_format.filled(prompt, written)
            if task.inside
            else text_format.continued(ids[valid & ~editable].tolist(), written)
        )
        found.append(
            Generation(
                text=text,
                prompt=prompt,
                token_ids=written,
                prompt_tokens=int((valid & ~editable).sum()),
                generated_tokens=len(written),
                nfe=last.nfe,
                read_tokens=int(last.read[row]),
                judged_texts=last.judged,
                predicted_length=None if task.look is None else task.look.rooms[row],
                seconds=last.seconds,
                sampler=task.decoding.sampler,
                steps=last.step,
                seed=task.seeds[row],
                frames=frames,
                row=row,
            )
        )
    return found
