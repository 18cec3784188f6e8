"""How much an answer has in common with the right one."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from ...errors import SettingsError
from ..words import WORD

ROUGE = ("rouge1", "rouge2", "rougeL")
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Words:
    """Words for `rouge-score`: in lower case, Chinese and Japanese character by character."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return WORD.findall(text.lower())


def rouge_scorer() -> Callable[[str, str], list[float]]:
    """A function from reference and answer to the F1 of ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004).

    Raises:
        SettingsError: the package `rouge-score` is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise SettingsError(
            "ROUGE needs an extra package: pip install 'textdiffusion[evaluation]'."
        ) from None
    scorer = RougeScorer(list(ROUGE), tokenizer=Words())

    def measure(reference: str, answer: str) -> list[float]:
        found = scorer.score(reference, answer)
        return [float(found[name].fmeasure) for name in ROUGE]

    return measure


def normalised(text: str) -> str:
    """The text as SQuAD compares it (arXiv:1606.05250): no case, punctuation, articles or doubled spaces."""
    bare = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", bare).split())


def exact_match(answer: str, right: Sequence[str]) -> float:
    """1 if the answer is one of the right ones, else 0, both normalised."""
    return float(normalised(answer) in {normalised(each) for each in right})


def f1(answer: str, right: Sequence[str]) -> float:
    """The best F1 of the words of the answer against those of a right one, normalised (arXiv:1606.05250)."""
    return max((_f1(normalised(answer).split(), normalised(each).split()) for each in right), default=0.0)


def _f1(answer: list[str], right: list[str]) -> float:
    common = sum((Counter(answer) & Counter(right)).values())
    if not answer or not right:
        return float(answer == right)
    return 2.0 * common / (len(answer) + len(right))
