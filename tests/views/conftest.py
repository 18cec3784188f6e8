"""A sentence that settles in a random but repeatable order, as a loop would show it."""

import random
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch

from textdiffusion.generation.frames import Frame
from textdiffusion.views.reader import TextReader
from textdiffusion.views.trace import Trace

ENGLISH = ["Once upon a time", " there", " lived", " a", " fox", ".", "\n"]
ENGLISH += ["It", " read", " all", " day", ",", " con", "densing", " words", "."]
CHINESE = [*"床前明月光，疑是地上霜。", "\n", *"举头望明月，低头思故乡。"]

MakeFrames = Callable[..., list[Frame]]
MakeTrace = Callable[..., Trace]


def condense(pieces: Sequence[str], prompt: int, per_step: int) -> Iterator[Frame]:
    """Frames of one text whose token i is piece i; the mask is the id behind the last piece."""
    count, mask = len(pieces), len(pieces)
    rng = random.Random(0)
    order = list(range(prompt, count))
    rng.shuffle(order)
    tokens = [i if i < prompt else mask for i in range(count)]
    confidence = [float("nan")] * count
    steps = -(-len(order) // per_step)
    for step in range(steps + 1):
        for i in order[(step - 1) * per_step : step * per_step] if step else []:
            tokens[i], confidence[i] = i, rng.random()
        row = torch.tensor([tokens])
        yield Frame(
            step,
            steps,
            row,
            row != mask,
            torch.tensor([confidence]),
            row != mask,
            nfe=step,
            seconds=step / 8,
            read=torch.tensor([1]),
        )


@pytest.fixture
def make_frames() -> MakeFrames:
    """Frames of a sentence: make_frames(pieces, prompt=1, per_step=3)."""
    return lambda pieces=ENGLISH, prompt=1, per_step=3: list(condense(pieces, prompt, per_step))


@pytest.fixture
def make_reader() -> Callable[..., TextReader]:
    """The reader for such frames."""

    def make(pieces: Sequence[str] = ENGLISH, prompt: int = 1) -> TextReader:
        editable = torch.arange(len(pieces))[None] >= prompt
        return TextReader.of_row(
            0,
            editable=editable,
            valid=torch.ones_like(editable),
            decode=lambda ids: "".join(pieces[i] for i in ids),
            mask_id=len(pieces),
        )

    return make


@pytest.fixture
def make_trace(make_frames: MakeFrames, make_reader: Callable[..., TextReader]) -> MakeTrace:
    """The trace of a sentence: make_trace(pieces, prompt=1, per_step=3)."""

    def make(pieces: Sequence[str] = ENGLISH, prompt: int = 1, per_step: int = 3) -> Trace:
        frames = make_frames(pieces, prompt, per_step)
        return make_reader(pieces, prompt).record(frames, model="fox", sampler="random", seed=3)

    return make


@pytest.fixture
def trace(make_trace: MakeTrace) -> Trace:
    """The English sentence."""
    return make_trace()


@pytest.fixture
def chinese() -> list[str]:
    """Pieces of a poem, one character each."""
    return list(CHINESE)
