"""Records of published benchmarks become items, and what is measured of them is what their papers measure."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lengths.known import Known, known_model, small_model

from textdiffusion.data.formats import ROWS
from textdiffusion.errors import DataError
from textdiffusion.evaluation.answers import Option
from textdiffusion.evaluation.choices import TASKS, Subject, compare, difference_row
from textdiffusion.evaluation.choices.agreement import exact_match, f1, normalised
from textdiffusion.evaluation.choices.items import Choice, Question
from textdiffusion.evaluation.choices.measures import Answered, Infilled, LastWord, Likeliest
from textdiffusion.evaluation.choices.sentences import lines, sentences
from textdiffusion.evaluation.choices.tasks import Benchmark
from textdiffusion.evaluation.methods import Scoring
from textdiffusion.generation import Decoding

Records = list[dict[str, Any]]


def items(task: str, records: Records, folder: Path) -> list[Any]:
    """The items of some records in a file."""
    file = folder / "records.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return list(TASKS[task].items(str(file), "test"))


def choice(prompt: str, *answers: str, gold: int) -> Choice:
    return Choice(tuple(Option(prompt, answer) for answer in answers), gold)


# -- records ---------------------------------------------------------------------------------------------

PUBLISHED: list[tuple[str, dict[str, Any], Any]] = [
    ("lambada", {"text": 'He said it to "Bob Smith"'}, Option('He said it to "Bob', ' Smith"')),
    ("lambada", {"context": "He ran to the\n", "continuation": "door"}, Option("He ran to the", " door")),
    (
        "hellaswag",
        {
            "activity_label": "Baking",
            "ctx_a": "A man bakes.",
            "ctx_b": "he",
            "endings": ["eats [substeps] it.", "Fine [title] Go."],
            "label": "1",
        },
        choice("Baking: A man bakes. He", " eats it.", " Fine. Go.", gold=1),
    ),
    (
        "piqa",
        {"goal": "open a jar", "sol1": "twist it", "sol2": " throw it ", "label": 0},
        choice("Question: open a jar\nAnswer:", " twist it", " throw it", gold=0),
    ),
    (
        "piqa",
        {"query": "Question: dresser\n", "choices": ["a", "b"], "gold": 1},
        choice("Question: dresser\nAnswer:", " a", " b", gold=1),
    ),
    (
        "siqa",
        {
            "context": "Kim fell.",
            "question": "Why?",
            "answerA": "ice",
            "answerB": "sun",
            "answerC": "joy",
            "label": "3",
        },
        choice("Q: Kim fell. Why?\nA:", " ice", " sun", " joy", gold=2),
    ),
    (
        "winogrande",
        {
            "sentence": "The cup hit the jar and _ broke.",
            "option1": "the cup",
            "option2": "it",
            "answer": "2",
        },
        Choice(
            (
                Option("The cup hit the jar and the cup", " broke."),
                Option("The cup hit the jar and it", " broke."),
            ),
            1,
        ),
    ),
    (
        "arc-easy",
        {"question": "Which?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"},
        choice("Question: Which?\nAnswer:", " x", " y", gold=1),
    ),
    (
        "arc-challenge",
        {
            "question": {
                "stem": "Which?",
                "choices": [{"text": "x", "label": "1"}, {"text": "y", "label": "2"}],
            },
            "answerKey": "1",
        },
        choice("Question: Which?\nAnswer:", " x", " y", gold=0),
    ),
    (
        "multiple-choice",
        {"query": "1 + 1 =", "choices": ["2", "3"], "gold": 0},
        choice("1 + 1 =", " 2", " 3", gold=0),
    ),
    (
        "infilling",
        {f"sentence{n}": f"S{n}." for n in range(1, 6)},
        Option("S1. S2.", " S3.", " S4. S5."),
    ),
    (
        "infilling",
        {f"InputSentence{n}": f"S{n}." for n in range(1, 5)},
        Option("S1. S2.", " S3.", " S4."),
    ),
    (
        "infilling",
        {"text": 'One. "Two!" she said. Three?\n\nFour. Five. Six.'},
        Option('One. "Two!"', " she said.", " Three? Four."),
    ),
    (
        "triviaqa",
        {"question": "Who?", "answer": {"value": "Bo", "aliases": ["B", "Bo"]}},
        Question("Question: Who?\nAnswer:", ("Bo", "B")),
    ),
    ("triviaqa", {"context": "Who?", "answer": "Bo"}, Question("Question: Who?\nAnswer:", ("Bo",))),
    (
        "squad",
        {"context": "Bo ran.", "question": "Who?", "answers": {"text": ["Bo", "Bo"], "answer_start": [0, 0]}},
        Question("Bo ran.\nQuestion: Who?\nAnswer:", ("Bo",)),
    ),
]


@pytest.mark.parametrize(("task", "record", "wanted"), PUBLISHED)
def test_records_in_their_published_form(
    task: str, record: dict[str, Any], wanted: object, tmp_path: Path
) -> None:
    assert items(task, [record], tmp_path) == [wanted]


@pytest.mark.parametrize(
    ("task", "record", "said"),
    [
        ("piqa", {"goal": "x", "sol1": "a"}, "needs records with goal, sol1, sol2, label"),
        ("piqa", {"goal": "x", "sol1": "a", "sol2": "b", "label": -1}, "a right answer"),
        ("piqa", {"goal": "x", "sol1": "a", "sol2": "b", "label": ""}, "a right answer"),
        ("winogrande", {"sentence": "none", "option1": "a", "option2": "b", "answer": "1"}, "no _"),
        (
            "arc-easy",
            {"question": "x", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "C"},
            "answer",
        ),
        ("lambada", {"text": "one"}, "a single word"),
        ("infilling", {"title": "x"}, "a text of four sentences"),
    ],
)
def test_other_records_are_refused_with_their_place(
    task: str, record: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"records.jsonl, line 1: .*{said}"):
        items(task, [record], tmp_path)


def test_short_texts_have_no_gap(tmp_path: Path) -> None:
    assert items("infilling", [{"text": "One. Two."}, {"text": "A. B. C. D."}], tmp_path) == [
        Option("A. B.", " C.", " D.")
    ]


def test_every_task_says_what_it_is() -> None:
    for name, task in TASKS.items():
        assert task.summary and task.splits, name
        assert name == name.lower()


# -- texts in pieces -------------------------------------------------------------------------------------


def test_sentences_end_at_full_stops() -> None:
    said = '"Stop!" he said. It was 3.14 m\nlong... And\n\nthen? Done'
    assert sentences(said) == ['"Stop!"', "he said.", "It was 3.14 m long...", "And", "then?", "Done"]
    assert sentences("春天來了。「花開了！」他說。") == ["春天來了。", "「花開了！」", "他說。"]
    assert lines(" 一\n\n二 \r\n三") == ["一", "二", "三"]


@given(st.text('ab.!? \n"', max_size=40))
def test_sentences_keep_every_letter(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


# -- order reversed --------------------------------------------------------------------------------------

STORIES = [
    {"text": f"{'A' * (n + 4)} begins. {'B' * (n + 4)} goes on. {'C' * (n + 4)} ends here."} for n in range(9)
]


@pytest.mark.parametrize("task", ["previous-sentence", "next-sentence"])
def test_true_neighbours_among_others_of_like_length(task: str, tmp_path: Path) -> None:
    found = items(task, STORIES, tmp_path)
    assert [item.gold for item in found] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    for number, item in enumerate(found):
        right, size = item.options[item.gold], number + 4
        assert len({option.answer for option in item.options}) == 4
        assert all(abs(len(option.answer) - len(right.answer)) <= 3 for option in item.options)
        wanted = {
            "previous-sentence": Option("", f"{'A' * size} begins.", f" {'B' * size} goes on."),
            "next-sentence": Option(f"{'A' * size} begins.", f" {'B' * size} goes on."),
        }
        assert right == wanted[task]
        assert {option.suffix for option in item.options} == {right.suffix}
        assert {option.prompt for option in item.options} == {right.prompt}


def test_lines_of_poems(tmp_path: Path) -> None:
    poems = [{"content": f"春{n}一二三\n秋{n}四五六\n"} for n in range(5)]
    (first, *_) = items("previous-line", poems, tmp_path)
    assert first.options[0] == Option("", "春0一二三", "\n秋0四五六")
    (first, *_) = items("next-line", poems, tmp_path)
    assert first.options[0] == Option("春0一二三", "\n秋0四五六")
    assert items("next-line", poems[:3], tmp_path) == [], "there are not four lines to choose from"


# -- agreement -------------------------------------------------------------------------------------------


def test_answers_are_compared_as_squad_does() -> None:
    assert normalised("The  Cat, a dog!") == "cat dog"
    assert exact_match(" the Beatles.", ["Beatles", "x"]) == 1.0
    assert exact_match("Beatles band", ["Beatles"]) == 0.0
    assert f1("the big red cat", ["a red cat", "dog"]) == pytest.approx(2 * 2 / (3 + 2))
    assert f1("", ["cat"]) == 0.0
    assert f1("the", ["a"]) == 1.0, "nothing is left of either"
    assert f1("cat cat", ["cat"]) == pytest.approx(2 / 3)


def test_rouge_is_that_of_the_package_and_reads_chinese() -> None:
    pytest.importorskip("rouge_score", reason="the extra 'evaluation' is not installed")
    from rouge_score.rouge_scorer import RougeScorer

    from textdiffusion.evaluation.choices.agreement import ROUGE, rouge_scorer

    rouge = rouge_scorer()
    pairs = [("The cat sat on the mat.", "the cat's mat sat"), ("a b c d", "d c b a"), ("x y", "")]
    theirs = RougeScorer(list(ROUGE))
    for reference, answer in pairs:
        wanted = theirs.score(reference, answer)
        assert rouge(reference, answer) == [wanted[name].fmeasure for name in ROUGE]
    assert rouge("a b c d", "d c b a") == [1.0, 0.0, 0.25]
    assert rouge("床前明月光", "床前明月夜") == pytest.approx([0.8, 0.75, 0.8])
    lm = known_model(Known(sure=1 - 1e-6), after_end="")
    subject = Subject(lm, Scoring(), lm.decoding(None, {"sampler": "single-best"}))
    outcome = Infilled()(subject, [Option("aa=b", "b", "")])
    assert outcome.table == [[1.0, 0.0, 1.0]]
    assert outcome.rows[0]["infill"] == "b" and outcome.told["nfe"] == 1


# -- measures --------------------------------------------------------------------------------------------


@pytest.fixture
def subject() -> Subject:
    """A model that knows its language: after n letters a and = come n letters b."""
    return Subject(known_model(Known(), after_end=""), Scoring(), Decoding(sampler="single-best"), length=4)


def test_the_likeliest_option_by_hand(subject: Subject) -> None:
    found = [
        Choice((Option("aa=", "ba"), Option("aa=", "bb")), 1),
        Choice((Option("aa=", "a"), Option("aa=", "bbbb")), 1),  # two of four are wrong, but it is long
    ]
    outcome = Likeliest()(subject, found)
    assert [row["acc"] for row in outcome.rows] == [1.0, 0.0]
    assert [row["chosen"] for row in outcome.rows] == [1, 0]
    for way in ("acc_norm", "acc_bytes", "acc_tokens"):
        assert [row[way] for row in outcome.rows] == [1.0, 1.0]
    assert outcome.told == {"chance": 0.5, "method": "bound", "exact": False, "samples": 8, "cut": 0}
    assert list(outcome.columns) == ["acc", "acc_norm", "acc_bytes", "acc_tokens"]


def test_mutual_information_takes_away_what_is_likely_anyway(subject: Subject) -> None:
    from dataclasses import replace

    asked = [Choice((Option("a=", "b"), Option("a=", "a")), 0)]
    outcome = Likeliest()(replace(subject, mutual=True), asked)
    assert outcome.rows[0]["acc_mutual_info"] == 1.0
    assert "acc_mutual_info" in outcome.statistics


def test_the_last_word_with_all_its_tokens(subject: Subject) -> None:
    import math

    outcome = LastWord()(
        subject, [Option("aaa=", "bbb"), Option("aaa=", "bba"), Option("a" * 40 + "=", "bb")]
    )
    assert [row["acc"] for row in outcome.rows] == [1.0, 0.0, 1.0]
    assert outcome.rows[0]["nats"] == pytest.approx(-3 * math.log(0.95), rel=1e-4)
    assert outcome.told["cut"] == 1
    mean = sum(row["nats"] for row in outcome.rows) / 3
    (report,) = compare(
        Benchmark(lambda source, split: iter([]), LastWord(), "x"),
        [subject],
        [Option("aaa=", "bbb"), Option("aaa=", "bba"), Option("a" * 40 + "=", "bb"), Option("a", "b" * 90)],
        limit=None,
        seed=0,
    )
    assert (report.items, report.left_out) == (3, 1)
    assert report.numbers["perplexity"].value == pytest.approx(math.exp(mean), rel=1e-6)
    assert report.numbers["nats_per_token"].value == pytest.approx(mean * 3 / 8, rel=1e-6)
    low, high = report.numbers["acc"].low, report.numbers["acc"].high
    assert low is not None and high is not None and low <= 2 / 3 <= high


def test_answers_in_words(subject: Subject) -> None:
    asked = [Question("aaa=", ("bbb", "x")), Question("a=", ("bb",))]
    outcome = Answered(("a",))(subject, asked)
    assert outcome.rows[0]["answer"].startswith("bbb")
    assert outcome.told["nfe"] == 4 and outcome.told["steps"] == 4
    assert [row["f1"] for row in outcome.rows] == [f1(row["answer"], row["truth"]) for row in outcome.rows]


def test_two_models_are_compared_in_pairs(subject: Subject) -> None:
    other = Subject(small_model(after_end="", learns_end=False), Scoring(), Decoding())
    asked = [Choice((Option("a" * n + "=", "b" * n), Option("a" * n + "=", "a" * n)), 0) for n in range(1, 7)]
    task = Benchmark(lambda source, split: iter([]), Likeliest(), "x")
    one, two = compare(task, [subject, other], asked, limit=4, seed=0)
    assert one.items == two.items == 4
    assert [row["prompt"] for row in one.outcome.rows] == [row["prompt"] for row in two.outcome.rows]
    row = difference_row(one, two, seed=0)
    assert row["acc"] == pytest.approx(one.numbers["acc"].value - two.numbers["acc"].value)
    same = difference_row(one, one, seed=0)
    assert (same["acc"], same["acc_error"]) == (0.0, 0.0)


def test_nothing_that_fits_is_an_error(subject: Subject) -> None:
    task = Benchmark(lambda source, split: iter([]), LastWord(), "x")
    with pytest.raises(DataError, match="none of 1 items has room"):
        list(compare(task, [subject], [Option("a", "b" * 90)], limit=None, seed=0))


def test_rows_of_every_kind_of_file_are_read() -> None:
    assert {".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt"} <= set(ROWS)
