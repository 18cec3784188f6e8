"""Odd requests at the command line: refused in one line, the network not asked, or done with a meaning."""

import pytest

from textdiffusion.denoisers.transformer import DiffusionTransformerForMaskedLM
from textdiffusion.samplers import SAMPLERS

from .conftest import LONGEST, Run
from .test_writing import without_time

LONG = "fox " * 50


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network may be asked: it would be an internal error."""

    def asked(*args: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(DiffusionTransformerForMaskedLM, "forward", asked)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["A", "--sampler", "threshold", "--threshold", "1.5"], "threshold 1.5 must be a number from 0 to 1"),
        (
            ["A", "--sampler", "threshold", "--threshold", "-0.1"],
            "threshold -0.1 must be a number from 0 to 1",
        ),
        (["A", "--temperature", "-0.5"], "temperature -0.5 must be 0 (greedy) or above"),
        (["A", "--top-p", "0"], "top_p 0.0 must lie above 0"),
        (["A", "--length", "0"], "at least 1 new token is needed"),
        (["A", "--block-size", "0"], "block_size is 0; it must be at least 1"),
        ([LONG], f"leaves no room for new ones: the model holds {LONGEST} in all; shorten the prompt"),
        ([LONG, "--length", "4"], "shorten the prompt"),
        (["A", "--length", str(LONGEST)], "shorten the text or lower --length"),
        (["A", "--cache", "exact"], "needs a network that was trained block by block"),
    ],
)
def test_it_is_refused_before_the_network_is_asked(
    run: Run, model: str, asleep: None, words: list[str], said: str
) -> None:
    shown = run("generate", *words, "--model", model)
    assert shown.code == 2
    assert shown.error.startswith("error: ") and said in shown.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([LONG, "--cache", "exact"], "shorten the prompt"),
        (
            ["A", "--length", "8", "--block-size", "3"],
            "trained in blocks of 4 tokens; leave it out, or give a",
        ),
        (["A", "--length", "8", "--cache", "dual"], "trained block by block and has an exact cache"),
    ],
)
def test_blocks_are_refused_too(run: Run, blocks: str, asleep: None, words: list[str], said: str) -> None:
    shown = run("generate", *words, "--model", blocks)
    assert shown.code == 2 and said in shown.error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("All of it stands.", "no hole; write [MASK], [MASK:3] for three tokens, or ____"),
        ("", "no hole; write [MASK]"),
        ("A [MASK:0] fox.", "[MASK:0]"),
        ("A [MASK:90] fox.", "shorten the text or its holes"),
        (f"{LONG} [MASK]", "shorten the text or its holes"),
    ],
)
def test_what_cannot_be_filled_is_refused(run: Run, model: str, asleep: None, text: str, said: str) -> None:
    shown = run("fill", text, "--model", model)
    assert shown.code == 2 and said in shown.error


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        (["The fox", "--length", "7", "--block-size", "3", "--sampler", "first-hitting"], 7),
        (["The fox", "--length", "7", "--block-size", "30", "--sampler", "first-hitting"], 7),
        (["The fox", "--length", "7", "--steps", "60", "--sampler", "random"], 7),
        (["", "--length", "7", "--sampler", "random"], 7),
    ],
)
def test_it_has_a_meaning(run: Run, model: str, words: list[str], calls: int) -> None:
    """Blocks that do not divide the length or exceed it, more steps than tokens, no prompt."""
    (row,) = run("generate", *words, "--model", model, "--json").objects
    assert (row["generated_tokens"], row["nfe"]) == (7, calls)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_exact_cache_changes_no_text(run: Run, blocks: str, sampler: str) -> None:
    """Also where tokens are taken back, which never reaches behind the block."""
    words = ["generate", "The fox read all day", "--model", blocks, "--length", "10", "--temperature", "1"]
    shown = [run(*words, "--sampler", sampler, "--cache", cache, "--json") for cache in ("none", "exact")]
    assert [each.code for each in shown] == [0, 0]
    told = [[{**row, "read_tokens": 0} for row in without_time(each)] for each in shown]
    assert told[0] == told[1]
    assert shown[0].objects[0]["read_tokens"] >= shown[1].objects[0]["read_tokens"]
