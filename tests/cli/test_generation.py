"""`textdiffusion evaluate generation` on small networks, and what it refuses."""

import json
from pathlib import Path

import pytest
from lengths.known import small_model, tokenizer

from textdiffusion.checkpoint import Checkpoint, save_checkpoint
from textdiffusion.evaluation.quality import METRICS

from .conftest import Run

WORDS = ["evaluate", "generation"]
WAYS = ["--samplers", "random", "confidence", "--steps", "2", "8"]
TEXTS = [
    f"In the year {number} the fox met {number + 3} bears and read all of his {number * 7} books to them."
    for number in range(12)
]
OWN = '''"""The share of letters."""
from textdiffusion.evaluation.quality import METRICS, Metric


def letters(texts, material):
    return [sum(map(str.isalpha, text)) / max(1, len(text)) for text in texts.texts]


METRICS.register("letters", Metric(letters, "share of letters"))
'''


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of splits."""
    folder = tmp_path_factory.mktemp("years")
    (folder / "test.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    other = [f"{number} ships sailed over the sea, and read all of his books." for number in range(20)]
    (folder / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in other))
    return folder


def few(model: str, data: Path) -> list[str]:
    return [*WORDS, "--model", model, "--data", str(data), "--limit", "6", "--length", "10", "--batch", "3"]


def test_human_text_comes_first_and_then_each_way(run: Run, model: str, data: Path) -> None:
    shown = run(
        *few(model, data), *WAYS, "--given", "3", "--scorer", model, "--scorer-samples", "2", "--json"
    )
    human, *ways = shown.objects
    assert shown.code == 0
    names = ["random, 2 steps", "random, 8 steps", "confidence, 2 steps", "confidence, 8 steps"]
    assert [human["way"], *(row["way"] for row in ways)] == ["human", *names]
    measured = {name.replace("-", "_") for name, metric in METRICS.items() if not metric.by_name}
    for row in (human, *ways):
        assert measured <= set(row) and row["texts"] == 6 and row["tokens"] == 10.0
        assert row["perplexity_low"] < row["perplexity"] < row["perplexity_high"]
        assert (row["scorer_exact"], row["same_tokenizer"], row["quality"]) == (False, True, "perplexity")
    assert human["copied"] is None and human["longest_copy"] == 0.0  # ten tokens are less than eight words
    assert "nfe" not in human
    assert [row["nfe"] for row in ways] == [2.0, 8.0, 2.0, 8.0]
    assert all(row["rounds"] == 2 and row["fastest"] <= row["seconds"] <= row["slowest"] for row in ways)
    assert all(row["temperature"] is None and row["settings"] == {} for row in ways)
    assert any(row["best_by_calls"] for row in ways if "perplexity" not in row["doubtful"])
    assert "6 held-out texts, and 6 to compare with" in shown.err and "a bound" in shown.err


def test_perplexity_alone_is_called_doubtful(run: Run, model: str, data: Path) -> None:
    shown = run(*few(model, data), "--scorer", model, "--scorer-samples", "1", "--metrics", "perplexity")
    assert "nothing that would show it is measured: add token-entropy" in shown.err
    assert "the scorer is the model itself" in shown.err


def test_the_same_seed_gives_the_same_texts(run: Run, model: str, data: Path, tmp_path: Path) -> None:
    words = [*few(model, data), "--samplers", "random", "--save"]
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert run(*words, tmp_path / f"{name}.json", "--seed", seed).code == 0
    a, b, c = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "abc")
    assert a["texts"] == b["texts"] and a["texts"]["random"] != c["texts"]["random"]
    assert len(a["texts"]["human"]) == 6 and [row["way"] for row in a["rows"]] == ["human", "random"]
    assert all(text["text"] in "".join(TEXTS) for text in a["texts"]["human"])


def test_tables_and_pictures(run: Run, model: str, data: Path, tmp_path: Path) -> None:
    picture = tmp_path / "frontier.png"
    shown = run(*few(model, data), *WAYS, "--batch", "6", "--save", picture, "--save", tmp_path / "rows.json")
    assert shown.code == 0 and picture.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "rows.json").is_file()
    for said in ("human", "confidence, 2", "token-entropy", "distinct-1", "best by"):
        assert said in shown.out
    assert "no --scorer" in shown.err and "a single round" in shown.err


def test_a_metric_of_ones_own(run: Run, model: str, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    words = [*few(model, data), "--metrics-from", file, "--json"]
    try:
        human, row = run(*words, "--metrics", "letters", "tokens").objects
    finally:
        METRICS._entries.pop("letters", None)
    assert human["letters"] > 0.6 and row["way"] == "as saved" and 0.0 <= row["letters"] <= 1.0
    assert "distinct_1" not in row and row["quality"] == "letters"
    file.write_text("1 / 0")
    assert "ZeroDivisionError" in run(*words).error
    assert "no file" in run(*few(model, data), "--metrics-from", tmp_path / "none.py").error


def test_another_tokenizer_scores_the_text(
    run: Run, model: str, tmp_path_factory: pytest.TempPathFactory, data: Path
) -> None:
    lm, folder = small_model(length=200), tmp_path_factory.mktemp("models") / "letters"
    lm.model.config.max_position_embeddings = 200
    save_checkpoint(folder, Checkpoint(lm.model, tokenizer(), lm.settings))
    shown = run(*few(model, data), "--scorer", folder, "--scorer-samples", "1", "--json")
    assert shown.objects[0]["same_tokenizer"] is False and "by its own tokenizer" in shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--length", "300"], "none of 12 documents has 300 tokens"),
        (["--length", "32", "--given", "1"], "but"),
        (["--length", "0"], "length is 0"),
        (["--given", "-1"], "given is -1"),
        (["--metrics", "perplexity"], "name one with --scorer"),
        (["--metrics", "copied", "--train-limit", "0"], "name it with --train-data"),
        (["--metrics", "perplexty"], "Did you mean perplexity"),
        (["--quality", "mauve"], "not among what is measured"),
        (["--samplers", "randm"], "Did you mean random"),
        (["--save", "x.gif"], "must end in"),
        (["--data", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_bad_use_is_one_line(run: Run, model: str, data: Path, words: list[str], said: str) -> None:
    shown = run(*few(model, data), *words)
    assert shown.code != 0 and said in shown.error


def test_a_scorer_without_room_is_refused_before_anything_is_written(
    run: Run, model: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, folder = small_model(), tmp_path / "letters"
    save_checkpoint(folder, Checkpoint(lm.model, tokenizer(), lm.settings))
    monkeypatch.setattr("textdiffusion.cli.evaluate.generation.write_by_turns", None)
    error = run(*few(model, data), "--length", "28", "--scorer", folder).err.splitlines()[-1]
    assert "of the scorer" in error and "which holds 24: name a scorer with more context" in error
