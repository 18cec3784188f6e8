"""Special ids, documents, prompts and templates with holes."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFC, BertNormalizer, Lowercase, Sequence
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from textdiffusion.errors import IncompatibleError, SettingsError
from textdiffusion.tokens import TextFormat, ensure_mask, name_mask
from textdiffusion.training.network import new_network
from textdiffusion.training.recipe import TrainingRecipe
from textdiffusion.training.tokenizer import SPECIAL, train_tokenizer

SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TOKENIZER = train_tokenizer(["the capital of France is Paris and the sea is red"] * 9, 320, longest=64)
FORMAT = TextFormat.of(TOKENIZER)


def like_gpt2() -> PreTrainedTokenizerFast:
    """A tokenizer whose one special token begins and ends texts."""
    inner = train_tokenizer(["the cat sat on the mat"], 280, longest=32)
    assert isinstance(inner, PreTrainedTokenizerFast)
    backend = Tokenizer.from_str(inner.backend_tokenizer.to_str().replace("[MASK]", "[SPARE]"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="[EOS]", eos_token="[EOS]")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_document_comes_back_between_begin_and_end(text: str) -> None:
    (ids,) = FORMAT.document([text])
    assert (ids[0], ids[-1]) == (FORMAT.begin_id, FORMAT.end_id)
    assert FORMAT.decode(ids) == text
    assert FORMAT.prompt(text) == ids[:-1]
    assert not set(ids[1:-1]) & FORMAT.special_ids


def test_a_text_that_spells_special_tokens_has_none() -> None:
    (ids,) = FORMAT.document(["a [MASK] b [EOS][PAD] c"])
    assert not set(ids[1:-1]) & FORMAT.special_ids
    assert FORMAT.decode(ids) == "a [MASK] b [EOS][PAD] c"
    assert TOKENIZER("[MASK]", add_special_tokens=False)["input_ids"] == [
        FORMAT.mask_id
    ]  # as before elsewhere


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("The [MASK] of France is [MASK:3].", [1, 3]),
        ("The ____ is __", [1, 1]),
        ("[MASK:2] sea", [2]),
        ("[MASK][MASK]", [2]),
        ("a_b is [MASK]", [1]),
    ],
)
def test_holes_are_masked_and_the_rest_is_the_text(text: str, sizes: list[int]) -> None:
    ids, holes = FORMAT.template(text)
    assert len(ids) == len(holes)
    assert sum(holes) == sum(sizes)
    assert [token for token, hole in zip(ids, holes, strict=True) if hole] == [FORMAT.mask_id] * sum(sizes)
    assert FORMAT.mask_id not in [token for token, hole in zip(ids, holes, strict=True) if not hole]
    runs = [len(run) for run in "".join("x" if hole else " " for hole in holes).split()]
    assert runs == sizes
    assert (ids[0], ids[-1]) == (FORMAT.begin_id, FORMAT.end_id)


def test_a_hole_takes_the_space_before_it() -> None:
    ids, holes = FORMAT.template("the ____ sea")
    given_ = [token for token, hole in zip(ids, holes, strict=True) if not hole]
    assert FORMAT.decode(given_) == "the sea"


def like_bert() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer that lower-cases and splits Chinese characters, as BERT's do."""
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"a,.!()好你世界大地。",
        "the",
        "cat",
        "dog",
        "##s",
        "ran",
    ]
    backend = Tokenizer(WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    backend.decoder = WordPieceDecoder(cleanup=False)
    names = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("你好[MASK]世界[MASK:2]。", ["大", "地", "大"], "你好大世界地大。"),
        ("the [MASK] ran, (____)!", ["cat", "dog"], "the cat ran, (dog)!"),
        ("The  Cat’s [MASK:2] RAN", ["dog", "##s"], "The  Cat’s dogs RAN"),
        ("[MASK] [MASK] Ran[MASK]", ["the", "cat", "##s"], "the cat Rans"),
    ],
)
def test_a_wordpiece_text_stays_as_given_but_for_its_holes(
    text: str, words: list[str], expected: str
) -> None:
    tokenizer = like_bert()
    ids = tokenizer.convert_tokens_to_ids(words)
    assert isinstance(ids, list)
    assert tokenizer.unk_token_id not in ids
    assert TextFormat.of(tokenizer).filled(text, ids) == expected


@pytest.mark.parametrize(
    ("text", "pieces", "expected"),
    [
        ("The [MASK] is\u00a0red,  (____)!", [" sea", "ran"], "The sea is\u00a0red,  (ran)!"),
        ("[MASK] sea[MASK:1]", ["the", " is"], "the sea is"),
        ("é: [MASK][MASK] [MASK]e\u0301", ["é", " is"], "é:é ise\u0301"),
    ],
)
def test_a_text_of_our_own_tokenizer_stays_as_given_but_for_its_holes(
    text: str, pieces: list[str], expected: str
) -> None:
    ids = [token for piece in pieces for token in FORMAT.prompt(piece)[1:]]
    assert len(ids) == sum(FORMAT.template(text)[1])
    assert FORMAT.filled(text, ids) == expected


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="_["), min_size=1), st.booleans())
def test_what_was_given_is_cut_without_loss(text: str, normalized: bool) -> None:
    backend = Tokenizer.from_str(TOKENIZER.backend_tokenizer.to_str())
    if normalized:
        backend.normalizer = Sequence([NFC(), Lowercase()])
    form = TextFormat.of(PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL))
    pieces = form.given(text, holes=False)
    assert len(pieces) == len(form.prompt(text))
    assert "".join(pieces) == text
    ids, holes = form.template(f"{text}[MASK:2]{text}")
    pieces = form.given(f"{text}[MASK:2]{text}", holes=True)
    assert len(pieces) == len(ids) - sum(holes)
    assert "".join(pieces) == text.removesuffix(" ") + text


