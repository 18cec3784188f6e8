"""What the harness asks is answered as the rest of the package would, without the harness."""

from collections.abc import Mapping
from typing import Any

import pytest

from textdiffusion.data.prompted import Prompted
from textdiffusion.errors import SettingsError, UnknownNameError
from textdiffusion.evaluation.answers import Option, scores
from textdiffusion.evaluation.documents import Windows, read_corpus
from textdiffusion.evaluation.methods import Scoring
from textdiffusion.evaluation.perplexity import likelihood_of
from textdiffusion.evaluation.respondent import Respondent
from textdiffusion.language_model import DiffusionLM

PAIRS = [("The fox", " read all day"), ("The fox", " slept"), ("", "Once upon a time"), ("Who? ", "A fox.")]


def test_likelihood_is_the_negative_of_ours(tiny: DiffusionLM) -> None:
    told = Respondent(tiny, Scoring(samples=4), seed=2).loglikelihood(PAIRS)
    ours = scores(tiny, [Option(*pair) for pair in PAIRS], Scoring(samples=4).chosen(), seed=2)
    assert [nats for nats, _ in told] == [-each.nats for each in ours]
    again = Respondent(tiny, Scoring(samples=4), seed=2, tokens_at_once=1).loglikelihood(PAIRS[::-1])
    assert [nats for nats, _ in again[::-1]] == pytest.approx([nats for nats, _ in told], abs=1e-4)


def test_greedy_is_said_of_what_is_generated(tiny: DiffusionLM) -> None:
    respondent = Respondent(tiny)
    prompt = "The fox"
    text = tiny.generate(prompt, length=2, sampler="single-best", temperature=0.0).text
    ids = tiny.format.prompt(prompt + text)[len(tiny.format.prompt(prompt)) :]
    (_, right), (_, wrong) = respondent.loglikelihood([(prompt, text), (prompt, " slept")])
    assert not wrong
    assert right or len(ids) != 2, "the text may be cut into tokens otherwise than it was written"


def test_whole_texts_are_cut_as_evaluate_cuts_them(tiny: DiffusionLM) -> None:
    texts = ["The fox read all day long, and slept at night. " * 3, "", "Once"]
    told = Respondent(tiny, Scoring(samples=2)).rolling(texts)
    assert told[1] == 0.0
    for number in (0, 2):
        corpus = read_corpus([Prompted(None, texts[number])], tiny, Windows.of(tiny), ends=False)
        wanted = likelihood_of(tiny, corpus, Scoring(samples=2).chosen()).nats
        assert told[number] == pytest.approx(-float(wanted[0]), abs=1e-4)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({"until": ["\n"], "max_gen_toks": 6}, {"sampler": "single-best", "temperature": 0.0}),
        ({"until": "\n", "max_gen_toks": 6, "do_sample": False, "temperature": 0.9}, {"temperature": 0.0}),
        (
            {"max_new_tokens": 6, "do_sample": True, "temperature": 0.7, "top_k": 9},
            {"temperature": 0.7, "top_k": 9},
        ),
        ({"max_tokens": 6, "temperature": 0.5, "num_beams": 1}, {"temperature": 0.5}),
    ],
)
def test_texts_are_those_of_generate(
    tiny: DiffusionLM, told: Mapping[str, Any], wanted: dict[str, Any]
) -> None:
    if wanted["temperature"] == 0.0:
        wanted = {"sampler": "single-best"} | wanted
    prompts = ["The fox", "Once upon", "Who?"]
    texts = Respondent(tiny, seed=4).generate([(prompt, told) for prompt in prompts])
    ours = tiny.generate(prompts, length=6, seed=4, **wanted)
    assert texts == [each.text.split("\n")[0] if "until" in told else each.text for each in ours]


def test_options_go_before_what_a_task_says(tiny: DiffusionLM) -> None:
    options = {"sampler": "threshold", "threshold": 0.5, "steps": 2, "samples": 3}
    respondent = Respondent.of(tiny, options, seed=1)
    assert respondent.scoring == Scoring(sampler="threshold", steps=2, samples=3)
    ours = tiny.generate(
        "The fox", length=6, seed=1, temperature=0.0, sampler="threshold", threshold=0.5, steps=2
    )
    assert respondent.generate([("The fox", {"max_gen_toks": 6})]) == [ours.text]
    with pytest.raises(SettingsError, match="no setting 'treshold'"):
        Respondent.of(tiny, {"treshold": 0.5})
    with pytest.raises(UnknownNameError, match="Did you mean duel"):
        Respondent.of(tiny, {"method": "dual"})


def test_requests_of_several_kinds_keep_their_order_and_long_ones_are_shortened(
    tiny: DiffusionLM, caplog: pytest.LogCaptureFixture
) -> None:
    respondent = Respondent(tiny)
    short: dict[str, Any] = {"max_gen_toks": 2}
    asked = [("The fox", short), ("Once", {"max_gen_toks": 3}), ("Who?", short), ("The fox", {})]
    found = respondent.generate(asked)
    assert found[:3] == [respondent.generate([each])[0] for each in asked[:3]]
    assert "16 new tokens instead of 256: the model holds 32" in caplog.text
