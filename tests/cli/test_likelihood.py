"""`textdiffusion evaluate likelihood` on small networks, and what it refuses."""

import gzip
import json
import math
from pathlib import Path

import pytest
import torch
from lengths.known import small_model, tokenizer

import textdiffusion as td
from textdiffusion.checkpoint import Checkpoint, save_checkpoint
from textdiffusion.evaluation import Bound, Passage, score

from .conftest import SENTENCES, Run

WORDS = ["evaluate", "likelihood"]
MORE = [
    f"In the year {number} the fox met {number + 3} bears and read to all of them." for number in range(9)
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of splits, one packed."""
    folder = tmp_path_factory.mktemp("stories")
    with gzip.open(folder / "test.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in [*SENTENCES, "", *MORE])
    other = [
        f"{number} ships sailed over the sea, and {number} of them came home again." for number in range(20)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in other))
    return folder


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with another tokenizer."""
    lm, folder = small_model(), tmp_path_factory.mktemp("models") / "letters"
    save_checkpoint(folder, Checkpoint(lm.model, tokenizer(), lm.settings))
    return str(folder)


def test_what_is_told_of_a_model(run: Run, model: str, data: Path) -> None:
    shown = run(*WORDS, "--model", model, "--data", data, "--samples", "4", "--json")
    (row,) = shown.objects
    assert shown.code == 0
    assert (row["documents"], row["empty"], row["single"], row["overlap"]) == (12, 1, 0, 0)
    assert row["bytes"] == sum(len(text.encode()) for text in [*SENTENCES, *MORE])
    assert row["perplexity"] == pytest.approx(math.exp(row["nats_per_token"]))
    bits = row["nats_per_token"] * row["tokens"] / math.log(2) / row["bytes"]
    assert row["bits_per_byte"] == pytest.approx(bits)
    for name in ("nats_per_token", "perplexity", "bits_per_byte"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
        assert row[f"{name}_error"] > 0 and row[f"{name}_sampling_error"] > 0
    assert row["standard_error"] == row["nats_per_token_error"]
    assert (row["exact"], row["samples"], row["method"], row["ends_scored"]) == (False, 4, "bound", False)
    assert "0 of 12 stand in the 20 training documents" in shown.err


def test_it_is_the_score_of_each_text(run: Run, model: str, tmp_path: Path) -> None:
    """The whole path from the file to nats per token, by hand."""
    lm = td.load(model, device="cpu")
    (tmp_path / "one.txt").write_text(SENTENCES[0], encoding="utf-8")
    (row,) = run(*WORDS, "--model", model, "--data", tmp_path / "one.txt", "--seed", "3", "--json").objects
    (ids,) = lm.format.document([SENTENCES[0]])
    passage = Passage(ids, [False, *[True] * (len(ids) - 2), False], 3 << 40)
    expected = float(score(lm, [passage], Bound(8)).mean) / (len(ids) - 2)
    assert row["nats_per_token"] == pytest.approx(expected)
    assert (row["standard_error"], row["nats_per_token_low"], row["tokens"]) == (None, None, len(ids) - 2)
    assert row["nats_per_token_sampling_error"] > 0


def test_limit_and_seed_choose_the_texts(run: Run, model: str, data: Path) -> None:
    words = [*WORDS, "--model", model, "--data", data, "--limit", "3", "--samples", "2", "--json"]
    one, again, other = (run(*words, "--seed", seed).objects[0] for seed in (1, 1, 2))
    assert one == again
    assert one["documents"] == other["documents"] == 3
    assert one["nats_per_token"] != other["nats_per_token"]


def test_long_texts_are_cut_and_smaller_batches_change_nothing(run: Run, model: str, data: Path) -> None:
    words = [*WORDS, "--model", model, "--data", data, "--samples", "2", "--json"]
    whole, cut, small = (
        run(*words, *more).objects[0]
        for more in ([], ["--context", "16", "--stride", "6"], ["--batch-tokens", "40"])
    )
    assert whole["tokens"] == cut["tokens"] and cut["windows"] > whole["windows"]
    assert (cut["context"], cut["stride"]) == (16, 6)
    assert small["nats_per_token"] == pytest.approx(whole["nats_per_token"], rel=1e-5)


@pytest.mark.parametrize(
    ("method", "exact"), [("bound-time", False), ("duel", True), ("duel --sampler entropy --steps 2", True)]
)
def test_methods(run: Run, model: str, data: Path, method: str, exact: bool) -> None:
    words = [*WORDS, "--model", model, "--data", data, "--limit", "2", "--method", *method.split(), "--json"]
    (row,) = run(*words).objects
    assert row["exact"] is exact
    assert (row["nats_per_token_sampling_error"] == 0.0) is exact


def test_two_models_of_one_tokenizer(run: Run, model: str, blocks: str, data: Path) -> None:
    words = [*WORDS, "--model", model, "--baseline", blocks, "--data", data, "--samples", "2"]
    one, other, told = run(*words, "--json").objects
    assert told["same_tokenizer"] and (told["model"], told["baseline"]) == (model, blocks)
    difference = one["nats_per_token"] - other["nats_per_token"]
    assert told["nats_per_token_difference"] == pytest.approx(difference)
    assert told["perplexity_ratio"] == pytest.approx(math.exp(difference))
    assert told["bits_per_byte_difference"] == pytest.approx(one["bits_per_byte"] - other["bits_per_byte"])
    (same,) = run(*WORDS, "--model", model, "--baseline", model, "--data", data, "--json").objects[2:]
    assert (same["nats_per_token_difference"], same["nats_per_token_difference_error"]) == (0.0, 0.0)


def test_two_models_of_other_tokenizers_are_compared_by_bytes(
    run: Run, model: str, letters: str, data: Path
) -> None:
    words = [*WORDS, "--model", model, "--baseline", letters, "--data", data, "--samples", "2"]
    *_, told = run(*words, "--json").objects
    assert not told["same_tokenizer"]
    assert "nats_per_token_difference" not in told and "bits_per_byte_difference" in told
    shown = run(*words)
    assert "the tokenizers differ" in shown.err
    assert "does not keep 12 of the texts" in shown.err


def test_a_table_for_people(run: Run, model: str, data: Path) -> None:
    shown = run(*WORDS, "--model", model, "--data", data, "--samples", "2")
    assert "an upper bound, 2 draws a window" in shown.out
    for said in ("nats per token", "perplexity", "bits per byte", "± texts", "± draws"):
        assert said in shown.out
    assert "1 texts with nothing to score were left out" in shown.err
    assert "ends of text given" in shown.err


def test_answers_are_scored_given_their_prompts(run: Run, letters: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"{'a' * n}=", "answer": "b" * n} for n in (1, 2, 4)]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = [*WORDS, "--model", letters, "--data", tmp_path / "test.jsonl", "--answers", "--json"]
    (row,) = run(*words).objects
    assert (row["documents"], row["tokens"], row["bytes"], row["ends_scored"]) == (3, 10, 7, True)


# -- refusals --------------------------------------------------------------------------------------------


def test_text_that_was_trained_on_is_refused(run: Run, model: str, data: Path, tmp_path: Path) -> None:
    seen = [SENTENCES[0].upper(), SENTENCES[2], f"Once more. {MORE[3]} That was all.", "Another story."]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in seen))
    words = [*WORDS, "--model", model, "--data", data, "--train-data", tmp_path / "train.jsonl"]
    shown = run(*words)
    assert shown.code == 1
    assert (
        "3 of 12 texts" in shown.error
        and "(2 word for word, 1 nearly)" in shown.error
        and "--allow-overlap" in shown.error
    )
    allowed = run(*words, "--allow-overlap", "--samples", "2", "--json")
    assert allowed.objects[0]["overlap"] == 3
    unchecked = run(*words, "--train-limit", "0", "--samples", "2", "--json")
    assert unchecked.objects[0]["overlap"] is None and "not compared" in unchecked.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "no text to measure on"),
        ("--data {data} --limit 0", "limit is 0"),
        ("--data {data} --samples 0", "samples is 0"),
        ("--data {data} --method duell", "Did you mean duel"),
        ("--data {data} --method duel --sampler confidence", "no exact likelihood"),
        ("--data {data} --context 1000", "holds 32"),
        ("--data {data} --stride 32", "stride 32"),
        ("--data {data} --batch-tokens 0", "batch_tokens is 0"),
        ("--data {data} --train-limit -1", "train_limit is -1"),
    ],
)
def test_what_cannot_work_is_refused(run: Run, model: str, data: Path, flags: str, said: str) -> None:
    shown = run(*WORDS, "--model", model, *flags.format(data=data).split())
    assert shown.code == 2
    assert said in shown.err.splitlines()[-1]
    assert shown.out == ""


def test_a_full_memory_is_said(
    run: Run, model: str, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*WORDS, "--model", model, "--data", data, "--samples", "2", "--json"]
    (whole,) = run(*words).objects
    nats = Bound.nats

    def small_memory(self, network, corruption, canvas, draws):  # type: ignore[no-untyped-def]
        if len(canvas.tokens) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return nats(self, network, corruption, canvas, draws)

    monkeypatch.setattr(Bound, "nats", small_memory)
    (halved,) = run(*words).objects
    assert halved["nats_per_token"] == pytest.approx(whole["nats_per_token"], rel=1e-5)
    assert "out of memory with 42 texts at once; going on with 21" in caplog.text
