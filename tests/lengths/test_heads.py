"""Heads on hidden states: what they say, how they are fitted, saved and loaded."""

from pathlib import Path

import pytest
import torch

from textdiffusion.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from textdiffusion.corruptions import Absorbing
from textdiffusion.denoisers import Denoiser
from textdiffusion.errors import CheckpointError, DataError, SettingsError, UnknownNameError
from textdiffusion.language_model import DiffusionLM
from textdiffusion.length_head import HEAD_FILE, save_length_head
from textdiffusion.lengths import HeadReader, cut
from textdiffusion.lengths.fit import HeadFit, Start, fit_head
from textdiffusion.lengths.heads import LENGTH_HEADS, LengthHead, Seen
from textdiffusion.model_settings import ModelSettings

from .known import BEGIN, IS, LENGTH, MASK, A, small_model, tokenizer

CPU = torch.device("cpu")
STARTS = [Start([BEGIN, *[A] * n, IS], n) for n in range(1, 9)] * 5


class Telltale(Denoiser):
    """Hidden states that say the distance to the end at each place, and something else besides."""

    def __call__(self, *args, **options):  # type: ignore[no-untyped-def]
        raise AssertionError("the vocabulary is not asked")

    def hidden(self, xt, t, *, attend=None, positions=None, where):  # type: ignore[no-untyped-def]
        length = (xt == A).sum(1, keepdim=True)
        place = torch.arange(xt.shape[1])[None] - (xt == IS).long().argmax(1, keepdim=True) - 1
        off = (place - length).float() / 4.0
        return torch.stack([off, off.sin(), length.float().log1p().expand_as(off)] * 4, dim=-1)[where]


def fitted(head: str, steps: int = 300) -> tuple[LengthHead, float]:
    settings = HeadFit(head, steps=steps, learning_rate=0.03, held_back=0.2)
    found = fit_head(settings, Telltale(), Absorbing(MASK), STARTS, longest=LENGTH, device=CPU)
    assert found.held_back == 8
    return found.head, found.held_back_loss


def distribution(head: LengthHead, starts: list[Start]) -> torch.Tensor:
    longest = max(len(start.given) for start in starts)
    room = torch.zeros(len(starts), LENGTH, dtype=torch.bool)
    tokens = torch.full((len(starts), LENGTH), MASK)
    for row, start in enumerate(starts):
        tokens[row, : len(start.given)] = torch.tensor(start.given)
        room[row, len(start.given) :] = True
    assert longest < LENGTH
    hidden = Telltale().hidden(tokens, torch.ones(len(starts), 1), where=room)
    return head.ended(Seen(hidden, room))


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_a_head_on_places_learns_where_texts_end(name: str) -> None:
    head, loss = fitted(name)
    assert loss < 0.1
    assert cut(distribution(head, STARTS[:8]), 0.5).tolist() == [n + 1 for n in range(1, 9)]


def test_a_head_on_the_mean_tells_a_length_and_how_sure_it_is() -> None:
    head, loss = fitted("pooled", 600)
    assert loss < 0.05
    ended = distribution(head, STARTS[:8])
    assert bool((ended.diff(dim=1) >= 0.0).all())
    off = cut(ended, 0.5) - torch.arange(2, 10)
    assert int(off.abs().max()) <= 2
    assert bool((cut(ended, 0.9) >= cut(ended, 0.5)).all())


def test_the_spread_is_that_of_what_the_guess_lacks() -> None:
    """All guesses are 0, so that the lengths of the texts are themselves what is lacking."""
    head = LENGTH_HEADS["pooled"](4)
    with torch.no_grad():
        for weight in head.parameters():
            weight.zero_()
    room = torch.ones(4, 6, dtype=torch.bool)
    seen = Seen(torch.zeros(24, 4), room)
    head.settle([(seen, torch.tensor([1, 2, 3, 4]))])
    ended = head.ended(seen)[0]
    assert ended[0] == 0.0 and ended[4] == 1.0
    assert 0.2 < float(ended[2]) < 0.6


def test_the_same_seed_gives_the_same_head() -> None:
    one, other = (fitted("mlp", 5)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_network_as_it_is_can_be_read() -> None:
    """Hidden states at the asked places are those that the vocabulary head would see."""
    lm = small_model()
    tokens = torch.randint(4, 7, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    where = torch.rand(2, LENGTH, generator=torch.Generator().manual_seed(1)) < 0.4
    now = torch.ones(2, 1)
    head = lm.model.get_output_embeddings()
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        hidden = lm.denoiser.hidden(tokens, now, where=where)
        torch.testing.assert_close(head(hidden), lm.denoiser(tokens, now, where=where), atol=1e-5, rtol=1e-4)


# -- model folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(LENGTH_HEADS))
def test_a_head_travels_with_its_model(tmp_path: Path, name: str) -> None:
    lm, head = small_model(), LENGTH_HEADS[name](48)
    settings = ModelSettings(length=LENGTH, learns_end=True, length_head=name)
    plain = Checkpoint(lm.model, tokenizer(), ModelSettings(length=LENGTH, learns_end=True))
    save_checkpoint(tmp_path / "one", Checkpoint(lm.model, tokenizer(), settings, head))
    save_checkpoint(tmp_path / "other", plain)
    save_length_head(tmp_path / "other", settings, head)
    for folder in ("one", "other"):
        loaded = load_checkpoint(str(tmp_path / folder))
        assert loaded.length_head is not None
        again = loaded.length_head.state_dict()
        assert all(torch.equal(again[key], value) for key, value in head.state_dict().items())
        assert not any(weight.requires_grad for weight in loaded.length_head.parameters())
        reader = DiffusionLM(loaded, name="x", device=CPU).length_reader
        assert isinstance(reader, HeadReader)
    save_checkpoint(tmp_path / "one", plain)
    assert not (tmp_path / "one" / HEAD_FILE).exists(), "a head of other weights says nothing"
    assert load_checkpoint(str(tmp_path / "one")).length_head is None


def test_heads_that_are_missing_or_foreign_are_refused(tmp_path: Path) -> None:
    lm = small_model()
    settings = ModelSettings(length=LENGTH, length_head="linear")
    save_checkpoint(tmp_path, Checkpoint(lm.model, tokenizer(), settings, LENGTH_HEADS["linear"](32)))
    with pytest.raises(CheckpointError, match=r"length head of .* fit it again"):
        load_checkpoint(str(tmp_path))
    (tmp_path / HEAD_FILE).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"length head of .* fit it again"):
        load_checkpoint(str(tmp_path))
    (tmp_path / HEAD_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"length head of .* fit it again"):
        load_checkpoint(str(tmp_path))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"held_back": 1.0}, "held_back is 1.0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
    ],
)
def test_fits_that_cannot_work_are_refused(bad: dict[str, float], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        HeadFit(**bad)  # type: ignore[arg-type]


def test_unknown_heads_and_too_few_prompts_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean linear"):
        HeadFit("liner")
    with pytest.raises(DataError, match="1 prompts are too few"):
        fit_head(HeadFit(), Telltale(), Absorbing(MASK), STARTS[:1], longest=LENGTH, device=CPU)