def test_pieces_of_what_was_given_are_those_of_its_tokens() -> None:
    assert TextFormat.of(like_bert()).given("The  Cat [MASK] RAN.", holes=True) == [
        "",
        "The  ",
        "Cat",
        " RAN",
        ".",
        "",
    ]
    assert FORMAT.given("the sea月", holes=False) == ["", "the", " sea", "", "", "月"]


@pytest.mark.parametrize("text", ["", "no hole", "one_underscore", "[MASK:0]", "[mask]"])
def test_texts_without_holes_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="hole"):
        FORMAT.template(text)


def test_written_stops_at_the_end_and_banned_ids_are_what_is_no_text() -> None:
    end = FORMAT.end_id
    assert end is not None
    assert FORMAT.written([7, 8, end, 9, end]) == [7, 8]
    assert FORMAT.written([7, 8]) == [7, 8]
    size = len(TOKENIZER)
    assert set(FORMAT.banned(size + 3, learns_end=False)) == FORMAT.special_ids | {size, size + 1, size + 2}
    assert set(FORMAT.banned(size, learns_end=True)) == FORMAT.special_ids - {end}


def test_a_tokenizer_without_mask_or_with_a_shared_one_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="no mask token"):
        TextFormat.of(like_gpt2())
    shared = like_gpt2()
    shared.mask_token = shared.eos_token
    with pytest.raises(IncompatibleError, match="also another special token"):
        TextFormat.of(shared)


@pytest.mark.parametrize("tied", [True, False])
def test_ensure_mask_gives_a_vector_at_the_mean(tied: bool) -> None:
    tokenizer = like_gpt2()
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), tie_word_embeddings=tied, **SHAPE)
    model = BertForMaskedLM(config)
    table = model.get_input_embeddings().weight.detach().clone()
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear)
    before = head.weight.detach().clone()
    assert ensure_mask(model, tokenizer)
    mask = tokenizer.mask_token_id
    assert mask == len(tokenizer) - 1 == len(table)
    assert model.config.vocab_size == len(table) + 1
    grown, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    assert isinstance(head, nn.Linear)
    assert torch.equal(grown[:mask], table)
    torch.testing.assert_close(grown[mask], table.mean(0))
    assert (head.weight is grown) is tied
    torch.testing.assert_close(head.weight[mask], before.mean(0))
    ids = torch.tensor([[1, mask]])
    assert model(input_ids=ids).logits.shape[-1] == len(tokenizer)
    assert not ensure_mask(model, tokenizer)
    assert TextFormat.of(tokenizer).mask_id == mask


def test_a_new_network_knows_the_mask_that_its_tokenizer_lacked() -> None:
    tokenizer = like_gpt2()
    network = new_network(TrainingRecipe(network=SHAPE), tokenizer)
    assert network.config.mask_token_id == tokenizer.mask_token_id is not None
    assert network.config.vocab_size % 8 == 0
    assert network.config.vocab_size >= len(tokenizer)


@pytest.mark.parametrize("bad", [{"hiden_size": 4}, {"hidden_size": "big"}, {"hidden_size": 15}])
def test_networks_that_cannot_be_built_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as caught:
        new_network(TrainingRecipe(network=bad), TOKENIZER)
    assert "\n" not in str(caught.value)
    assert "hid" in str(caught.value)


# -- fingerprints ----------------------------------------------------------------------------------------


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    return TextFormat.of(tokenizer).fingerprint()


def test_a_fingerprint_is_that_of_the_ids(tmp_path: Path) -> None:
    """A copy has it, and so has one with another mask; another text, begin or spelling changes it."""
    one, other, word = like_gpt2(), like_gpt2(), like_gpt2()
    one.add_special_tokens({"mask_token": "[MASK]"})
    other.add_special_tokens({"mask_token": "<hidden>", "pad_token": "<filler>"})
    name_mask(word, word.convert_tokens_to_ids("c"))
    assert fingerprint(word) == fingerprint(one)
    one.save_pretrained(tmp_path)
    assert fingerprint(one) == fingerprint(other) == fingerprint(AutoTokenizer.from_pretrained(tmp_path))
    assert fingerprint(TOKENIZER) != fingerprint(one)

    lower = Tokenizer.from_str(one.backend_tokenizer.to_str())
    lower.normalizer = Lowercase()
    special = {"bos_token": "[EOS]", "eos_token": "[EOS]", "mask_token": "[MASK]"}
    assert fingerprint(PreTrainedTokenizerFast(tokenizer_object=lower, **special)) != fingerprint(one)
    special.pop("bos_token")
    endless = PreTrainedTokenizerFast(tokenizer_object=one.backend_tokenizer, **special)
    assert fingerprint(endless) != fingerprint(one)
