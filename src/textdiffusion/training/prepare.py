"""What a training needs before its first step: a model, a tokenizer, and rows of ids."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from torch.utils.data import Dataset, IterableDataset, Subset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..checkpoint import Checkpoint, load_checkpoint, load_tokenizer
from ..corruptions import Interpolating
from ..data.clean import CleanedDocuments
from ..data.conversations import Conversations
from ..data.formats import Repeats
from ..data.packing import ARRANGEMENTS, TokenRows
from ..data.prepared import PreparedSplit, is_prepared, open_prepared
from ..data.prepared.kinds import ArrayRows
from ..data.sources import available_splits, read_documents
from ..data.streaming import StreamedRows
from ..denoisers.adapt import denoiser_of
from ..denoisers.time import time_embedding
from ..errors import DataError, SettingsError
from ..fillers import add_filler
from ..model_settings import ModelSettings
from ..objectives import NextToken
from ..tokens import TextFormat, ensure_filler, ensure_mask, name_mask
from .answer_rows import AnswerRows, give_template
from .collate import CanvasCollator
from .frequencies import count_tokens
from .network import adapt, new_network, set_up, tell_time
from .prepared_rows import prepared_split, rows_of
from .recipe import TrainingRecipe
from .teacher import check_noise
from .tokenizer import train_tokenizer

_TOKENIZER_TEXTS = 20_000
Source = Iterable[str] | PreparedSplit | Conversations
"""Documents, rows of ids that lie on the disk already, or conversations."""
Table = TokenRows | ArrayRows | AnswerRows


@dataclass(frozen=True)
class Prepared:
    """A model with its rows."""

    checkpoint: Checkpoint
    format: TextFormat
    rows: Dataset[dict[str, list[int]]]
    held_out: Dataset[dict[str, list[int]]]


def prepare(recipe: TrainingRecipe, resume_from: Path | None, console: Console) -> Prepared:
    """Load or make the model and tokenizer, and turn the text into rows.

    Raises:
        TextDiffusionError: the text or the model cannot be read, or do not fit the recipe.
    """
    texts = _documents(recipe, "train")
    checkpoint = _checkpoint(recipe, resume_from, texts, console)
    if recipe.chat:
        give_template(checkpoint.tokenizer, recipe.chat_template)
    text_format = TextFormat.of(checkpoint.tokenizer, recipe.after_end)
    longest = denoiser_of(checkpoint.model).longest
    if longest is not None and recipe.length > longest:
        raise SettingsError(f"length {recipe.length} is more than the {longest} positions of the model.")
    rows, held_out = _rows(recipe, text_format, texts, console)
    if recipe.process(mask_id=0, vocab_size=2).needs_frequencies and checkpoint.frequencies is None:
        collate = CanvasCollator(text_format, learn_end=recipe.learn_end, fill_to=recipe.length)
        counts = count_tokens(rows, collate, checkpoint.model.config.vocab_size)
        checkpoint = replace(checkpoint, frequencies=counts)
    return Prepared(checkpoint, text_format, rows, held_out)


def _documents(recipe: TrainingRecipe, split: str, source: str | None = None) -> Source:
    place = recipe.data if source is None else source
    if is_prepared(place):
        return prepared_split(recipe, place, split)
    repeats = Repeats(recipe.repeat_field, recipe.repeats, recipe.repeat_others)
    trains = split == "train"
    if recipe.chat:
        return Conversations(place, split, repeats if trains else repeats.once())
    documents = read_documents(
        place, split=split, text_field=recipe.text_field, repeats=repeats if trains else None
    )
    return CleanedDocuments(documents, recipe.clean)


def _checkpoint(
    recipe: TrainingRecipe, resume_from: Path | None, texts: Source, console: Console
) -> Checkpoint:
    settings = ModelSettings(
        noise=recipe.noise,
        noise_settings=recipe.noise_settings,
        noise_schedule=recipe.noise_schedule,
        noise_schedule_settings=recipe.noise_schedule_settings,
        length=recipe.length,
        learns_end=recipe.learn_end,
        after_end=recipe.after_end,
        decoding={**_suited(recipe), **recipe.decoding},
    )
    start = str(resume_from) if resume_from is not None else recipe.model
    if start:
        merge = resume_from is None
        loaded = load_checkpoint(start, dtype="float32", mask_id=recipe.mask_token_id, merge=merge)
        as_it_was = loaded.model.config.to_dict()
        if ensure_mask(loaded.model, loaded.tokenizer):
            loaded = replace(loaded, mask_is_new=True)
        if loaded.mask_is_new:
            said = f"the tokenizer had no mask token; added {loaded.tokenizer.mask_token}"
            console.print(said, markup=False, highlight=False)
        if recipe.after_end and ensure_filler(loaded.model, loaded.tokenizer, recipe.after_end):
            said = f"the tokenizer had no padding of its own; added {loaded.tokenizer.pad_token}"
            console.print(said, markup=False, highlight=False)
        check_noise(recipe, loaded.settings)
        tell_time(loaded, recipe)
        set_up(loaded.model, recipe)
        network = adapt(loaded, recipe, as_it_was, resumes=resume_from is not None)
        settings = replace(settings, network=network, time_embedding=_carries_time(loaded.model))
        counts = loaded.frequencies if resume_from is not None else None
        return Checkpoint(loaded.model.train(), loaded.tokenizer, settings, frequencies=counts)
    tokenizer = _tokenizer(recipe, texts, console)
    if recipe.mask_token_id is not None:
        name_mask(tokenizer, recipe.mask_token_id)
    if recipe.after_end:
        add_filler(tokenizer, recipe.after_end)
    made = new_network(recipe, tokenizer)
    return Checkpoint(made, tokenizer, replace(settings, time_embedding=_carries_time(made)))


def _carries_time(network: PreTrainedModel) -> bool:
    return time_embedding(network) is not None


def _suited(recipe: TrainingRecipe) -> dict[str, Any]:
    """The decoding that the training demands: what never saw a mask cannot be sampled from masks.

    A token that noise may strike again should be revised at any time, too, and one that noise strikes sooner
    than others has to be written later.
    """
    if isinstance(recipe.loss(), NextToken):
        return {"sampler": "autoregressive"}
    process = recipe.process(mask_id=0, vocab_size=2)
    revises = isinstance(process, Interpolating) and not process.masks_only
    return {"sampler": "posterior"} if process.mask_share == 0.0 or revises or not process.even else {}


def _tokenizer(recipe: TrainingRecipe, texts: Source, console: Console) -> PreTrainedTokenizerBase:
    if recipe.tokenizer:
        return load_tokenizer(recipe.tokenizer)
    if isinstance(texts, PreparedSplit):
        return load_tokenizer(str(texts.folder.tokenizer))
    console.print(f"training a tokenizer of {recipe.vocab_size} tokens", highlight=False)
    spoken = texts.texts() if isinstance(texts, Conversations) else texts
    sample = islice(iter(spoken), _TOKENIZER_TEXTS)
    return train_tokenizer(sample, recipe.vocab_size, longest=recipe.length)


def _rows(
    recipe: TrainingRecipe, text_format: TextFormat, texts: Source, console: Console
) -> tuple[Dataset[dict[str, list[int]]], Dataset[dict[str, list[int]]]]:
    split = _validation_split(recipe)
    held_out: Dataset[dict[str, list[int]]]
    if recipe.streaming and not isinstance(texts, PreparedSplit | Conversations):
        if split is None:
            raise SettingsError("streaming needs a held-out split: give --validation-data.")

        def rows_of(epoch: int) -> Iterable[dict[str, list[int]]]:
            rows = StreamedRows(
                texts,
                text_format.document,
                ARRANGEMENTS[recipe.arrange],
                recipe.length,
                recipe.seed,
                shuffle_buffer=recipe.shuffle_buffer,
            )
            rows.set_epoch(epoch)
            return rows

        return EndlessRows(rows_of), _first(
            _arranged(recipe, text_format, split, console), recipe.eval_rows, recipe.seed
        )
    table = _arranged(recipe, text_format, texts, console)
    if split is not None:
        held_out = _first(_arranged(recipe, text_format, split, console), recipe.eval_rows, recipe.seed)
        train: Dataset[dict[str, list[int]]] = Subset(table, range(len(table)))  # type: ignore[arg-type]
    else:
        train, held_out = _divide(table, recipe)
    console.print(f"{len(table):,} rows of up to {recipe.length} tokens", highlight=False)
    return train, held_out


def _arranged(recipe: TrainingRecipe, text_format: TextFormat, texts: Source, console: Console) -> Table:
    if isinstance(texts, Conversations):
        return AnswerRows.build(texts, text_format, recipe.length, console)
    if isinstance(texts, PreparedSplit):
        return rows_of(texts, recipe.length, text_format)
    return TokenRows.build(
        texts, text_format.document, arrange=ARRANGEMENTS[recipe.arrange], length=recipe.length
    )


def _validation_split(recipe: TrainingRecipe) -> Source | None:
    if recipe.validation_data:
        return _documents(recipe, "validation", recipe.validation_data)
    if is_prepared(recipe.data):
        return open_prepared(recipe.data).held_out()
    if "validation" in available_splits(recipe.data):
        return _documents(recipe, "validation")
    return None


def _first(table: Table, count: int, seed: int) -> Dataset[dict[str, list[int]]]:
    order = np.random.default_rng(seed).permutation(len(table))[:count]
    return Subset(table, [int(i) for i in order])  # type: ignore[arg-type]


def _divide(
    table: Table, recipe: TrainingRecipe
) -> tuple[Dataset[dict[str, list[int]]], Dataset[dict[str, list[int]]]]:
    order = [int(i) for i in np.random.default_rng(recipe.seed).permutation(len(table))]
    kept = max(1, round(recipe.validation_share * len(order)))
    if kept >= len(order):
        raise DataError(
            f"the text gives {len(order)} rows, too few to hold {kept} back; give more text or shorter rows."
        )
    train, held_out = order[kept:], order[: min(kept, recipe.eval_rows)]
    return Subset(table, train), Subset(table, held_out)  # type: ignore[arg-type]


@dataclass(eq=False)
class EndlessRows(IterableDataset[dict[str, list[int]]]):
    """One epoch of streamed rows after the other as one stream, of which a resumed run skips the start."""

    rows_of: Callable[[int], Iterable[dict[str, list[int]]]]
    """The rows of the epoch of that number."""

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        """Rows without end.

        Raises:
            DataError: an epoch has no rows.
        """
        for epoch in count():
            found = False
            for row in self.rows_of(epoch):
                found = True
                yield row
            if not found:
                raise DataError("the streamed text gives no rows; give some text, or check the tokenizer.")
