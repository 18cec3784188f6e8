"""The real lm-evaluation-harness, offline, on tasks over files: its numbers are ours."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from textdiffusion.evaluation.answers import Option, scores
from textdiffusion.evaluation.choices import TASKS, Subject, compare
from textdiffusion.evaluation.methods import Scoring
from textdiffusion.evaluation.respondent import Respondent
from textdiffusion.language_model import DiffusionLM

pytest.importorskip("lm_eval", reason="the extra 'lm-eval' is not installed")
# What other packages warn about is not ours to mend.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.filterwarnings("ignore::ResourceWarning")]

ANIMALS = ("fox", "day", "night", "time", "Paris")
CHOICES = [
    {"goal": f"The {name} read", "sol1": f"all {name} long", "sol2": f"and slept {name}", "label": number % 2}
    for number, name in enumerate(ANIMALS)
]
WORDS = [{"context": f"Once upon a {name} there was a", "continuation": name} for name in ANIMALS]
HEAD = "dataset_path: json\ntest_split: test\ndataset_kwargs:\n  data_files:\n    test: {file}\n"
MEAN = "  - metric: {}\n    aggregation: {}\n    higher_is_better: true\n"
TASK_FILES = {
    "choosing": (
        CHOICES,
        'output_type: multiple_choice\ndoc_to_text: "Question: {{goal}}\\nAnswer:"\ndoc_to_target: label\n'
        'doc_to_choice: "{{[sol1, sol2]}}"\nmetric_list:\n'
        + "".join(MEAN.format(name, "mean") for name in ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")),
    ),
    "last_word": (
        WORDS,
        'output_type: loglikelihood\ndoc_to_text: "{{context}}"\ndoc_to_target: " {{continuation}}"\n'
        'target_delimiter: ""\nmetric_list:\n'
        + MEAN.format("perplexity", "perplexity")
        + MEAN.format("acc", "mean"),
    ),
    "whole": (
        WORDS,
        'output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: "{{context}}"\nmetric_list:\n'
        + MEAN.format("byte_perplexity", "weighted_perplexity")
        + MEAN.format("bits_per_byte", "bits_per_byte"),
    ),
    "writing": (
        WORDS,
        'output_type: generate_until\ndoc_to_text: "{{context}}"\ndoc_to_target: "{{continuation}}"\n'
        'generation_kwargs:\n  until:\n    - "\\n"\n  max_gen_toks: 6\n  do_sample: false\n'
        "metric_list:\n" + MEAN.format("exact_match", "mean"),
    ),
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tasks and their records."""
    folder = tmp_path_factory.mktemp("harness")
    for name, (records, text) in TASK_FILES.items():
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        own = f"task: {name}\n{HEAD.format(file=file)}{text}"
        (folder / f"{name}.yaml").write_text(own, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def results(folder: str, tasks: Path) -> Any:
    """What the harness finds of the small model."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    import textdiffusion.evaluation.harness  # noqa: F401  makes the name known

    return lm_eval.simple_evaluate(
        "textdiffusion",
        model_args=f"pretrained={folder},samples=4,seed=3",
        device="cpu",
        tasks=list(TASK_FILES),
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
    )


def responses(results: Any, task: str) -> list[Any]:
    """What the model answered, in the order of the records."""
    return [sample["resps"] for sample in sorted(results["samples"][task], key=lambda each: each["doc_id"])]


def test_loglikelihood_is_ours(results: Any, tiny: DiffusionLM) -> None:
    options = [Option(record["context"], f" {record['continuation']}") for record in WORDS]
    ours = scores(tiny, options, Scoring(samples=4).chosen(), seed=3)
    told = [float(answer[0][0][0]) for answer in responses(results, "last_word")]
    assert told == pytest.approx([-each.nats for each in ours], abs=1e-4)
    (report,) = compare(
        TASKS["lambada"],
        [Subject(tiny, Scoring(samples=4), tiny.decoding(), seed=3)],
        options,
        limit=None,
        seed=3,
    )
    found = results["results"]["last_word"]
    assert found["perplexity,none"] == pytest.approx(report.numbers["perplexity"].value, rel=1e-4)
    assert found["acc,none"] == report.numbers["acc"].value


def test_accuracies_are_ours_by_the_same_names(results: Any, tiny: DiffusionLM, tasks: Path) -> None:
    subject = Subject(tiny, Scoring(samples=4), tiny.decoding(), mutual=True, seed=3)
    items = TASKS["piqa"].items(str(tasks / "choosing.jsonl"), "test")
    (report,) = compare(TASKS["piqa"], [subject], items, limit=None, seed=3)
    for name in ("acc", "acc_norm", "acc_bytes"):
        assert results["results"]["choosing"][f"{name},none"] == pytest.approx(report.numbers[name].value)
    assert "acc_mutual_info,none" in results["results"]["choosing"]


def test_whole_texts_and_written_ones(results: Any, tiny: DiffusionLM) -> None:
    respondent = Respondent(tiny, Scoring(samples=4), seed=3)
    contexts = [record["context"] for record in WORDS]
    told = [float(answer[0][0]) for answer in responses(results, "whole")]
    assert told == pytest.approx(respondent.rolling(contexts), abs=1e-3)
    texts = [answer[0][0] for answer in responses(results, "writing")]
    ours = tiny.generate(contexts, length=6, seed=3, sampler="single-best", temperature=0.0)
    assert texts == [each.text.split("\n")[0] for each in ours]


def test_the_command_of_the_harness_knows_the_model(folder: str, tasks: Path, tmp_path: Path) -> None:
    words = ["run", "--model", "textdiffusion", "--model_args", f"pretrained={folder},samples=2"]
    words += ["--tasks", "last_word", "--include_path", str(tasks), "--limit", "2", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "textdiffusion.evaluation.harness", *words, "--output_path", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "last_word" in done.stdout
    (file,) = tmp_path.rglob("results*.json")
    assert json.loads(file.read_text("utf-8"))["results"]["last_word"]["perplexity,none"] > 1.0
