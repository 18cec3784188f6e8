"""The table of tasks: how the records of published benchmarks become items, and what is measured by them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...data.formats import TEXT_FIELDS
from ...data.sources import read_rows
from ...errors import DataError
from ...registry import Registry
from ..answers import Option
from .items import Choice, Question
from .measures import Answered, Infilled, LastWord, Likeliest, Measure
from .reversal import following, previous
from .sentences import sentences

Item = TypeVar("Item")
Record = Mapping[str, Any]
_BRACKETS = re.compile(r"\[.*?\]")


@dataclass(frozen=True)
class Benchmark(Generic[Item]):
    """A task."""

    items: Callable[[str, str], Iterator[Item]]
    """Reads a split of a source."""
    measure: Measure[Item]
    summary: str
    """What is asked, in one line."""
    hub: str = ""
    """Data set of the Hub with its records, if there is one that everybody may read."""
    splits: tuple[str, ...] = ("validation", "test")
    """Splits with right answers, the usual one first."""


def records(fields: str, read: Callable[[Record], Item | None]) -> Callable[[str, str], Iterator[Item]]:
    """Items of records with these fields, one each, or none where `read` says None.

    Raises (while reading):
        DataError: a record without one of them, or without a right answer.
    """

    def items(source: str, split: str) -> Iterator[Item]:
        for where, row in read_rows(source, split=split):
            try:
                item = read(row)
            except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise DataError(
                    f"{where}: the task needs records with {fields}, and a right answer ({reason}); its "
                    f"fields: {', '.join(map(str, row))}."
                ) from error
            if item is not None:
                yield item

    return items


def choice(prompt: str, answers: Sequence[str], gold: object) -> Choice:
    """Answers behind a prompt, each after a space."""
    return Choice(tuple(Option(prompt, f" {answer.strip()}") for answer in answers), int(str(gold)))


def queried(ending: str, own: Callable[[Record], Choice]) -> Callable[[Record], Choice]:
    """A reader that also knows the form query, choices, gold; `ending` stands behind such a query."""

    def read(row: Record) -> Choice:
        if "query" in row:
            return choice(str(row["query"]).strip() + ending, row["choices"], row["gold"])
        return own(row)

    return read


def last_word(row: Record) -> Option:
    """LAMBADA: a passage, or its beginning and its last word."""
    if "context" in row:
        return Option(str(row["context"]).rstrip(), f" {str(row['continuation']).strip()}")
    prompt, space, word = str(row["text"]).strip().rpartition(" ")
    if not space:
        raise ValueError("a single word")
    return Option(prompt, f" {word}")


def hellaswag(row: Record) -> Choice:
    """HellaSwag with the marks of WikiHow taken out, as lm-evaluation-harness does."""
    context = f"{row['ctx_a']} {row['ctx_b'].capitalize()}" if "ctx_a" in row else row["ctx"]
    prompt = _without_marks(f"{row['activity_label']}: {context}")
    return choice(prompt, [_without_marks(ending) for ending in row["endings"]], row["label"])


def piqa(row: Record) -> Choice:
    """PIQA."""
    return choice(f"Question: {row['goal']}\nAnswer:", [row["sol1"], row["sol2"]], row["label"])


def siqa(row: Record) -> Choice:
    """Social IQa."""
    answers = [row[f"answer{letter}"] for letter in "ABC"]
    return choice(f"Q: {row['context']} {row['question']}\nA:", answers, int(row["label"]) - 1)


def winogrande(row: Record) -> Choice:
    """WinoGrande: what follows the gap is scored, given the sentence with either word in the gap."""
    if "context_options" in row:
        options = [
            Option(str(text).strip(), f" {row['continuation'].strip()}") for text in row["context_options"]
        ]
        return Choice(tuple(options), int(row["gold"]))
    before, gap, behind = str(row["sentence"]).partition("_")
    if not gap:
        raise ValueError("no _ in the sentence")
    words = (row["option1"], row["option2"])
    options = [Option(before + word, f" {behind.strip()}") for word in words]
    return Choice(tuple(options), int(row["answer"]) - 1)


def arc(row: Record) -> Choice:
    """ARC, in the form of the Hub or of its authors' file."""
    question, answers = row["question"], row.get("choices")
    if isinstance(question, Mapping):
        question, listed = question["stem"], question["choices"]
        answers = {name: [each[name] for each in listed] for name in ("text", "label")}
    assert answers is not None
    gold = list(answers["label"]).index(row["answerKey"])
    return choice(f"Question: {question}\nAnswer:", answers["text"], gold)


def any_choice(row: Record) -> Choice:
    """Records of query, choices and gold, with nothing put between."""
    return choice(str(row["query"]).rstrip(), row["choices"], row["gold"])


