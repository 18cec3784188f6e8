"""data prepare and data inspect: from the command line to the arrays, and what they show."""

import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from textdiffusion.checkpoint import load_tokenizer
from textdiffusion.cli.data import prepare as command
from textdiffusion.data.prepared import Progress, open_prepared

from .conftest import SENTENCES, Run


@pytest.fixture
def stories(tmp_path: Path) -> str:
    """Sentences, one a line."""
    path = tmp_path / "stories.jsonl"
    lines = [json.dumps({"text": f"{sentence} {i}"}) + "\n" for i in range(20) for sentence in SENTENCES]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


@pytest.fixture
def made(run: Run, model: str, stories: str, tmp_path: Path) -> Callable[..., Path]:
    """Prepares the stories."""

    def make(*flags: str, name: str = "arrays") -> Path:
        words = ["--tokenizer", model, "--output", str(tmp_path / name), *flags]
        assert run("data", "prepare", stories, *words).code == 0
        return tmp_path / name

    return make


def test_prepare_and_inspect(run: Run, model: str, stories: str, tmp_path: Path) -> None:
    words = ["data", "prepare", stories, "--tokenizer", model, "--output", str(tmp_path / "my arrays")]
    shown = run(*words, "--test-share", "0.2")
    assert shown.code == 0
    folder = shlex.quote(str(tmp_path / "my arrays"))
    assert f"textdiffusion data inspect {folder}\n" in shown.out
    assert f"textdiffusion train --data {folder}\n" in shown.out
    assert "train" in shown.err and "test" in shown.err
    told = open_prepared(str(tmp_path / "my arrays")).metadata
    assert told.command == shlex.join(["textdiffusion", *words, "--test-share", "0.2"])
    assert sum(about.counts.documents_kept for about in told.arrays.values()) == 60

    shown = run("data", "inspect", str(tmp_path / "my arrays"), "--verify", "--samples", "2")
    assert shown.code == 0 and shown.err == ""
    assert "every byte verified" in shown.out and stories in shown.out.replace("\n", "")
    assert shown.out.count(" tokens\n") == 2 and "[EOS]" in shown.out


def test_inspect_as_json(run: Run, made: Callable[..., Path]) -> None:
    folder = str(made("--kind", "rows", "--length", "32"))
    metadata, *samples = run("data", "inspect", folder, "--json", "--samples", "3", "--seed", "1").objects
    assert metadata["kind"] == "rows" and metadata["length"] == 32
    assert [set(sample) for sample in samples] == [{"split", "row", "token_ids", "text"}] * 3
    for sample in samples:
        assert sample["text"].startswith("[BOS]") and sample["text"].endswith("[EOS]")
        assert sample["split"] == "train" and "[PAD]" not in sample["text"]
    again = run("data", "inspect", folder, "--json", "--samples", "3", "--seed", "1")
    assert again.objects[1:] == samples
    (test,) = run("data", "inspect", folder, "--json", "--samples", "1", "--split", "test").objects[1:]
    assert test["split"] == "test"


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "count"), [("\n\n\nq\n", 4), ("q\n", 1), ("", 1)])
def test_another_sample_at_each_enter(run: Run, made: Callable[..., Path], typed: str, count: int) -> None:
    shown = run("data", "inspect", str(made()), "--interactive", stdin=Terminal(typed))
    assert shown.code == 0 and shown.out.count(" tokens\n") == count


def test_numbers_may_have_a_letter(made: Callable[..., Path]) -> None:
    told = open_prepared(str(made("--max-tokens", "0.2K", "--max-documents", "1M"))).metadata
    assert 150 < sum(about.counts.tokens for about in told.arrays.values()) <= 200


def test_a_tokenizer_needs_no_mask(run: Run, maskless: str, stories: str, tmp_path: Path) -> None:
    words = ["data", "prepare", stories, "--tokenizer", maskless, "--output", str(tmp_path / "arrays")]
    assert run(*words).code == 0
    assert run("data", "inspect", str(tmp_path / "arrays")).code == 0
    copied = load_tokenizer(str(tmp_path / "arrays" / "tokenizer"))
    assert copied.mask_token is None and len(copied) == len(load_tokenizer(maskless))


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ("prepare STORIES --output OUT", 2, "no tokenizer; give the one of your model with --tokenizer"),
        ("prepare STORIES --tokenizer OUT/none --output OUT", 1, "no model at"),
        ("prepare --tokenizer MODEL --output OUT", 2, "no text to prepare"),
        ("prepare STORIES --tokenizer MODEL --output HERE", 2, "exists already; choose another --output"),
        ("prepare STORIES --tokenizer MODEL --output OUT --kind row", 2, "Did you mean rows"),
        ("prepare STORIES --tokenizer MODEL --output OUT --engine rai", 2, "Did you mean ray"),
        ("prepare STORIES --tokenizer MODEL --output OUT --resume", 2, "no unfinished preparation"),
        ("prepare STORIES --tokenizer MODEL --output OUT --max-tokens many", 2, "expected a whole number"),
        ("prepare EMPTY --tokenizer MODEL --output OUT", 1, "holds no text"),
        ("prepare EMPTY --dtype uint16 --tokenizer MODEL --output OUT", 1, "has 3 bytes"),
        ("inspect", 2, "no folder to look into"),
        ("inspect OUT", 1, "there is no folder"),
        ("inspect HERE", 1, "holds no arrays of `textdiffusion data prepare`"),
        ("inspect HERE --samples -1", 2, "samples is -1"),
        ("inspect HERE --interactive", 2, "--interactive is for a terminal"),
        ("inspct", 2, "Did you mean inspect"),
    ],
)
def test_bad_use_is_one_line(
    run: Run, model: str, stories: str, tmp_path: Path, flags: str, code: int, said: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "empty.txt").write_text(" \n\n", encoding="utf-8")
    places = {
        "STORIES": stories,
        "MODEL": model,
        "OUT": str(tmp_path / "out"),
        "HERE": str(tmp_path / "here"),
        "EMPTY": str(tmp_path / "empty.txt"),
    }
    words = [places.get(word, word.replace("OUT/", f"{tmp_path}/out/")) for word in flags.split()]
    shown = run("data", *words)
    assert shown.code == code and said in shown.error
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.unfinished").exists()


def test_interrupt_tells_how_to_go_on(
    run: Run, model: str, stories: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["data", "prepare", stories, "--tokenizer", model, "--output", str(tmp_path / "arrays")]

    def stop(self: object, progress: Progress) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command._Shown, "watch", stop)
        shown = run(*words)
    assert shown.code == 130 and shown.err == "interrupted; the same command with --resume goes on.\n"
    shown = run(*words)
    assert shown.code == 2 and "go on with --resume" in shown.error
    assert run(*words, "--resume").code == 0


def test_progress_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = Progress("train", 1_000, 50_000, 0.25)
    assert command.said(first, first, 0.0) == "train: 1,000 documents, 50,000 tokens"
    later = Progress("train", 2_000, 100_000, 0.5)
    assert command.said(later, first, 10.0).endswith("100,000 tokens, 5,000 tokens/s, 50%, 0:20 left")
    assert command.said(later, first, 3000.0).endswith(", 50%, 1:40:00 left")
    unknown = Progress("train", 2_000, 100_000, None)
    assert command.said(unknown, unknown, 10.0).endswith("0 tokens/s")
    monkeypatch.setattr(command, "SECONDS", 0.0)
    out = io.StringIO()
    with command._shown(Console(file=out)) as shown:
        shown.watch(first)
    assert out.getvalue() == "train: 1,000 documents, 50,000 tokens\n"
