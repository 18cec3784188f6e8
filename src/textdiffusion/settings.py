"""Frozen dataclasses from YAML, JSON and back: the one reader of recipes, checkpoints and requests."""

import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from .errors import SettingsError
from .registry import did_you_mean

T = TypeVar("T")


def from_mapping(cls: type[T], data: Any, *, where: str = "") -> T:
    """An object of the dataclass `cls` whose fields are the entries of the mapping `data`, or the defaults.

    Raises:
        SettingsError: an unknown key (the nearest is offered), a value of another type, or a refused value.
    """
    if not isinstance(data, Mapping):
        raise SettingsError(f"{where.rstrip('.: ') or cls.__name__}: expected keys and values, got {data!r}.")
    hints = typing.get_type_hints(cls)
    known = {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    values = {}
    for raw, value in data.items():
        name, place = str(raw).replace("-", "_"), f"{where}{raw}"
        if name not in known:
            listed = f"Known here: {', '.join(known)}." if known else "There is nothing to set here."
            raise SettingsError(f"unknown key {place!r}.{did_you_mean(name, known)} {listed}")
        values[name] = _convert(known[name], value, place)
    return cls(**values)


def to_mapping(settings: Any) -> dict[str, Any]:
    """The fields as plain values for YAML or JSON; reads back to an equal object."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return to_mapping(value)
        if isinstance(value, tuple | list):
            return [plain(item) for item in value]
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        return str(value) if isinstance(value, Path) else value

    return {f.name: plain(settings.__dict__[f.name]) for f in dataclasses.fields(settings) if f.init}


def check_at_least_one(settings: Any, *names: str) -> None:
    """Refuse counts below 1 in these fields; None, which leaves a choice open, passes.

    Raises:
        SettingsError: one of them is below 1.
    """
    for name in names:
        value = settings.__dict__[name]
        if value is not None and value < 1:
            raise SettingsError(f"{name} is {value}; it must be at least 1.")


@cache
def field_docs(cls: type) -> Mapping[str, str]:
    """The docstring under each field of a class and its bases; none where the source is not at hand."""
    found: dict[str, str] = {}
    for base in filter(dataclasses.is_dataclass, cls.__bases__):
        found |= field_docs(base)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except OSError:
        return found
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    for pair in pairwise(body):
        match pair:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = inspect.cleandoc(text).replace("\n", " ")
    return found


def read_mapping(path: Path) -> dict[str, Any]:
    """The top-level keys and values of a YAML or JSON file (JSON is YAML, but for tabs between its parts).

    Raises:
        SettingsError: there is no such file, or it does not hold keys and values.
    """
    import yaml  # loaded only when a file is read

    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.safe_load(text.expandtabs() if path.suffix == ".json" else text)
    except FileNotFoundError:
        raise SettingsError(f"no settings file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}.") from None
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise SettingsError(f"{path} is no valid YAML: {line}.") from None
    if not isinstance(data, dict):
        raise SettingsError(f"{path} must hold keys and values, not {type(data).__name__}.")
    return data


def _convert(kind: Any, value: Any, place: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, place)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return value if isinstance(value, kind) else from_mapping(kind, value, where=f"{place}.")
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], item, place) for item in value)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {str(key): _convert(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, str):  # YAML reads 1e-3 as a string
        try:
            return float(value)
        except ValueError:
            raise SettingsError(f"{place}: expected a number, got {value!r}.") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    true_for_int = kind is int and isinstance(value, bool)
    if kind is Any or (isinstance(kind, type) and isinstance(value, kind) and not true_for_int):
        return value
    wanted = kind.__name__ if isinstance(kind, type) else str(kind)
    raise SettingsError(f"{place}: expected {wanted}, got {value!r}.")


def _convert_union(choices: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in choices:
        return None
    kinds = [choice for choice in choices if choice is not type(None)]
    for kind in kinds[:-1]:
        try:
            return _convert(kind, value, place)
        except SettingsError:
            continue
    return _convert(kinds[-1], value, place)
