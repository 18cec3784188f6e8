"""What fills a row behind the end of its text: learnt, annealed by the optimiser step; and ends alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

import textdiffusion as td
from textdiffusion.errors import SettingsError, UnknownNameError
from textdiffusion.tokens import TextFormat
from textdiffusion.training.collate import FILLERS, IGNORED, CanvasCollator
from textdiffusion.training.filling import hide_fillers, is_end_step, shown_share
from textdiffusion.training.run import _arguments
from textdiffusion.training.tokenizer import train_tokenizer

from .conftest import Recipe
from .test_trainer import gradient, make_trainer, micro_batches

Run = Callable[..., str]
LENGTH = 24
FILLED: dict[str, Any] = {"after_end": "pad", "arrange": "truncated", "length": LENGTH}
TOKENIZER = train_tokenizer(["the cat sat on the mat"], 280, longest=16)
PAD, END = TOKENIZER.pad_token_id, TOKENIZER.eos_token_id


@pytest.fixture
def recipe(recipe: Recipe, tmp_path: Path, texts: list[str]) -> Recipe:
    """As for other trainings, with short texts of which each is a document."""
    lines = tmp_path / "texts.jsonl"
    lines.write_text("\n".join(json.dumps({"text": text[:20]}) for text in texts), encoding="utf-8")
    return lambda output="model", **changes: recipe(output, **{"data": str(lines), **changes})


@pytest.fixture
def rows(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[dict[str, list[int]]]:
    """Rows of unequal length, with their ends."""
    return [{"input_ids": ids} for ids in TextFormat.of(tokenizer).document([text[:20] for text in texts])]


def collate(after_end: str, **changes: Any) -> CanvasCollator:
    return CanvasCollator(TextFormat.of(TOKENIZER, after_end), **{"fill_to": 12, **changes})


def some_rows(sizes: list[int]) -> list[dict[str, list[int]]]:
    return [{"input_ids": [*range(10, 10 + size), END]} for size in sizes]


# -- rows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after_end", "filler"), [("pad", PAD), ("end", END)])
@given(sizes=st.lists(st.integers(1, 11), min_size=1, max_size=5), prefix=st.integers(0, 9))
def test_rows_are_filled_up_and_the_fillers_are_text(
    after_end: str, filler: int, sizes: list[int], prefix: int
) -> None:
    batch = collate(after_end, prefix_length=prefix)(some_rows(sizes))
    assert batch["input_ids"].shape == (len(sizes), 12)
    assert bool((batch["attention_mask"] == 1).all())
    for row, size in enumerate(sizes):
        behind = slice(size + 1, None)
        assert set(batch["input_ids"][row, behind].tolist()) <= {filler}
        assert torch.equal(batch["labels"][row, behind], batch["input_ids"][row, behind])
        assert batch[FILLERS][row].tolist() == [False] * (size + 1) + [True] * (11 - size)
        learnt = batch["labels"][row, : size + 1] != IGNORED
        assert learnt.tolist() == [place >= prefix for place in range(size + 1)]


def test_nothing_is_filled_in_unless_it_is_asked_for() -> None:
    batch = collate("")(some_rows([3, 5]))
    assert FILLERS not in batch and batch["input_ids"].shape == (2, 6)


@given(sizes=st.lists(st.integers(1, 11), min_size=1, max_size=5), share=st.floats(0.0, 1.0))
def test_the_share_says_how_much_is_left(sizes: list[int], share: float) -> None:
    batch = collate("pad")(some_rows(sizes))
    whole = {name: part.clone() for name, part in batch.items()}
    hide_fillers(batch, share)
    assert FILLERS not in batch
    width = batch["input_ids"].shape[1]
    for row, size in enumerate(sizes):
        text, there = size + 1, 11 - size
        left = there if share == 1.0 else min(there, int(share / (1.0 - share) * text + 1e-6))
        seen = batch["attention_mask"][row] == 1
        assert seen.tolist() == [place < text + left for place in range(width)]
        assert torch.equal(batch["labels"][row] != IGNORED, seen)
        assert torch.equal(batch["input_ids"][row], whole["input_ids"][row, :width])
    assert bool((batch["attention_mask"].sum(1) == width).any()), "no column is empty"


def test_one_half_is_as_many_fillers_as_text() -> None:
    batch = collate("pad", prefix_length=2)(some_rows([4, 8]))
    hide_fillers(batch, 0.5)
    learnt = (batch["labels"] != IGNORED).sum(1).tolist()
    assert learnt == [3 + 3, 7 + 3], "the second row has no more"


def test_a_share_grows_evenly_and_stays() -> None:
    assert [shown_share(step, 0.8, 4) for step in range(6)] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 0.8])
    assert shown_share(0, 0.7, 0) == 0.7


@given(st.floats(0.0, 0.99), st.integers(1, 300))
def test_steps_on_ends_are_spread_evenly(share: float, steps: int) -> None:
    chosen = [is_end_step(step, share) for step in range(steps)]
    for count in range(1, steps + 1):
        assert abs(sum(chosen[:count]) - count * share) < 1.0 + 1e-5


def test_every_fourth_step() -> None:
    assert [is_end_step(step, 0.25) for step in range(8)] == [False, False, False, True] * 2
    assert not any(is_end_step(step, 0.0) for step in range(100))


# -- the Trainer -----------------------------------------------------------------------------------------


def filling_trainer(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any, **changes: Any) -> Any:
    workers = changes.pop("workers", 0)
    made = recipe(
        **{
            **FILLED,
            "pad_share": 0.5,
            "pad_annealing": 4,
            "random_prefix": True,
            "prefix_length": 3,
            **changes,
        }
    )
    arguments = _arguments(made)
    arguments.dataloader_num_workers = workers
    text_format = TextFormat.of(tokenizer, made.after_end)
    return make_trainer(
        made,
        tokenizer,
        rows,
        args=arguments,
        data_collator=CanvasCollator(text_format, 0, True, fill_to=made.length),
        ends=text_format.ends,
    )


def shown(trainer: Any, step: int, count: int) -> list[tuple[list[int], int]]:
    """The seen tokens of each row of a step, and how many of them are learnt."""
    trainer.state.global_step = step
    samples, _ = micro_batches(trainer, count)
    found = []
    for sample in samples:
        for ids, mask, labels in zip(
            sample["input_ids"], sample["attention_mask"], sample["labels"], strict=True
        ):
            found.append((ids[mask == 1].tolist(), int((labels != IGNORED).sum())))
    return found


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_optimiser_step_alone_decides_what_is_shown(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any
) -> None:
    """Neither micro-batches nor loader workers, which read ahead, nor a measurement in between."""
    whole = filling_trainer(recipe, tokenizer, rows, batch_size=8, accumulation=1)
    parted = filling_trainer(recipe, tokenizer, rows, batch_size=4, accumulation=2)
    workers = filling_trainer(recipe, tokenizer, rows, batch_size=4, accumulation=2, workers=2)
    counts = []
    for step in range(6):
        one = shown(whole, step, 1)
        parted.evaluate()
        assert one == shown(parted, step, 2) == shown(workers, step, 2)
        counts.append([ids.count(tokenizer.pad_token_id) for ids, _ in one])
        for ids, learnt in one:
            fillers = ids.count(tokenizer.pad_token_id)
            share = shown_share(step, 0.5, 4)
            there = LENGTH - (len(ids) - fillers)
            assert fillers == min(there, int(share / (1.0 - share) * (learnt - fillers) + 1e-6))
    totals = [sum(count) for count in counts]
    assert totals[0] == 0 < totals[2] < totals[4]


@pytest.mark.parametrize("changes", [{}, {"random_room": 0.5}, {"objective": "end-position"}])
def test_gradients_are_those_of_the_whole_batch(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any, changes: dict[str, Any]
) -> None:
    """Though micro-batches are cut to different widths."""
    found = []
    for size, count in ((8, 1), (4, 2), (2, 4)):
        trainer = filling_trainer(recipe, tokenizer, rows, batch_size=size, accumulation=count, **changes)
        trainer.state.global_step = 2
        found.append(gradient(trainer, count))
    for loss, grads in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        for name, grad in grads.items():
            torch.testing.assert_close(grad, found[0][1][name], rtol=1e-4, atol=1e-6)


def test_some_rows_show_a_random_part_of_their_fillers(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any
) -> None:
    """About half of them, in which every number from none to all comes up alike."""
    trainer = filling_trainer(
        recipe,
        tokenizer,
        rows,
        pad_annealing=0,
        pad_share=1.0,
        random_room=0.5,
        batch_size=40,
        accumulation=1,
    )
    whole, parts = 0, []
    for step in range(30):
        for ids, _ in shown(trainer, step, 1):
            fillers = ids.count(tokenizer.pad_token_id)
            there = LENGTH - len(ids) + fillers
            whole += fillers == there
            parts += [fillers / there] if fillers < there else []
    assert 0.5 < whole / (whole + len(parts)) < 0.6, "those that drew all of them too"
    assert abs(sum(parts) / len(parts) - 0.45) < 0.05
    assert min(parts) == 0.0


def test_measuring_shows_the_whole_share_at_any_step(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any
) -> None:
    early, late = (filling_trainer(recipe, tokenizer, rows, pad_annealing=n) for n in (10, 0))
    assert early.evaluate() == late.evaluate()
    full = filling_trainer(recipe, tokenizer, rows, pad_share=1.0)
    assert full.evaluate()["eval_loss"] != early.evaluate()["eval_loss"]


@pytest.mark.parametrize("changes", [{"end_share": 0.5}, {"objective": "end-position"}])
def test_ends_are_asked_for_in_a_whole_room(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, rows: Any, changes: dict[str, Any]
) -> None:
    """Whatever is shown of it otherwise: a canvas that grew with the text would tell its length."""
    trainer = filling_trainer(recipe, tokenizer, rows, **changes)
    for step in range(4):
        ends = "objective" in changes or is_end_step(step, 0.5)
        widths = [len(ids) for ids, _ in shown(trainer, step, 2)]
        assert (widths == [LENGTH] * 8) is ends


def test_end_steps_are_logged_apart(recipe: Recipe, run: Run) -> None:
    made = recipe(**FILLED, steps=8, save_every=8, log_every=4, end_share=0.5, accumulation=1)
    run(made)
    state = json.loads((Path(made.output) / "checkpoints/checkpoint-8/trainer_state.json").read_text())
    reports = [entry for entry in state["log_history"] if "loss" in entry]
    assert len(reports) == 2
    plain = recipe("plain", **FILLED, steps=8, save_every=8, log_every=4, accumulation=1)
    run(plain)
    for entry in reports:
        assert 0.0 < entry["end_loss"] < entry["loss"], "nats of a question are fewer than of a token"


def test_a_resumed_run_goes_on_with_its_share(recipe: Recipe, run: Run, at_step: Any) -> None:
    """Bit for bit, and with the same reports."""
    from .conftest import ctrl_c

    changes = {**FILLED, "steps": 9, "save_every": 9, "log_every": 3, "pad_annealing": 7, "end_share": 0.3}
    run(recipe("through", **changes))
    at_step(4, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run(recipe("broken", **changes))
    run(recipe("broken", **changes), resume=True)
    logs = []
    for name in ("through", "broken"):
        folder = Path(recipe(name).output) / "checkpoints/checkpoint-9"
        history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
        logs.append([{k: entry[k] for k in entry if k in ("loss", "end_loss")} for entry in history])
    assert logs[0] == logs[1]


# -- from recipe to model --------------------------------------------------------------------------------


@pytest.mark.parametrize("after_end", ["pad", "end"])
def test_a_model_remembers_what_it_was_filled_with(recipe: Recipe, run: Run, after_end: str) -> None:
    made = recipe(**{**FILLED, "after_end": after_end}, steps=2, save_every=2)
    run(made)
    lm = td.load(made.output, device="cpu")
    assert lm.settings.after_end == after_end
    filler = {"pad": lm.format.pad_id, "end": lm.format.end_id}[after_end]
    assert lm.format.filler_id == filler
    assert lm.generate("the", length="auto").predicted_length in range(1, LENGTH)


def test_padding_gets_an_id_of_its_own(recipe: Recipe, run: Run, tmp_path: Path, bert: Path) -> None:
    """Where the tokenizer has none, or one that is the end as well."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder = tmp_path / "shared"
    tokenizer = AutoTokenizer.from_pretrained(bert)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    network = AutoModelForMaskedLM.from_pretrained(bert)
    network.save_pretrained(folder)
    made = recipe(model=str(folder), **FILLED, steps=2, save_every=2, network={})
    run(made)
    lm = td.load(made.output, device="cpu")
    assert lm.format.filler_id not in (lm.format.end_id, lm.format.mask_id)
    table = lm.model.get_input_embeddings()
    assert table.weight.shape[0] > lm.format.filler_id
    assert not torch.equal(table.weight[lm.format.filler_id], torch.zeros_like(table.weight[0]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"after_end": "pad"}, "packed.*arrange truncated"),
        ({"after_end": "pad", "arrange": "truncated", "learn_end": False}, "learn_end"),
        ({"pad_share": 0.5}, "pad_share 0.5.*after_end"),
        ({"pad_annealing": 5}, "pad_annealing 5.*after_end"),
        ({**FILLED, "pad_share": 1.5}, "pad_share 1.5"),
        ({**FILLED, "random_room": 1.5}, "random_room 1.5"),
        ({"random_room": 0.5}, "random_room 0.5.*after_end"),
        ({**FILLED, "pad_share": 0.0}, "pad_share 0.0"),
        ({"end_share": 0.5}, "end_share 0.5.*after_end"),
        ({"objective": "end-position"}, "end-position.*after_end"),
        ({**FILLED, "end_share": 1.0}, "end_share 1.0"),
        ({**FILLED, "end_share": 0.5, "objective": "block-nelbo"}, "end_share 0.5.*blocks"),
    ],
)
def test_what_cannot_be_filled_is_refused(recipe: Recipe, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        recipe(**changes)
    assert "\n" not in str(caught.value)


def test_an_unknown_filler_is_refused(recipe: Recipe) -> None:
    with pytest.raises(UnknownNameError, match=r"No filler named 'padding'.*Known: pad, end"):
        recipe(**{**FILLED, "after_end": "padding"})


def test_a_tokenizer_without_an_end_cannot_fill_with_it(recipe: Recipe) -> None:
    bare = train_tokenizer(["the cat"], 270, longest=16)
    bare.eos_token = None
    from textdiffusion.errors import IncompatibleError

    with pytest.raises(IncompatibleError, match="no end of text"):
        TextFormat.of(bare, "end")
    assert replace(TextFormat.of(bare, "pad")).ends == (bare.pad_token_id,)