def middle_sentence(row: Record) -> Option | None:
    """ROCStories, or the first five sentences of any text: the third is to be filled in."""
    names = next((names for names in _STORIES if names[0] in row), None)
    if names is not None:
        parts = [str(row[name]).strip() for name in names]
    else:
        parts = sentences(row[next((name for name in TEXT_FIELDS if name in row), "text")])[:5]
        if len(parts) < 4:
            return None
    return Option(" ".join(parts[:2]), f" {parts[2]}", f" {' '.join(parts[3:])}")


def trivia(row: Record) -> Question:
    """TriviaQA without its documents."""
    question, answer = str(row.get("question") or row["context"]).strip(), row["answer"]
    given = answer if isinstance(answer, Mapping) else {"value": answer, "aliases": row.get("aliases") or ()}
    answers = dict.fromkeys([given["value"], *given["aliases"]])
    return Question(f"Question: {question}\nAnswer:", tuple(map(str, answers)))


def squad(row: Record) -> Question:
    """SQuAD 1.1: the answer stands in the text."""
    answers = tuple(dict.fromkeys(row["answers"]["text"]))
    if not answers:
        raise ValueError("no answer")
    return Question(f"{row['context'].strip()}\nQuestion: {row['question'].strip()}\nAnswer:", answers)


_STORIES = (
    [f"sentence{number}" for number in range(1, 6)],
    [f"InputSentence{number}" for number in range(1, 5)],
)
_LIKELIEST = Likeliest()


def _without_marks(text: str) -> str:
    return _BRACKETS.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ")


TASKS: Registry[Benchmark[Any]] = Registry(
    "task",
    {
        "lambada": Benchmark(
            records("text, or context and continuation", last_word),
            LastWord(),
            "the last word of a passage, LAMBADA (arXiv:1606.06031)",
            "EleutherAI/lambada_openai:default",
            ("test", "validation"),
        ),
        "hellaswag": Benchmark(
            records("activity_label, ctx_a, ctx_b, endings, label", queried("", hellaswag)),
            _LIKELIEST,
            "how a scene goes on, HellaSwag (arXiv:1905.07830)",
            "Rowan/hellaswag",
        ),
        "piqa": Benchmark(
            records("goal, sol1, sol2, label", queried("\nAnswer:", piqa)),
            _LIKELIEST,
            "which way works, PIQA (arXiv:1911.11641)",
            "baber/piqa",
        ),
        "siqa": Benchmark(
            records("context, question, answerA, answerB, answerC, label", queried("\nA:", siqa)),
            _LIKELIEST,
            "what people do and feel, Social IQa (arXiv:1904.09728)",
            "lighteval/siqa",
        ),
        "winogrande": Benchmark(
            records("sentence, option1, option2, answer", winogrande),
            _LIKELIEST,
            "whom a word means, WinoGrande (arXiv:1907.10641)",
            "allenai/winogrande:winogrande_xl",
        ),
        "arc-easy": Benchmark(
            records("question, choices, answerKey", queried("\nAnswer:", arc)),
            _LIKELIEST,
            "questions of school science, ARC (arXiv:1803.05457)",
            "allenai/ai2_arc:ARC-Easy",
            ("test", "validation"),
        ),
        "arc-challenge": Benchmark(
            records("question, choices, answerKey", queried("\nAnswer:", arc)),
            _LIKELIEST,
            "those that retrieval and co-occurrence get wrong, ARC (arXiv:1803.05457)",
            "allenai/ai2_arc:ARC-Challenge",
            ("test", "validation"),
        ),
        "multiple-choice": Benchmark(
            records("query, choices, gold", any_choice),
            _LIKELIEST,
            "which option goes on from the query, of any file in this form",
        ),
        "infilling": Benchmark(
            records("sentence1 to sentence5, or a text of four sentences or more", middle_sentence),
            Infilled(),
            "the third sentence of a story, given those around it (ROCStories, arXiv:1604.01696)",
        ),
        "triviaqa": Benchmark(
            records("question, answer", trivia),
            Answered(("\n", ".", ",")),
            "questions without a text, TriviaQA (arXiv:1705.03551)",
            "mandarjoshi/trivia_qa:rc.nocontext",
        ),
        "squad": Benchmark(
            records("context, question, answers", squad),
            Answered(),
            "questions about a paragraph, SQuAD 1.1 (arXiv:1606.05250)",
            "rajpurkar/squad",
        ),
        "previous-sentence": Benchmark(
            previous("sentence"), _LIKELIEST, "which sentence stood before the one given, of any texts"
        ),
        "next-sentence": Benchmark(
            following("sentence"), _LIKELIEST, "which sentence stood behind the one given, of any texts"
        ),
        "previous-line": Benchmark(
            previous("line"), _LIKELIEST, "which line stood before the one given, of any texts"
        ),
        "next-line": Benchmark(
            following("line"), _LIKELIEST, "which line stood behind the one given, of any texts"
        ),
    },
)
"""What `textdiffusion evaluate choices` can measure."""
