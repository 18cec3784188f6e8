"""From documents to a folder of arrays, in one go or in several."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, SettingsError
from ...settings import to_mapping
from ..working import disk_errors
from .arrays import narrowest
from .encoding import Encode, Encoded, Generated
from .engines import ENGINES
from .folder import TOKENIZER, PreparedFolder, open_prepared
from .kinds import KINDS
from .metadata import VERSION, ArrayMetadata, Counts, Metadata, Vocabulary
from .plan import Pass, Plan
from .raw import RawDocuments, ids_of
from .stream import DocumentStream, chained
from .unfinished import Unfinished, begun

COMMIT_SECONDS = 5.0
"""Between two notes of how far the work is; what came after the last one is done again."""


@dataclass(frozen=True)
class Tokenising:
    """A tokenizer as a preparation needs it, which loads no library of models itself."""

    vocabulary: Vocabulary
    encode: Encode
    """`TextFormat.document`."""
    save: Callable[[Path], object]
    """Writes a copy of the tokenizer into a folder."""


@dataclass(frozen=True)
class Progress:
    """How far one reading of the source is."""

    split: str
    documents: int
    """Read so far."""
    tokens: int
    """Kept so far."""
    share: float | None
    """Of the whole, where that is known."""


def prepare(
    plan: Plan,
    output: Path,
    tokenising: Tokenising,
    *,
    engine: str = "local",
    workers: int = 1,
    resume: bool = False,
    command: str = "",
    watch: Callable[[Progress], None] = lambda progress: None,
) -> PreparedFolder:
    """Turn text into a folder of arrays. The arrays depend on the plan and the tokenizer alone.

    The folder appears under its name when it is whole. Until then it lies beside it, and after a failure, a
    Ctrl-C or a kill, `resume` goes on where the journal stands.

    Raises:
        TextDiffusionError: there is nothing to read or nowhere to write, or they do not fit together.
    """
    vocabulary = tokenising.vocabulary
    KINDS[plan.kind].check(plan.length, vocabulary)
    ENGINES[engine]  # raises where there is no such name
    if workers < 1:
        raise SettingsError(f"workers is {workers}; it must be at least 1.")
    passes = plan.passes()
    for one in passes:
        plan.documents(one.split, vocabulary)  # raises now what would be raised after the first pass
    settings = {**to_mapping(plan), "tokenizer": vocabulary.sha256}
    with begun(output, narrowest(vocabulary.size), settings, resume=resume) as unfinished:
        with disk_errors(output):
            tokenising.save(unfinished.path / TOKENIZER)
        encode = tokenising.encode if plan.dtype is None else ids_of
        work = _Work(plan, vocabulary, unfinished, watch)
        for one in passes[unfinished.journal.passes :]:
            work.read(one, lambda stream: ENGINES[engine](encode, stream, workers))
        _check_train(plan, unfinished.journal.counts)
        unfinished.finish(lambda arrays: _told(plan, passes, vocabulary, arrays, command))
    return open_prepared(str(output))


def _check_train(plan: Plan, counts: Mapping[str, Counts]) -> None:
    """Refuse a folder without anything to train on."""
    train, read = counts.get("train", Counts()), sum(each.documents_read for each in counts.values())
    if train.tokens:
        return
    if not read and plan.max_tokens is not None:
        raise DataError(
            f"the first document alone has more than the {plan.max_tokens} tokens of --max-tokens, or there "
            f"is no text in {plan.source}; raise it."
        )
    if not read:
        raise DataError(f"{plan.source} gives no text; give a source with at least one document.")
    if train.documents_left_out:
        raise DataError(
            f"none of the {train.documents_left_out} documents of {plan.source} fits into rows of "
            f"{plan.length} tokens; give a larger --length."
        )
    raise DataError(
        f"{plan.source} gives {read} documents and none of them to train on: all went to the test split; "
        "lower --test-share."
    )


def _told(
    plan: Plan,
    passes: tuple[Pass, ...],
    vocabulary: Vocabulary,
    arrays: Mapping[str, ArrayMetadata],
    command: str,
) -> Metadata:
    own = {"source", "kind", "length"}
    options = {name: value for name, value in to_mapping(plan).items() if name not in own}
    return Metadata(
        version=VERSION,
        source=plan.source,
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tokenizer=vocabulary,
        kind=KINDS.canonical(plan.kind),
        length=plan.length,
        dtype=narrowest(vocabulary.size),
        arrays=arrays,
        options={**options, "test_share": passes[0].test_share},
    )


class _Work:
    """The loop over documents, with what it carries along."""

    def __init__(
        self, plan: Plan, vocabulary: Vocabulary, unfinished: Unfinished, watch: Callable[[Progress], None]
    ) -> None:
        self.plan, self.vocabulary, self.unfinished, self.watch = plan, vocabulary, unfinished, watch
        self.journal = unfinished.journal
        self.specials = [i for i in (vocabulary.begin_id, vocabulary.end_id) if i is not None]

    def read(self, one: Pass, engine: Callable[[DocumentStream], Generated]) -> None:
        """Read the source, or one of its splits, from where the journal stands to the end or a limit."""
        documents = self.plan.documents(one.split, self.vocabulary)
        goal = len(documents) if isinstance(documents, RawDocuments) else None
        at = self.journal
        shuffle = self.plan.shuffle_buffer, self.plan.seed
        stream = DocumentStream(documents, *shuffle, passed=at.documents, digest=at.digest)
        try:
            with closing(engine(stream)) as batches:
                self._lay_all(one, batches, goal)
        except BaseException:
            with suppress(DataError):  # what went wrong first is told
                self.unfinished.commit(self.journal)
            raise
        self.journal = replace(self.journal, passes=at.passes + 1, documents=0, digest="")
        self.unfinished.commit(self.journal)

    def _lay_all(self, one: Pass, batches: Generated, goal: int | None) -> None:
        noted = time.monotonic()
        for batch in batches:
            more = self._lay(one, batch)
            if time.monotonic() - noted >= COMMIT_SECONDS:
                self.unfinished.commit(self.journal)
                noted = time.monotonic()
            self.watch(self._progress(one, goal))
            if not more:
                return

    def _lay(self, one: Pass, batch: Encoded) -> bool:
        """Append a batch; False if a limit is reached."""
        kind, plan, vocabulary = KINDS[self.plan.kind], self.plan, self.vocabulary
        _check_ids(batch.ids, vocabulary)
        is_text = ~np.isin(batch.ids, self.specials)
        texts = np.concatenate([[0], np.cumsum(is_text)])
        counts, laid = dict(self.journal.counts), defaultdict[str, list[NDArray[np.uint32]]](list)
        documents, digest, more, end = self.journal.documents, self.journal.digest, True, 0
        for length, key in zip(batch.lengths, batch.keys, strict=True):
            start, end = end, end + length
            placed = kind.laid(batch.ids[start:end], plan.length, vocabulary)
            if not self._room(one, counts, 0 if placed is None else len(placed)):
                more = False
                break
            split = one.target(key)
            found = Counts(1, documents_left_out=1)
            if placed is not None:
                laid[split].append(placed)
                text = int(texts[end] - texts[start])
                found = Counts(1, 1, 0, len(placed), text, int(placed.max(initial=0)))
            counts[split] = counts.get(split, Counts()).plus(found)
            documents, digest = documents + 1, chained(digest, key)
        for split, pieces in laid.items():
            self.unfinished.write(split, np.concatenate(pieces))
        self.journal = replace(self.journal, documents=documents, digest=digest, counts=counts)
        return more

    def _of_pass(self, one: Pass, counts: Mapping[str, Counts]) -> Counts:
        """What this reading has made so far: all its documents, wherever they were dealt."""
        mine = counts.get(one.split, Counts())
        return mine.plus(counts.get("test", Counts())) if one.test_share else mine

    def _room(self, one: Pass, counts: Mapping[str, Counts], tokens: int) -> bool:
        """Whether the limits let a further document in that takes so many tokens."""
        plan = self.plan
        if plan.max_documents is None and plan.max_tokens is None:
            return True
        sofar = self._of_pass(one, counts)
        if plan.max_documents is not None and sofar.documents_kept >= plan.max_documents:
            return False
        return plan.max_tokens is None or sofar.tokens + tokens <= plan.max_tokens

    def _progress(self, one: Pass, goal: int | None) -> Progress:
        sofar, plan = self._of_pass(one, self.journal.counts), self.plan
        shares = [
            done / whole
            for done, whole in (
                (sofar.documents_kept, plan.max_documents),
                (sofar.tokens, plan.max_tokens),
                (sofar.tokens, goal),
            )
            if whole
        ]
        share = min(1.0, max(shares)) if shares else None
        return Progress(one.split, sofar.documents_read, sofar.tokens, share)


def _check_ids(ids: NDArray[np.uint32], vocabulary: Vocabulary) -> None:
    largest = int(ids.max()) if len(ids) else 0
    if largest >= vocabulary.size:
        raise DataError(
            f"the tokenizer {vocabulary.name} gives id {largest}, but says that it has {vocabulary.size} "
            "tokens; save the tokenizer again."
        )
