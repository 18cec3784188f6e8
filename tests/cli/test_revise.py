"""revise: what it prints, saves and refuses; and that a model that knows changes just what is wrong."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

import textdiffusion as td
from textdiffusion.cli import revise
from textdiffusion.language_model import DiffusionLM
from textdiffusion.model_settings import ModelSettings
from textdiffusion.views import Trace

from .conftest import LONGEST, SPECIAL, Run, save_model

DRAFT = "The fox read all day long, and slept at night."
KEYS = {
    "text",
    "changes",
    "tokens",
    "noise_rate",
    "looks",
    "nfe",
    "read_tokens",
    "seconds",
    "sampler",
    "steps",
    "seed",
    "model",
}


@pytest.fixture(scope="session")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model whose noise looks like text."""
    folder = tmp_path_factory.mktemp("models") / "unseen"
    return str(save_model(folder, SPECIAL, ModelSettings(length=LONGEST, noise="pure-random")))


@pytest.fixture
def draft(tmp_path: Path) -> str:
    path = tmp_path / "draft.txt"
    path.write_text(DRAFT + "\n", encoding="utf-8")
    return str(path)


def lm_that_knows(folder: str, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[DiffusionLM, list[int]]:
    """A model that says this text whatever stands there."""
    lm = td.load(folder, device="cpu")
    (ids,) = lm.format.document([text])
    truth = torch.tensor(ids)

    def knowing(self: Any, xt: Tensor, t: Tensor, *, where: Tensor, **told: Any) -> Tensor:
        return torch.nn.functional.one_hot(truth[: xt.shape[1]].expand(xt.shape), 300).float()[where] * 20.0

    monkeypatch.setattr(type(lm.denoiser), "__call__", knowing)
    return lm, ids


def spoil(lm: DiffusionLM, ids: list[int], letters: dict[int, str]) -> str:
    """The text with some tokens replaced by letters that no word begins with."""
    wrong = list(ids[1:-1])
    for place, letter in letters.items():
        wrong[place] = lm.format.tokenizer.convert_tokens_to_ids(letter)
    text = lm.format.decode(wrong)
    assert lm.format.document([text])[0][1:-1] == wrong
    return text


# -- Python ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["model", "unseen"])
def test_what_is_wrong_is_restored(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, ids = lm_that_knows(request.getfixturevalue(kind), DRAFT, monkeypatch)
    spoilt = spoil(lm, ids, {2: "Q", 5: "X"})
    found = lm.revise(spoilt, noise_rate=0.1)
    assert found.text == DRAFT
    assert [change.position for change in found.changes] == [2, 5]
    assert [change.before for change in found.changes] == ["Q", "X"]
    assert found.token_ids == ids[1:-1]
    assert (found.generated_tokens, found.prompt_tokens) == (2, len(ids) - 2)
    assert found.prompt == spoilt
    assert found.sampler == {"model": "confidence", "unseen": "any-position"}[kind]


def test_the_looks_are_counted(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found is found again by a second reading; then a step writes each of two."""
    lm, ids = lm_that_knows(model, DRAFT, monkeypatch)
    spoilt = spoil(lm, ids, {2: "Q", 5: "X"})
    few, many = (lm.revise(spoilt, looks=looks) for looks in (2, 6))
    assert (few.nfe, many.nfe) == (2 * 2 + 2, 2 * 6 + 2)
    assert few.steps == many.steps == 2
    assert (few.read_tokens, many.read_tokens) == (few.nfe * len(ids), many.nfe * len(ids))


def test_a_draft_in_which_nothing_is_wrong_stays(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm, _ = lm_that_knows(model, DRAFT, monkeypatch)
    found = lm.revise(DRAFT, noise_rate=0.5)
    assert (found.text, found.changes, found.nfe) == (DRAFT, (), 8)


@pytest.mark.parametrize("sampler", ["posterior", "entropy-renoise", "any-position"])
def test_a_draft_that_is_too_long_is_read_in_stretches(unseen: str, sampler: str) -> None:
    lm = td.load(unseen, device="cpu")
    text = " ".join([DRAFT] * 4)
    found = lm.revise(
        text, noise_rate=0.1, sampler=sampler if sampler != "ancestral" else "posterior", steps=2
    )
    assert found.prompt_tokens > 2 * LONGEST
    assert len(found.token_ids) == found.prompt_tokens
    assert len(found.frames[-1].tokens) > 2
    before = lm.format.document([text])[0][1:-1]
    changed = [place for place, (a, b) in enumerate(zip(before, found.token_ids, strict=True)) if a != b]
    assert [change.position for change in found.changes] == changed
    assert found.text == lm.format.decode(found.token_ids)
    again = lm.revise(text, noise_rate=0.1, sampler=found.sampler, steps=2)
    assert again.text == found.text


def test_an_autoregressive_model_cannot(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "left", SPECIAL, ModelSettings(length=LONGEST), block_size=1, shift=True)
    with pytest.raises(
        td.errors.IncompatibleError if hasattr(td, "errors") else TypeError, match="cannot see"
    ):
        td.load(str(folder), device="cpu").revise(DRAFT)


# -- the command -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["model", "unseen"])
def test_json(run: Run, request: pytest.FixtureRequest, kind: str, draft: str) -> None:
    folder = request.getfixturevalue(kind)
    done = run("revise", draft, "--model", folder, "--noise-rate", "0.3", "--seed", "4", "--json")
    assert done.code == 0
    (found,) = done.objects
    assert set(found) == KEYS
    assert (found["noise_rate"], found["seed"], found["model"]) == (0.3, 4, folder)
    assert found["tokens"] > 10
    for change in found["changes"]:
        assert set(change) == {"position", "before", "after"}
        assert 0 <= change["position"] < found["tokens"]
    again = run("revise", draft, "--model", folder, "--noise-rate", "0.3", "--seed", "4", "--json").objects[0]
    assert again["text"] == found["text"]


def test_a_pipe_and_plain_text(run: Run, model: str, draft: str) -> None:
    piped = run("revise", "--model", model, stdin=DRAFT + "\n")
    dashed = run("revise", "-", "--model", model, stdin=DRAFT + "\n")
    named = run("revise", draft, "--model", model)
    assert piped.out == dashed.out == named.out
    assert named.out.endswith("\n")
    assert "tokens changed by confidence" in named.err
    assert len(named.err.splitlines()) == 1


def test_steps_are_shown_and_saved(run: Run, unseen: str, draft: str, tmp_path: Path) -> None:
    words = ["--sampler", "posterior", "--steps", "3", "--watch", "--save", str(tmp_path / "one.json")]
    done = run("revise", draft, "--model", unseen, *words)
    assert done.code == 0
    assert "step 0/3" in done.out
    trace = Trace.load(tmp_path / "one.json")
    assert len(trace.snapshots) == 4
    assert "".join(piece or "" for piece in trace.snapshots[0].pieces) == DRAFT
    long = tmp_path / "long.txt"
    long.write_text(" ".join([DRAFT] * 3), encoding="utf-8")
    assert run("revise", str(long), "--model", unseen, *words).code == 0
    assert (tmp_path / "one-2.json").exists()


def test_changes_stand_out_at_a_terminal(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm, ids = lm_that_knows(model, DRAFT, monkeypatch)
    task = lm.revision(spoil(lm, ids, {2: "Q"}), noise_rate=0.05, looks=4, seed=0, options={})
    (found,) = lm.results(task, list(lm.stream(task)))
    screen = io.StringIO()
    revise._show(found, task, Console(file=screen, force_terminal=True, color_system="truecolor", width=200))
    shown = screen.getvalue()
    assert shown.count("\x1b[4;35m") == len(found.changes) == 1
    assert lm.format.decode([ids[3]]).strip() in shown.partition("\x1b[4;35m")[2].partition("\x1b[0m")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.txt"], "no file at 'nowhere.txt'"),
        (["{draft}", "--noise-rate", "0"], "noise_rate is 0"),
        (["{draft}", "--noise-rate", "1.5"], "noise_rate is 1.5"),
        (["{draft}", "--looks", "0"], "looks is 0"),
        (["{draft}", "--num-samples", "2"], "unknown flag --num-samples"),
        (["{draft}", "--sampler", "conjure"], "No sampler named 'conjure'"),
        (["{empty}"], "the draft is empty"),
        (["{binary}"], "is no UTF-8"),
    ],
)
def test_what_cannot_work_is_one_line(
    run: Run, model: str, draft: str, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    files = {"draft": draft, "empty": str(tmp_path / "empty.txt"), "binary": str(tmp_path / "binary.txt")}
    done = run("revise", *(word.format(**files) for word in words), "--model", model)
    assert done.code in (1, 2)
    assert said in done.error
