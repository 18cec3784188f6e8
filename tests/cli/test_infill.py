"""`textdiffusion evaluate infill` and `poems`: what they write, and what they refuse."""

import hashlib
import json
from pathlib import Path

import pytest
from evaluation.poetry import LINES, POEMS, causal, characters, masked

from textdiffusion.checkpoint import Checkpoint, save_checkpoint

from .conftest import SENTENCES, Run

POETRY = ["evaluate", "poems"]
INFILL = ["evaluate", "infill"]
QUICK = ["--ratios", ".3", ".6", "--draws", "1", "--tokens-per-step", "8", "--reach", "2"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a diffusion model, a GPT-2 of the same characters, and one of other tokens."""
    folder = tmp_path_factory.mktemp("models")
    other = causal(characters("轻轻", "死水"))
    for name, lm in (("diffusion", masked()), ("gpt2", causal()), ("other", other)):
        save_checkpoint(folder / name, Checkpoint(lm.model, lm.format.tokenizer, lm.settings))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Poems to measure on, and others to count."""
    folder = tmp_path_factory.mktemp("poems")
    others = ["".join(reversed(poem)) for poem in POEMS]
    for split, poems in (("test", POEMS), ("train", others)):
        rows = "".join(json.dumps({"title": "", "content": poem}) + "\n" for poem in poems)
        (folder / f"{split}.jsonl").write_text(rows, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def saved(
    models: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str], list[str]]:
    """The folder of one contest, and the words that made it."""
    folder = tmp_path_factory.mktemp("results") / "deeper" / "poems"
    words = ["--model", str(models / "diffusion"), "--baseline", str(models / "gpt2"), "--data", str(data)]
    return folder, [*POETRY, *words, *QUICK], words


def test_a_contest_leaves_its_report(run: Run, saved: tuple[Path, list[str], list[str]]) -> None:
    folder, words, _ = saved
    done = run(*words, "--save", folder)
    assert done.code == 0
    assert "published: sampled accuracy" in done.out and "corrected: argmax accuracy" in done.out
    for name in ("Original : ", "Masked   : ", "Completed: ", "____"):
        assert done.out.count(name) >= 6
    digest = hashlib.sha256((folder / "blanks.jsonl").read_bytes()).hexdigest()
    assert f"SHA-256 {digest}" in done.err and "0 of 3 stand in the 3 training documents" in done.err
    results = json.loads((folder / "results.json").read_text("utf-8"))
    rows = results["results"]
    assert len(rows) == 2 * 2 * 7
    assert {row["protocol"] for row in rows} == {"published", "corrected"}
    assert digest in results["setup"]["blanks"]
    report = (folder / "results.md").read_text("utf-8")
    assert report.count("| n-gram-both |") == 2 * 3 and digest in report
    assert "*DiffusionBert with Prefix, 2025* | 41.44 | 20.21 |" in report
    assert LINES[0] in report + done.out
    assert (folder / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_log_files_are_as_published(run: Run, saved: tuple[Path, list[str], list[str]]) -> None:
    folder, *_ = saved
    rows = json.loads((folder / "results.json").read_text("utf-8"))["results"]
    (row,) = [
        row
        for row in rows
        if (row["protocol"], row["ratio"], row["solver"]) == ("published", 0.3, "n-gram-both")
    ]
    (path,) = (folder / "experiment").glob("n-gram-both_mask0.30_????????-??????.txt")
    assert path.read_text("utf-8") == (
        "Model: n-gram-both\n"
        "Device: cpu\n"
        "Mask ratio: 0.30\n"
        f"Total masked tokens: {row['tokens']}\n"
        f"Token accuracy: {100 * row['sampled']:.2f}%\n"
    )
    assert len(list((folder / "experiment").iterdir())) == len(rows)


def test_others_are_asked_the_same(run: Run, saved: tuple[Path, list[str], list[str]], models: Path) -> None:
    """A model with other tokens fills the very blanks, and says how it read them."""
    folder, _, words = saved
    again = ["--blanks", folder / "blanks.jsonl", "--solvers", "autoregressive", "--json", *QUICK]
    kept = [
        line for line in (folder / "blanks.jsonl").read_text("utf-8").splitlines() if '"corrected"' in line
    ]
    digest = hashlib.sha256("".join(line + "\n" for line in kept).encode()).hexdigest()
    done = run(*INFILL, *words, *again, "--model", models / "other", "--seed", "7")
    assert done.code == 0 and digest in done.err
    assert "tokenizers: they differ" in done.err
    assert [(row["ratio"], row["torn"] > 0) for row in done.objects] == [
        (0.3, True),
        (0.3, False),
        (0.6, True),
        (0.6, False),
    ]
    assert len({row["blanks"] for row in done.objects if row["ratio"] == 0.3}) == 1


def test_texts_of_given_blanks_must_be_new_too(
    run: Run, saved: tuple[Path, list[str], list[str]], tmp_path: Path
) -> None:
    folder, _, words = saved
    (tmp_path / "test.jsonl").write_text(json.dumps({"content": "一首别的诗"}), encoding="utf-8")
    (tmp_path / "train.jsonl").write_text(json.dumps({"content": POEMS[0]}), encoding="utf-8")
    refused = run(*INFILL, *words, "--data", tmp_path, "--blanks", folder / "blanks.jsonl")
    assert refused.code == 1 and "1 of 4 texts" in refused.error


@pytest.mark.parametrize("kind", ["model", "blocks"])
def test_any_text(kind: str, run: Run, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    model = request.getfixturevalue(kind)
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in SENTENCES))
    done = run(*INFILL, "--model", model, "--data", tmp_path / "text.jsonl", *QUICK, "--json")
    assert done.code == 0, done.err
    assert "not compared with any training text" in done.err
    assert [(row["solver"], row["documents"]) for row in done.objects] == [("diffusion", 3)] * 2
    assert all(row["torn"] == 0 for row in done.objects)


def test_overlap_is_refused_unless_allowed(
    run: Run, saved: tuple[Path, list[str], list[str]], data: Path, tmp_path: Path
) -> None:
    _, words, _ = saved
    near = LINES[0].replace("云彩", "云朵")  # other line ends, and another character
    rows = [json.dumps({"content": text}) for text in ("一首别的诗", near, POEMS[1])]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    other = [*words, "--train-data", tmp_path / "train.jsonl"]
    refused = run(*other)
    assert refused.code == 1 and "2 of 3 texts" in refused.error and "--allow-overlap" in refused.error
    shown = run(*other, "--allow-overlap", "--protocols", "published", "--solvers", "constant", "--json")
    assert shown.code == 0 and "2 of 3 stand in" in shown.err and len(shown.objects) == 2


def test_short_texts(run: Run, models: Path, tmp_path: Path) -> None:
    words = [*POETRY, "--model", models / "diffusion", "--data", tmp_path / "test.jsonl", *QUICK]
    rows = [json.dumps({"content": text}) for text in ["我", " ", *POEMS]]
    (tmp_path / "test.jsonl").write_text("\n".join(rows))
    done = run(*words, "--protocols", "corrected", "--json")
    assert done.code == 0 and "1 were left out" in done.err
    assert {row["documents"] for row in done.objects} == {3}
    (tmp_path / "test.jsonl").write_text(json.dumps({"content": "我"}))
    for protocol in ("corrected", "published"):
        refused = run(*words, "--protocols", protocol, "--ratios", ".3")
        assert refused.code == 1 and refused.err.splitlines()[-1].startswith("error: no")
    (tmp_path / "test.jsonl").write_text(json.dumps({"content": ""}))
    assert "holds no text" in run(*words).error


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--data"),
        (["--data", "x", "--solvers", "unigramm"], "Did you mean unigram"),
        (["--data", "x", "--solvers"], "no solvers"),
        (["--data", "x", "--protocols", "correct"], "Did you mean corrected"),
        (["--data", "x", "--ratios", "1.5"], "between 0 and 1"),
        (["--data", "x", "--unit", "tokn"], "Did you mean token"),
        (["--data", "x", "--clean", "poemlines"], "Did you mean poem-lines"),
        (["--data", "x", "--draws", "-1"], "draws is -1"),
        (["--data", "x", "--candidates", "0"], "candidates is 0"),
        (["--data", "x", "--sampler", "ancestrl"], "Did you mean ancestral"),
    ],
)
def test_wrong_words(run: Run, flags: list[str], said: str) -> None:
    for command in (POETRY, INFILL):
        refused = run(*command, *flags)
        assert refused.code == 2 and said in refused.error


def test_nobody_is_left(run: Run, models: Path, data: Path) -> None:
    words = ["--model", models / "gpt2", "--data", data / "test.jsonl", "--solvers", "diffusion"]
    refused = run(*POETRY, *words)
    assert refused.code == 2 and "nobody is left" in refused.err


def test_defaults_of_poems_are_shown(run: Run) -> None:
    shown = " ".join(run(*POETRY, "--help").out.split())
    assert "(default: ('published', 'corrected'))" in shown and "(default: 42)" in shown
    shown = " ".join(run(*INFILL, "--help").out.split())
    assert "(default: ('corrected',))" in shown and "(default: 200)" in shown
