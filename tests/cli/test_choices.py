"""`textdiffusion evaluate choices`: one command for each task, on files in their published form."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from textdiffusion.errors import SettingsError
from textdiffusion.evaluation.choices import measures

from .conftest import Run

FILES: dict[str, list[dict[str, Any]]] = {
    "lambada": [{"context": "The fox read all day", "continuation": "long"}, {"text": "Once upon a time"}],
    "hellaswag": [
        {
            "activity_label": "Fox",
            "ctx_a": "It read.",
            "ctx_b": "it",
            "endings": ["slept", "ran"],
            "label": "0",
        }
    ],
    "piqa": [{"goal": "read", "sol1": "a book", "sol2": "a fox", "label": 0}],
    "siqa": [
        {
            "context": "A fox.",
            "question": "Why?",
            "answerA": "a",
            "answerB": "b",
            "answerC": "c",
            "label": "1",
        }
    ],
    "winogrande": [{"sentence": "The _ read.", "option1": "fox", "option2": "day", "answer": "1"}],
    "arc-easy": [{"query": "Who?", "choices": ["fox", "day"], "gold": 0}],
    "triviaqa": [{"question": "Who?", "answer": {"value": "fox", "aliases": []}}],
    "squad": [{"context": "A fox.", "question": "Who?", "answers": {"text": ["fox"]}}],
    "previous-sentence": [
        {"text": f"A fox {word}. It slept {word}."} for word in ("ran", "sat", "hid", "ate")
    ],
    "next-line": [{"text": f"A fox {word}\nIt slept {word}"} for word in ("ran", "sat", "hid", "ate")],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for each task, one of them packed."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, records in FILES.items():
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "arc-easy.jsonl.xz").write_bytes(lzma.compress((folder / "arc-easy.jsonl").read_bytes()))
    return folder


@pytest.mark.parametrize("task", FILES)
def test_every_task_is_one_command(run: Run, model: str, data: Path, task: str) -> None:
    words = ["--task", task, "--data", str(data / f"{task}.jsonl"), "--length", "4", "--samples", "2"]
    shown = run("evaluate", "choices", "--model", model, *words, "--json")
    assert shown.code == 0, shown.err
    (row,) = shown.objects
    assert row["task"] == task and row["items"] == len(FILES[task]) and row["left_out"] == 0
    (name,) = {"acc", "f1"} & set(row)
    assert 0.0 <= row[name] <= 1.0
    assert {f"{name}_error", f"{name}_low", f"{name}_high"} <= set(row)
    written = {"nfe", "steps", "steps_per_second"} <= set(row)
    assert written is (name == "f1") and written is not ("method" in row)


def test_a_baseline_is_asked_the_same(run: Run, model: str, blocks: str, data: Path, tmp_path: Path) -> None:
    words = [
        "evaluate",
        "choices",
        "--task",
        "previous-sentence",
        "--data",
        str(data / "previous-sentence.jsonl"),
    ]
    words += ["--model", model, "--baseline", blocks, "--mutual-information"]
    shown = run(*words, "--json", "--save", str(tmp_path / "rows.jsonl"))
    assert shown.code == 0, shown.err
    one, two, less = shown.objects
    assert (one["model"], two["model"]) == (model, blocks)
    assert less["acc"] == pytest.approx(one["acc"] - two["acc"])
    assert "acc_mutual_info" in one and one["chance"] == 0.25
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()]
    assert [row["model"] for row in rows] == [model] * 4 + [blocks] * 4
    assert rows[0]["suffix"].startswith(" It slept") and len(rows[0]["nats"]) == 4
    assert run(*words, "--json").objects[0]["acc"] == one["acc"], "the same seed, the same number"
    table = run(*words)
    assert "acc_norm" in table.out and "4 items of" in table.out and "exact False" in table.out


def test_packed_files_and_limits(run: Run, model: str, data: Path) -> None:
    words = ["evaluate", "choices", "--model", model, "--json"]
    (row,) = run(*words, "--task", "arc_easy", "--data", str(data / "arc-easy.jsonl.xz")).objects
    assert row["items"] == 1
    (row,) = run(*words, "--task", "lambada", "--data", str(data / "lambada.jsonl"), "--limit", "1").objects
    assert row["items"] == 1 and row["acc_error"] is None and row["split"] is None
    (row,) = run(
        *words, "--task", "lambada", "--data", str(data / "lambada.jsonl"), "--method", "duel"
    ).objects
    assert row["exact"] is True and row["method"] == "duel"


def test_the_text_is_that_of_generate(run: Run, model: str, data: Path, tmp_path: Path) -> None:
    """One decode path: what is measured is what `generate` shows."""
    written = ["--model", model, "--length", "8", "--seed", "5", "--sampler", "confidence", "--top-k", "20"]
    saved = tmp_path / "rows.jsonl"
    words = ["--task", "triviaqa", "--data", str(data / "triviaqa.jsonl"), "--save", str(saved)]
    assert run("evaluate", "choices", *words, *written).code == 0
    (row,) = [json.loads(line) for line in saved.read_text("utf-8").splitlines()]
    (shown,) = run("generate", row["prompt"], *written, "--json").objects
    ends = [shown["text"].find(word) for word in ("\n", ".", ",") if word in shown["text"]]
    assert row["answer"] == shown["text"][: min(ends, default=None)]


def test_infills_are_saved_or_the_package_is_named(
    run: Run, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, saved = tmp_path / "stories.jsonl", tmp_path / "infills.jsonl"
    file.write_text(json.dumps({"text": "A fox. It ran. It hid. It slept. It ate."}) + "\n", "utf-8")
    monkeypatch.setattr(measures, "rouge_scorer", lambda: lambda reference, answer: [1.0, 0.5, 0.25])
    words = ["--task", "infilling", "--data", str(file), "--model", model, "--save", str(saved), "--json"]
    (row,) = run("evaluate", "choices", *words).objects
    assert (row["rouge1"], row["rouge2"], row["rougeL"]) == (1.0, 0.5, 0.25)
    assert row["nfe"] > 0 and row["steps_per_second"] > 0
    (infill,) = [json.loads(line) for line in saved.read_text("utf-8").splitlines()]
    assert infill["prefix"] == "A fox. It ran." and infill["suffix"] == " It slept. It ate."
    assert infill["truth"] == "It hid." and isinstance(infill["infill"], str)

    def missing() -> None:
        raise SettingsError("ROUGE needs an extra package: pip install 'textdiffusion[evaluation]'.")

    monkeypatch.setattr(measures, "rouge_scorer", missing)
    shown = run("evaluate", "choices", *words)
    assert shown.code == 2 and "textdiffusion[evaluation]" in shown.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--task with one of lambada"),
        (["--task", "lambda"], "Did you mean lambada"),
        (["--task", "infilling"], "give --data FILE"),
        (["--task", "piqa", "--data", "piqa.jsonl", "--limit", "0"], "limit is 0"),
        (["--task", "piqa", "--data", "piqa.jsonl", "--length", "0"], "length is 0"),
        (["--task", "piqa", "--data", "piqa.jsonl", "--samples", "0"], "samples is 0"),
        (["--task", "piqa", "--data", "piqa.jsonl", "--save", "no/x.jsonl"], "there is no folder no"),
        (["--task", "piqa", "--data", "piqa.jsonl", "--method", "dual"], "Did you mean duel"),
        (["--task", "piqa", "--data", "piqa.jsonl", "--temperature", "-1"], "temperature -1.0"),
        (["--task", "piqa", "--data", "nothing.jsonl"], "No file or folder"),
        (["--task", "siqa", "--data", "piqa.jsonl"], "needs records with context, question"),
        (["--task", "squad", "--data", "squad.jsonl", "--length", "32"], "leave no room for a prompt"),
    ],
)
def test_questions_that_cannot_be_asked(
    run: Run, model: str, data: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    monkeypatch.setattr(measures, "rouge_scorer", lambda: None)
    shown = run("evaluate", "choices", "--model", model, *words)
    assert shown.code in (1, 2)
    assert said in shown.error
