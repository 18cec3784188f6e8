"""Confidence against accuracy: by hand, of models whose confidence is known, and what is masked."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from lengths.known import BEGIN, MASK, VOCAB, A, B, small_model

from textdiffusion.corruptions import Mixture, Shares
from textdiffusion.data.prompted import Prompted
from textdiffusion.denoisers import Denoiser
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.evaluation.calibration import Guesses, calibration, guess
from textdiffusion.evaluation.documents import Corpus, Windows, read_corpus
from textdiffusion.evaluation.lens import lens
from textdiffusion.language_model import DiffusionLM
from textdiffusion.shapes import Attend, Logits, Positions, Times, Tokens, Where


@dataclass(frozen=True)
class Sure(Denoiser):
    """Says A with the same certainty everywhere."""

    of: float
    blocks: int | None = None
    asked: list[tuple[Tokens, Where]] = field(default_factory=list)

    @property
    def block_size(self) -> int | None:
        return self.blocks

    def __call__(
        self,
        xt: Tokens,
        t: Times,
        *,
        attend: Attend | None = None,
        positions: Positions | None = None,
        where: Where | None = None,
    ) -> Logits:
        assert where is not None
        self.asked.append((xt, where))
        p = torch.zeros(int(where.sum()), VOCAB)
        p[:, A], p[:, B], p[:, MASK] = self.of, 1.0 - self.of, 7.0
        return p.log()


def model(denoiser: Denoiser) -> DiffusionLM:
    lm = small_model(learns_end=False)
    lm.denoiser = denoiser
    return lm


def corpus(lm: DiffusionLM, *texts: str, context: int | None = None) -> Corpus:
    return read_corpus([Prompted(None, text) for text in texts], lm, Windows.of(lm, context), ends=False)


def test_by_hand() -> None:
    sure = [0.05, 0.15, 0.95, 0.95, 0.85, 1.0]
    guesses = Guesses(
        np.array([0, 0, 0, 1, 1, 1]),
        np.array([0.1, 0.1, 0.5, 0.5, 0.5, 0.5]),
        np.array([0.0, 0.2, 0.3, 0.6, 0.9, 1.0]),
        np.array(sure),
        np.array([0.0, 1.0, 1.0, 0.0, 1.0, 1.0]),
    )
    rows = {(row["by"], row["at"]): row for row in calibration(guesses, 0)}
    whole = rows["all", None]
    assert (whole["tokens"], whole["documents"]) == (6, 2)
    assert whole["accuracy"] == pytest.approx(4 / 6) and whole["confidence"] == pytest.approx(np.mean(sure))
    assert whole["overconfidence"] == pytest.approx(np.mean(sure) - 4 / 6)
    # Bins: 0.05 is never right, 0.15 always; 0.95, 0.95 and 1.0 are right twice; 0.85 always.
    error = (0.05 + 0.85 + abs(2.9 - 2.0) + 0.15) / 6
    assert whole["calibration_error"] == pytest.approx(error)
    assert whole["calibration_error_low"] <= error <= whole["calibration_error_high"]
    assert rows["mask_ratio", 0.1]["accuracy"] == 0.5 and rows["mask_ratio", 0.5]["tokens"] == 4
    assert [rows["quarter", at]["tokens"] for at in (1, 2, 3, 4)] == [2, 1, 1, 2]
    assert {at for by, at in rows if by == "confidence"} == {0.0, 0.1, 0.8, 0.9}
    assert "calibration_error" not in rows["confidence", 0.9]


def test_a_model_that_knows_its_chances_is_calibrated() -> None:
    text = "aaab" * 5
    lm = model(Sure(0.75))
    rows = calibration(guess(lm, corpus(lm, text, text), ratios=[1.0]), 0)
    assert rows[0]["accuracy"] == 0.75 and rows[0]["calibration_error"] == pytest.approx(0.0, abs=1e-6)
    proud = model(Sure(0.95))
    rows = calibration(guess(proud, corpus(proud, text, text), ratios=[1.0]), 0)
    assert rows[0]["overconfidence"] == rows[0]["calibration_error"] == pytest.approx(0.2)


def test_what_is_masked() -> None:
    lm, texts = model(Sure(0.9)), ("ab" * 8, "ba=" * 3, "b")
    found = guess(lm, corpus(lm, *texts), ratios=[0.25, 0.5])
    assert [int((found.ratio == share).sum()) for share in (0.25, 0.5)] == [
        4 + 2 + 1,
        8 + 4 + 1,
    ]  # one at least
    assert isinstance(lm.denoiser, Sure)
    for xt, where in lm.denoiser.asked:
        assert torch.equal(xt == MASK, where) and bool((xt[:, 0] == BEGIN).all())
    again = guess(lm, corpus(lm, *texts), ratios=[0.25, 0.5], tokens_at_once=20)
    assert all(np.array_equal(a, b) for a, b in zip(vars(found).values(), vars(again).values(), strict=True))
    assert found.place.min() >= 0.0 and found.place.max() < 1.0


def test_places_go_on_from_window_to_window() -> None:
    lm = model(Sure(0.9))
    found = guess(lm, corpus(lm, "ab" * 20, context=12), ratios=[1.0])
    assert found.place.tolist() == pytest.approx([number / 40 for number in range(40)])


def test_blocks_are_masked_one_by_one_and_nothing_stands_behind() -> None:
    lm = model(Sure(0.9, blocks=4))
    guess(lm, corpus(lm, "abab=abab=abab", "bb"), ratios=[0.5, 1.0], tokens_at_once=1)
    assert isinstance(lm.denoiser, Sure)
    for xt, where in lm.denoiser.asked:
        (places,) = where[0].nonzero(as_tuple=True)
        assert len(set((places // 4).tolist())) == 1
        assert xt.shape[1] <= (int(places[0]) // 4 + 1) * 4


def test_models_without_masks_are_refused() -> None:
    next_token = small_model(block_size=1)
    next_token.model.config.shift = True
    with pytest.raises(IncompatibleError, match="predicts the next token"):
        guess(next_token, corpus(next_token, "ab"))
    maskless = small_model()
    maskless.corruption = Mixture(MASK, VOCAB, Shares(0.0, 1.0, 0.0))
    with pytest.raises(IncompatibleError, match="without masks"):
        guess(maskless, corpus(maskless, "ab"))
    lm = small_model()
    with pytest.raises(SettingsError, match=r"mask ratio 1\.5"):
        guess(lm, corpus(lm, "ab"), ratios=[1.5])


# -- layers ----------------------------------------------------------------------------------------------


def test_the_last_layer_is_the_model_itself() -> None:
    lm = small_model()
    sights = list(lens(lm, "ab[MASK]b[MASK:2]", 2))
    assert [(sight.layer, sight.hole) for sight in sights] == [
        (n, hole) for n in range(3) for hole in range(3)
    ]
    ids = torch.tensor([[BEGIN, A, B, MASK, B, MASK, MASK, *lm.format.ends[:1]]])
    logits = lm.corruption.clean_logits(lm.denoiser(ids, torch.ones(1, 1))[ids == MASK])
    logits[:, lm.format.banned(VOCAB, learns_end=True)] = -torch.inf
    p = logits.detach().softmax(-1)
    for sight, row in zip(sights[-3:], p, strict=True):
        assert sight.probabilities == pytest.approx(row.topk(2).values.tolist(), abs=1e-5)
        assert sight.from_last == pytest.approx(0.0, abs=1e-9)
        assert sight.entropy == pytest.approx(float(torch.special.entr(row).sum()), abs=1e-4)
        assert set(sight.tokens) <= {"a", "b", "=", "[EOS]", "[PAD]"}
    assert all(sight.from_last > 0.0 for sight in sights[:-3])


def test_a_text_without_holes_has_nothing_to_look_at() -> None:
    with pytest.raises(SettingsError, match="no hole"):
        list(lens(small_model(), "ab", 1))
    with pytest.raises(SettingsError, match="at least 1 token"):
        list(lens(small_model(), "[MASK]", 0))
