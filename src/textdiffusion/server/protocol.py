"""Requests and answers in OpenAI's form, and what this server adds to them."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic_core import core_schema

from .options import option_fields

MOST_LIKELY = 20
"""Most tokens that are shown of a place."""
MOST_STOPS = 16


class Only:
    """A field of OpenAI's that is taken at the values that ask for nothing, and else refused."""

    def __init__(self, why: str, *allowed: Any) -> None:
        """`why` no other value is possible."""
        self.why, self.allowed = why, [None, *allowed]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"enum": self.allowed}

    def _checked(self, value: Any) -> None:
        if isinstance(value, bool) or value not in self.allowed:
            raise ValueError(f"{value!r:.40} is not possible here: {self.why}; leave it out")


_NO_TOOLS = "this server calls no tools"
_TEXT_ALONE = "there is text alone"
Penalty = Annotated[Any, Only("texts are not written one token after the other; repetition_penalty is", 0)]
NoTools = Annotated[Any, Only(_NO_TOOLS, [])]
NoChoice = Annotated[Any, Only(_NO_TOOLS, "none", "auto")]
NotRead = Annotated[Any, Field(description="Not read.")]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Stop = Annotated[str, Field(min_length=1)]
Id = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Body(BaseModel):
    """A part of a request: no key that is not known, and no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StreamOptions(Body):
    """What a stream ends with."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Asked(Body):
    """What all requests have in common."""

    model: str | None = Field(None, description="The model that is served, whose name may be left out.")
    n: Positive | None = Field(None, description="Texts for each prompt; 1 when left out.")
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 2**20)] | None = Field(
        None,
        description="Of the first text; each further one takes the next. Drawn, and told, when left out.",
    )
    stop: Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS)] | None = Field(
        None, description="Where a text is cut."
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stream_steps: bool | None = Field(None, description="Stream the steps of the denoising too.")
    alternatives: Annotated[int, Field(ge=0, le=MOST_LIKELY)] | None = Field(
        None, description="Likely tokens of each place that the steps show."
    )
    label: str | None = Field(None, description="What the server's classifier steers the text to.")
    user: NotRead = None
    metadata: NotRead = None
    frequency_penalty: Penalty = None
    presence_penalty: Penalty = None
    logit_bias: Annotated[Any, Only("tokens have no bias here; ban and require are", {})] = None

    @model_validator(mode="before")
    @classmethod
    def _whole_characters(cls, data: Any) -> Any:
        """Refuse halves of characters, which JSON can spell and no tokenizer can read."""
        try:
            if isinstance(data, dict):
                json.dumps(data, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError):
            raise ValueError("a text holds half of a surrogate pair, or values lie too deep") from None
        return data

    @property
    def options(self) -> dict[str, Any]:
        """The settings of the generation that were given."""
        given = {name: self.__dict__[name] for name in OPTIONS}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def tells_usage(self) -> bool:
        """Whether a stream is to end with what it cost."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def stops(self) -> Sequence[str]:
        """What cuts a text."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


class _Completion(Asked):
    prompt: str | list[str] | list[Id] | list[list[Id]] = Field(description="Text, texts, or their ids.")
    suffix: str | None = Field(None, description="What follows the text; it is then filled in between.")
    max_tokens: Positive | Literal["auto"] | None = Field(
        None, description="New tokens; as many as the model expects with auto, as it holds when left out."
    )
    echo: bool | None = Field(None, description="Give the prompt back with the text.")
    logprobs: Annotated[int, Field(ge=0, le=MOST_LIKELY)] | None = None
    best_of: Annotated[Any, Only("all texts are given back; n is how many", 1)] = None


class TextPart(Body):
    """A part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """What one side has said."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = Field(None, description="Not read.")
    refusal: NotRead = None
    annotations: NotRead = None
    audio: Annotated[Any, Only(_TEXT_ALONE)] = None
    tool_calls: NoTools = None
    function_call: NoTools = None

    @property
    def plain(self) -> Mapping[str, str]:
        """The message as conversations have it."""
        said = self.content
        text = said if isinstance(said, str) else "".join(part.text for part in said)
        return {"role": "system" if self.role in _OF_THE_SYSTEM else self.role, "content": text}


_OF_THE_SYSTEM = frozenset(("system", "developer"))


class SchemaFormat(Body):
    """A schema with a name."""

    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    """What an answer looks like: text, or JSON that fits a schema."""

    type: Literal["text", "json_schema"]
    json_schema: SchemaFormat | None = None


class _Chat(Asked):
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Positive | Literal["auto"] | None = Field(
        None, description="New tokens; as the model reads them, or 64, when left out."
    )
    max_completion_tokens: Positive | None = Field(None, description="The same by its newer name.")
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LIKELY)] | None = None
    tools: NoTools = None
    tool_choice: NoChoice = None
    parallel_tool_calls: NotRead = None
    functions: NoTools = None
    function_call: NoChoice = None
    modalities: Annotated[Any, Only(_TEXT_ALONE, ["text"])] = None
    audio: Annotated[Any, Only(_TEXT_ALONE)] = None
    prediction: Annotated[Any, Only("give the text to /v1/fill instead")] = None
    web_search_options: Annotated[Any, Only("this server reads no web")] = None
    reasoning_effort: NotRead = None
    verbosity: NotRead = None
    service_tier: NotRead = None
    store: NotRead = None
    safety_identifier: NotRead = None
    prompt_cache_key: NotRead = None


class _Fill(Asked):
    text: str | None = Field(
        None, description="With holes: [MASK] and ____ are one token, [MASK:3] is three."
    )
    tokens: Annotated[list[Id | None], Field(min_length=1)] | None = Field(
        None, description="The same as ids, null for each token of a hole."
    )
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LIKELY)] | None = None


OPTIONS = option_fields()
"""The settings of a generation, by name; a request has a field for each."""


def _with_options(name: str, about: str, base: type[Asked]) -> Any:
    fresh = {key: value for key, value in OPTIONS.items() if key not in base.model_fields}
    if len(fresh) < len(OPTIONS):
        raise TypeError(f"settings {sorted(OPTIONS.keys() - fresh)} are fields of {base.__name__} already")
    return create_model(name, __base__=base, __doc__=about, __module__=__name__, **fresh)  # type: ignore[call-overload]


CompletionRequest = _with_options(
    "CompletionRequest", "A prompt that goes on, or a gap to fill.", _Completion
)
ChatRequest = _with_options("ChatRequest", "A conversation that is to be answered.", _Chat)
FillRequest = _with_options("FillRequest", "A text with holes, as text or as ids.", _Fill)
