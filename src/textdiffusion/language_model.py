"""A diffusion language model as a user sees it: load, generate, fill, score."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, overload

import torch

from .canvas import Canvas
from .chat_template import ChatTemplate
from .checkpoint import Checkpoint, load_checkpoint
from .classifiers import load_classifier
from .corruptions import Absorbing, Corruption
from .data.conversations import turns_of
from .denoisers import Denoiser
from .denoisers.adapt import denoiser_of
from .denoisers.compiled import check_compiler, compile_for_generation
from .device import DEVICES, choose_device, emulates_bf16
from .drafts import Draft
from .dtypes import DTYPES
from .errors import IncompatibleError, SettingsError
from .generation import Decoding, Frame, denoise
from .generation.loop import check_room
from .guidance import Classifier
from .lengths import Learnt, LengthReader, look, reader_of
from .model_settings import ModelSettings
from .randomness import RowGenerator
from .revising import LOOKS, USUAL, revised, revision
from .samplers import Sampler
from .tasks import Generation as Generation
from .tasks import Task as Task
from .tasks import check_fits, counted_behind, finished
from .tokens import TextFormat
from .wording import Wording

logger = logging.getLogger(__name__)
Length = int | Literal["auto"]
"""New tokens: so many, or as many as the model expects."""
AUTO: Length = "auto"
USUAL_ANSWER = 64
"""Tokens of an answer in a conversation where the model cannot tell how long it will be."""


class DiffusionLM:
    """A network, its tokenizer and its noise; `textdiffusion.load` makes one."""

    def __init__(self, checkpoint: Checkpoint, *, name: str, device: torch.device) -> None:
        """Put a loaded checkpoint on a device."""
        self.name = name
        self.model = checkpoint.model.to(device)  # type: ignore[arg-type, unused-ignore]
        self.settings: ModelSettings = checkpoint.settings
        self.format = TextFormat.of(checkpoint.tokenizer, self.settings.after_end)
        self.wording = Wording(self.format)
        self.denoiser: Denoiser = denoiser_of(self.model)
        head = checkpoint.length_head
        self.length_head = None if head is None else head.to(device)
        self.vocab_size: int = self.model.config.get_text_config(decoder=True).vocab_size
        self.corruption: Corruption = self.settings.corruption(
            self.format.mask_id, self.vocab_size, checkpoint.frequencies
        )

    @property
    def longest(self) -> int:
        """Most tokens in one text, prompt included."""
        limits = [limit for limit in (self.settings.length, self.denoiser.longest) if limit is not None]
        return min(limits) if limits else 1024

    @property
    def learnt(self) -> Learnt:
        """What the model knows of lengths; one that reads blocks has seen no whole room."""
        fills = bool(self.settings.after_end) and self.denoiser.block_size is None
        return Learnt(self.format.ends if fills else (), self.length_head)

    @property
    def length_reader(self) -> LengthReader | None:
        """The best way that the model has to read the length of a text from its prompt, if it has any."""
        return reader_of(self.learnt)

    @property
    def tells_length(self) -> bool:
        """Whether the length of a text need not be given: it is read, or blocks are written until the end."""
        return self.length_reader is not None or (
            self.denoiser.block_size is not None and self.settings.learns_end
        )

    @overload
    def generate(self, prompt: str = "", **options: Any) -> Generation: ...
    @overload
    def generate(self, prompt: Sequence[str], **options: Any) -> list[Generation]: ...
    def generate(
        self,
        prompt: str | Sequence[str] = "",
        *,
        length: Length | None = None,
        seed: int = 0,
        decoding: Decoding | None = None,
        classifier: Classifier | None = None,
        **options: Any,
    ) -> Generation | list[Generation]:
        """Continue a prompt, or each of a list of prompts, by `length` new tokens.

        With the length "auto" the first call reads how long each text will be, and the rest is paid for that
        much; a model of blocks writes on until the end. A prompt in a list gets the same text as alone.
        A `classifier`, ids [batch, length] to log p(label | text) [batch], steers what is written.
        `options` are the fields of `Decoding` and the sampler's own settings.

        Raises:
            SettingsError: an option is unknown or out of range, or prompt and length exceed `longest`.
            IncompatibleError: the length is "auto", and the model has learnt nothing of lengths.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        settings = self.decoding(decoding, options)
        task = self.continuation(prompts, length=length, seeds=[seed] * len(prompts), decoding=settings)
        task = replace(task, classifier=classifier)
        results = self.results(task, list(self.stream(task)))
        return results[0] if isinstance(prompt, str) else results

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        length: Length | None = None,
        seed: int = 0,
        decoding: Decoding | None = None,
        **options: Any,
    ) -> Generation:
        """The answer to a conversation, messages with `role` (system, user or assistant) and `content`.

        It is written in the tokenizer's template up to the end of the turn, in `length` new tokens; see
        `reply`. `options` are the fields of `Decoding` and the sampler's own settings.

        Raises:
            DataError: the messages are no conversation.
            SettingsError: an option is unknown or out of range, or the last message leaves no room.
            IncompatibleError: the template cannot write the conversation.
        """
        task = self.reply(messages, length=length, seed=seed, decoding=self.decoding(decoding, options))
        answer = self.results(task, list(self.stream(task)))[0]
        return replace(answer, text=answer.text.strip())

    def reply(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        length: Length | None = None,
        seed: int = 0,
        decoding: Decoding,
    ) -> Task:
        """The next answer of a conversation, as `turn` has it."""
        ids, room = self.turn(messages, length=length)
        return self.continuing([ids], length=room, seeds=[seed], decoding=decoding)

    def turn(
        self, messages: Sequence[Mapping[str, str]], *, length: Length | None = None
    ) -> tuple[list[int], Length]:
        """Ids before the next answer, and its length; the oldest turns are left out where there is no room.

        Without a `length` it is read where the model can tell one, and else as long as answers usually are.
        """
        if length is None:
            length = AUTO if self.tells_length else min(USUAL_ANSWER, self.longest // 2)
        room = length if isinstance(length, int) else self.longest // 4  # at the least
        turns = turns_of(messages, "this conversation")
        return ChatTemplate(self.format.tokenizer).prompt_within(turns, self.longest - room), length

    def fill(
        self,
        text: str,
        *,
        seed: int = 0,
        decoding: Decoding | None = None,
        classifier: Classifier | None = None,
        **options: Any,
    ) -> Generation:
        """Fill the holes of a text: ``[MASK]`` and ``____`` are one token each, ``[MASK:n]`` is n."""
        task = self.infilling([text], seeds=[seed], decoding=self.decoding(decoding, options))
        task = replace(task, classifier=classifier)
        return self.results(task, list(self.stream(task)))[0]

    def load_classifier(self, name: str, label: str) -> Classifier:
        """The probability of one label of a classifier in a folder or on the Hub, for steering this model.

        Raises:
            CheckpointError, IncompatibleError, UnknownNameError: see `classifiers.load_classifier`.
        """
        return load_classifier(name, label, tokenizer=self.format.tokenizer, device=self.model.device)

    def revise(
        self,
        text: str,
        *,
        noise_rate: float = 0.2,
        looks: int = LOOKS,
        seed: int = 0,
        classifier: Classifier | None = None,
        **options: Any,
    ) -> Generation:
        """Change what is wrong in a draft, of which a share `noise_rate` is believed to be.

        See `revision`; `options` are the fields of `Decoding` and the sampler's own settings.
        """
        task = self.revision(text, noise_rate=noise_rate, looks=looks, seed=seed, options=options)
        task = replace(task, classifier=classifier)
        return self.results(task, list(self.stream(task)))[0]

    def decoding(self, given: Decoding | None = None, options: dict[str, Any] | None = None) -> Decoding:
        """The settings of a generation: defaults, then the checkpoint's, then the caller's."""
        base = Decoding().changed(self.settings.decoding) if given is None else given
        return base.changed(options or {})

    def continuation(
        self, prompts: Sequence[str], *, length: Length | None, seeds: Sequence[int], decoding: Decoding
    ) -> Task:
        """Prompts with room for `length` tokens after each; the canvas of the training when left out."""
        _check_length(length)
        ids = [self.format.prompt(prompt) for prompt in prompts]
        task = self.continuing(ids, length=length, seeds=seeds, decoding=decoding)
        return replace(task, prompts=tuple(prompts))

    def continuing(
        self,
        ids: Sequence[Sequence[int]],
        *,
        length: Length | None,
        seeds: Sequence[int],
        decoding: Decoding,
    ) -> Task:
        """As `continuation`, of ids; if the length is to be read, that costs a network call already."""
        _check_length(length)
        rooms = [length if isinstance(length, int) else max(1, self.longest - len(row)) for row in ids]
        for row, room in zip(ids, rooms, strict=True):
            check_fits(len(row), room, self.longest)
        canvas = Canvas.from_prompts(ids, rooms, pad_id=self.format.pad_id)
        texts = tuple(self.format.decode(row) for row in ids)
        task = Task(canvas, decoding, tuple(seeds), texts, inside=False)
        return self._cut(task, ids) if length == AUTO else task

    def _cut(self, task: Task, ids: Sequence[Sequence[int]]) -> Task:
        """The task with no more room than its texts are read to need; as it is for a model of blocks."""
        reader = self.length_reader
        if reader is None:
            if not self.tells_length:
                raise IncompatibleError(
                    f"{self.name} cannot tell how long its texts will be: give --length N, train it with "
                    "after_end, fit a head with `textdiffusion length fit`, or train it in blocks with "
                    "learn_end."
                )
            return task  # which is written block by block until the end
        canvas, noise = task.canvas.to(self.model.device), self.process(task.decoding.recipe().sampler)
        check_room(self.denoiser, canvas)
        draws = RowGenerator.for_rows(task.seeds, self.model.device)
        found = look(reader, self.denoiser, noise, canvas, draws, task.decoding.end_quantile)
        less = Canvas.from_prompts(ids, found.rooms, pad_id=self.format.pad_id)
        return replace(task, canvas=less, look=found)

    def infilling(self, texts: Sequence[str], *, seeds: Sequence[int], decoding: Decoding) -> Task:
        """Texts with holes."""
        task = self.filling([self.format.template(text) for text in texts], seeds=seeds, decoding=decoding)
        return replace(task, prompts=tuple(texts))

    def filling(
        self,
        rows: Sequence[tuple[Sequence[int], Sequence[bool]]],
        *,
        seeds: Sequence[int],
        decoding: Decoding,
    ) -> Task:
        """As `infilling`, of ids and which of them are holes."""
        for ids, _ in rows:
            check_fits(len(ids), 0, self.longest)
        tokens, holes = zip(*rows, strict=True)
        canvas = Canvas.from_rows(tokens, holes, pad_id=self.format.pad_id)
        prompts = tuple(self.format.decode(ids) for ids in tokens)
        return Task(canvas, decoding, tuple(seeds), prompts, inside=True)

    def revision(
        self,
        draft: str | Draft,
        *,
        noise_rate: float,
        looks: int,
        seed: int,
        options: Mapping[str, Any],
    ) -> Task:
        """A draft, and what in it is to be written anew.

        A model of masks looks `looks` times, hides the tokens that are more probably others, and fills them
        again; one whose noise looks like text takes the draft as such noise. Without a sampler among the
        `options` the first fills where it is surest first, the second changes what it is sure is wrong. A
        draft that the model cannot hold is read in stretches with context on both sides.

        Raises:
            SettingsError: the draft is empty, or a setting is unknown or out of range.
            IncompatibleError: the network sees nothing but what stands before.
        """
        usual = {} if "sampler" in options else USUAL[self.corruption.countable]
        decoding = self.decoding(None, {**usual, **options})
        return revision(
            Draft.cut(draft, self.format, self.longest) if isinstance(draft, str) else draft,
            self.denoiser,
            self.process(decoding.recipe().sampler),
            decoding,
            noise_rate=noise_rate,
            looks=looks,
            seed=seed,
            device=self.model.device,
            banned=self.format.banned(self.vocab_size, learns_end=False),
        )

    def stream(self, task: Task) -> Iterator[Frame]:
        """The frames of a task as they come; nothing of them is kept."""
        canvas, ends = task.canvas.to(self.model.device), self.format.ends if self._may_end(task) else ()
        around = task.prompts if task.inside else None
        frames = denoise(
            self.denoiser,
            self.process(task.decoding.recipe().sampler),
            canvas,
            task.decoding,
            RowGenerator.for_rows(task.seeds, self.model.device),
            banned=self.format.banned(self.vocab_size, learns_end=self._may_end(task)),
            ends=ends,
            classifier=task.classifier,
            prompt=self.format.told(canvas),
            start=task.start,
            constraint=self.wording.guard(task.decoding.language, canvas, ends=ends, around=around),
            likely=task.likely,
        )
        first, start = task.look, task.start
        if first is not None:
            return counted_behind(frames, first.calls, first.tokens, first.seconds)
        if start is not None and start.read is not None:
            return counted_behind(frames, start.calls, start.read.tolist(), start.seconds)
        return frames

    def results(self, task: Task, frames: list[Frame]) -> list[Generation]:
        """The texts of a finished task."""
        if task.draft is not None:
            return [revised(task, task.draft, frames)]
        return finished(task, frames, self.format)

    def _may_end(self, task: Task) -> bool:
        """A hole inside a text is no place to end it."""
        return self.settings.learns_end and not task.inside

    def process(self, sampler: Sampler) -> Corruption:
        """The training's noise, or the masks in it, if any, for samplers that write masks alone."""
        noise = self.corruption
        if noise.masks_only or noise.mask_share == 0.0 or sampler.any_noise:
            return noise
        return Absorbing(self.format.mask_id, self.corruption.schedule)


def _check_length(length: object) -> None:
    if length is not None and length != AUTO and not isinstance(length, int):
        raise SettingsError(f"length is {length!r}; give a whole number of new tokens, or auto.")


def load(
    name: str = "starter",
    *,
    device: str = DEVICES[0],
    dtype: str = "auto",
    compile: bool = False,
    trust_remote_code: bool = False,
) -> DiffusionLM:
    """Load `starter` (the bundled model), a model folder or a Hub id.

    `dtype` is how the weights are held: as they were saved (auto), float32, bfloat16, float16, or int8, which
    is several times faster on a CPU and a little less exact. With `compile` the layers are compiled at the
    first call, which takes a while, and is meant for a GPU and many texts of one shape; what is read with a
    memory (see `Decoding.cache`) is read as it would be without. With `trust_remote_code` a network that
    transformers does not know runs by the code beside its weights, which can do all that you can.

    Raises:
        CheckpointError, IncompatibleError: see `checkpoint.load_checkpoint` and `check_compiler`.
        SettingsError: no such device, or int8 on another device than a CPU, or compiled.
        UnknownNameError: no such dtype.
    """
    place, numbers = choose_device(device), DTYPES[dtype]
    if numbers.after is not None and place != torch.device("cpu"):
        raise SettingsError(f"dtype {dtype} is for CPUs; choose another for {place.type}, or --device cpu.")
    if compile:
        if numbers.after is not None:
            raise SettingsError(
                f"dtype {dtype} has kernels that torch.compile cannot read; leave one of them out."
            )
        check_compiler(place)
    checkpoint = load_checkpoint(name, dtype=numbers.loaded, trust_remote_code=trust_remote_code)
    if checkpoint.model.dtype == torch.bfloat16 and emulates_bf16(place):
        logger.warning("this device emulates bfloat16, which is many times slower than dtype float32")
    if numbers.after is not None:
        numbers.after(checkpoint.model)
    lm = DiffusionLM(checkpoint, name=name, device=place)
    if compile:
        compile_for_generation(lm.model)
    return lm
