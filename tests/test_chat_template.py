"""Conversations as ids: what is given, what is answered, and templates that cannot say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talk import CHATML, SAID, STOP, TAGGED, TURNS, talker

from textdiffusion.chat_template import DEFAULT_TEMPLATE, ChatTemplate
from textdiffusion.data.conversations import Message, Turns
from textdiffusion.errors import IncompatibleError
from textdiffusion.tokens import TextFormat

TEMPLATES = {
    name: ChatTemplate(talker(source)) for name, source in {"": "", "c": CHATML, "t": TAGGED}.items()
}
PLAIN, IM, MARKED = TEMPLATES.values()

every_template = pytest.mark.parametrize("template", TEMPLATES.values(), ids=["default", "chatml", "tagged"])


def said(template: ChatTemplate, ids: list[int]) -> str:
    """Ids as text, special tokens too."""
    text = template.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def test_plain_lines_for_a_tokenizer_without_a_template() -> None:
    before, answer = PLAIN.answered(TURNS[:5])
    assert PLAIN.source == DEFAULT_TEMPLATE
    assert said(PLAIN, before) == (
        "[BOS]System: Be kind.\nUser: Hello?\nAssistant: Hello![EOS]\nUser: Who are you?\nAssistant:"
    )
    assert said(PLAIN, answer) == " A fox.[EOS]"
    assert answer[-1] == PLAIN.end_id == PLAIN.tokenizer.eos_token_id


def test_by_rendering_where_nothing_is_marked() -> None:
    before, answer = IM.answered(TURNS[1:3])
    assert said(IM, before) == "<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\n"
    assert said(IM, answer) == "Hello!<|im_end|>", "no line break behind the end"
    assert answer[-1] == IM.end_id == IM.tokenizer.convert_tokens_to_ids(STOP)


def test_by_marks_where_there_are_some() -> None:
    before, answer = MARKED.answered(TURNS[1:3])
    assert said(MARKED, before) == "2 messages\n<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\n"
    assert said(MARKED, answer) == "Hello!<|im_end|>", "the end is learnt though it is not marked"


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Co"]), max_size=8)


@every_template
@given(texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3), system=st.booleans())
def test_what_stands_before_an_answer_is_what_is_asked_in_chat(
    template: ChatTemplate, texts: list[tuple[str, str]], system: bool
) -> None:
    turns: Turns = TURNS[:1] if system else ()
    for question, answer in texts:
        turns = (*turns, Message("user", question), Message("assistant", answer))
        before, ids = template.answered(turns)
        assert before == template.prompt(turns[:-1])
        assert ids[-1] == template.end_id
        assert said(template, ids).strip().removesuffix(said(template, ids[-1:])).strip() == answer.strip()


@every_template
def test_who_spells_special_tokens_out_gets_ordinary_ones(template: ChatTemplate) -> None:
    specials = template.tokenizer.all_special_tokens
    plain = (Message("user", "x"), Message("assistant", "y"))
    odd = (Message("user", "".join(specials) + "x"), Message("assistant", f"y{specials[0]}z"))

    def special_ids(turns: Turns) -> list[int]:
        ids = sum(template.answered(turns), list[int]())
        return [token for token in ids if token in template.tokenizer.all_special_ids]

    assert special_ids(odd) == special_ids(plain)
    assert f"y{specials[0]}z" in said(template, template.answered(odd)[1])


def test_the_oldest_turns_are_left_out_where_there_is_no_room() -> None:
    before, answer = PLAIN.answered(TURNS[:5])
    whole = len(before) + len(answer)
    assert PLAIN.answered_within(TURNS[:5], whole) == (before, answer)
    short = PLAIN.answered((TURNS[0], *TURNS[3:5]))
    assert PLAIN.answered_within(TURNS[:5], whole - 1) == short
    assert PLAIN.answered_within(TURNS[:5], len(short[0]) + len(short[1]) - 1) is None
    assert PLAIN.prompt_within(TURNS, 10_000) == PLAIN.prompt(TURNS)
    assert PLAIN.prompt_within(TURNS, 1) == PLAIN.prompt((TURNS[0], TURNS[5]))


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ messages | length }}" + CHATML, "otherwise than with the answer"),
        (CHATML.replace("<|im_end|>", ""), "no special token"),
        ("{{ raise_exception('no system turns here') }}", "no system turns here"),
        ("{% for m in messages %}", "cannot write"),
        (
            "{% if false %}{% generation %}{% endgeneration %}{% endif %}",
            "marks no answer|cannot write|other",
        ),
    ],
)
def test_templates_that_do_not_tell_answers_are_refused(template: str, why: str) -> None:
    tokenizer = talker(template)
    with pytest.raises(IncompatibleError, match=why):
        ChatTemplate(tokenizer).answered(TURNS[:3])
    assert TextFormat.of(tokenizer).turn_end_id is None, "a model of texts loads all the same"


def test_the_end_of_a_turn_ends_a_text() -> None:
    plain, chat = TextFormat.of(talker()), TextFormat.of(talker(CHATML))
    assert plain.ends == (plain.end_id,) and plain.turn_end_id is None
    assert chat.ends == (chat.end_id, IM.end_id)
    assert chat.written([5, 6, IM.end_id or 0, 7]) == [5, 6]
    assert IM.end_id not in chat.banned(400, learns_end=True)


def test_the_messages_are_those_of_a_row() -> None:
    assert [message.content for message in TURNS] == [message["content"] for message in SAID]
