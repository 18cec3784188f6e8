"""The settings of a generation as fields of a request, read off the dataclasses that hold them."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from ..generation import Decoding
from ..samplers import SAMPLERS, setting_fields
from ..settings import field_docs

_WHOLE = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
_OWN: Mapping[str, Any] = {"json_schema": dict[str, Any]}
"""Types that differ in a request: a schema is given as such, and never as the name of a file."""
_NOT_OURS = {"settings"}


def option_fields() -> dict[str, tuple[Any, Any]]:
    """A field for each setting of `Decoding` and of every sampler; all may be left out."""
    own = {entry.name: Decoding for entry in dataclasses.fields(Decoding) if entry.name not in _NOT_OURS}
    homes: dict[str, type] = {}
    for recipe in SAMPLERS.values():
        homes |= {name: cls for name, (cls, _) in setting_fields(recipe.sampler).items()}
    found: dict[str, tuple[Any, Any]] = {}
    for name, cls in (homes | own).items():
        hint = _OWN.get(name) or _in_json(typing.get_type_hints(cls)[name])
        found[name] = (hint | None, Field(None, description=field_docs(cls).get(name)))
    return found


def _in_json(hint: Any) -> Any:
    """The type that a setting has in a body; None, which is nothing said, left out."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [_in_json(part) for part in parts if part is not type(None)]
        return typing.Union[tuple(kinds)]  # noqa: UP007 - of a list
    if origin is tuple:
        return list[_in_json(parts[0])]  # type: ignore[misc]
    return _WHOLE if hint is int else hint
