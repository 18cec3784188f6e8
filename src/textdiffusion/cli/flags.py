"""Flags read off dataclasses: a field is a flag, its docstring the help, its type what is read."""

import argparse
import dataclasses
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from ..errors import SettingsError
from ..registry import did_you_mean
from ..settings import field_docs

T = TypeVar("T")

TEXT = "text"
"""Name under which `Parser.read` gives the text that stands among the flags."""

REPEATED: Mapping[str, Any] = {"action": "append"}
"""A flag of several values is given once for each, so that a text may follow it."""
IN_A_ROW: Mapping[str, Any] = {"nargs": "*", "action": "extend"}
"""A flag of several values is followed by all of them, and may be given again."""


class Parser(argparse.ArgumentParser):
    """Parser that knows only what was really given, and whose errors are ours."""

    def __init__(
        self,
        prog: str,
        about: str,
        *,
        takes: str = "",
        tuples: Mapping[str, Any] = REPEATED,
        add_help: bool = True,
    ) -> None:
        """Name the command and say what it does.

        `takes` is the text that stands among the flags, as the help shows it; `tuples` says how flags of
        several values are written.
        """
        super().__init__(
            prog,
            usage=" ".join(filter(None, [prog, takes and f"[{takes}]", "[options]"])),
            description=about,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32),
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
            add_help=add_help,
        )
        self.takes, self.tuples = takes, tuples
        self.flags = ["--help"]

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong as a SettingsError, instead of printing and leaving."""
        end = "" if message.endswith((".", "?")) else "."
        raise SettingsError(f"{message}{end} See `{self.prog} --help`.")

    def add_fields(self, cls: type, *, title: str | None = None, skip: Collection[str] = ()) -> None:
        """Add a flag for each field of a dataclass, under a heading of their own where one is given."""
        group = self if title is None else self.add_argument_group(title)
        hints, texts = typing.get_type_hints(cls), field_docs(cls)
        for entry in dataclasses.fields(cls):
            if entry.name not in skip:
                self._add(group, entry, hints[entry.name], texts.get(entry.name, ""), _default(entry))

    def add_setting(self, group: Any, cls: type, name: str, value: Any) -> None:
        """Add the field `name` of a dataclass, whose value when left out is `value`."""
        (entry,) = (entry for entry in dataclasses.fields(cls) if entry.name == name)
        self._add(group, entry, typing.get_type_hints(cls)[name], field_docs(cls).get(name, ""), value)

    def read(self, argv: Sequence[str], *, elsewhere: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What was given, by field, and under `TEXT` the text among the flags.

        All behind a lone `--` is text. `elsewhere` says where flags belong that this call does not take.

        Raises:
            SettingsError: an unknown flag, a missing value, or a value of another type.
        """
        end = argv.index("--") if "--" in argv else len(argv)
        known, rest = self.parse_known_args([_hyphened(word) for word in argv[:end]])
        unknown = next(
            (word for word in rest if word.startswith("-") and " " not in word and word != "-"), None
        )
        if unknown is not None:
            flag = unknown.partition("=")[0]
            hint = (elsewhere or {}).get(flag) or did_you_mean(flag, self.flags)
            self.error(f"unknown flag {flag}.{hint}")
        texts = [*rest, *argv[end + 1 :]]
        if len(texts) > bool(self.takes):
            self.error(f"{texts[-1]!r} is one word too many: put a text of several words in quotes")
        return vars(known) | ({TEXT: texts[0]} if texts else {})

    def _add(self, group: Any, entry: Any, hint: Any, text: str, value: Any) -> None:
        flag, kind, words = f"--{entry.name.replace('_', '-')}", *_bare(hint)
        nothing = value is None or value is False or value in ("", (), {})
        default = "." if nothing else f" (default: {value})."
        help_text = (text.rstrip(".") + default).replace("%", "%%")
        if kind is bool:
            group.add_argument(flag, dest=entry.name, action="store_true", help=help_text)
            no = f"--no-{flag[2:]}"  # takes back what a recipe says
            group.add_argument(no, dest=entry.name, action="store_false", help=argparse.SUPPRESS)
        else:
            several = typing.get_origin(kind) is tuple
            kind = typing.get_args(kind)[0] if several else kind
            read, shown = _reader(kind, words), _METAVARS.get(kind)
            more = self.tuples if several else {}
            group.add_argument(flag, dest=entry.name, type=read, metavar=shown, help=help_text, **more)
        self.flags.append(flag)


def own(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the given values that are fields of the dataclass."""
    names = {entry.name for entry in dataclasses.fields(cls)}
    return {name: value for name, value in given.items() if name in names}


def rest(given: Mapping[str, Any], classes: Collection[type]) -> dict[str, Any]:
    """Those of the given values that are a field of none of the dataclasses, and no text."""
    mine = {TEXT}.union(*(own(cls, given) for cls in classes))
    return {name: value for name, value in given.items() if name not in mine}


def build(cls: type[T], given: Mapping[str, Any]) -> T:
    """An object of the dataclass from what was given; the rest keeps its defaults."""
    return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in own(cls, given).items()})


def _hyphened(word: str) -> str:
    """A flag such as `--top_k=5` as `--top-k=5`; other words as they are."""
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if word.startswith("--") else word


def _default(entry: Any) -> Any:
    if entry.default_factory is not dataclasses.MISSING:
        return entry.default_factory()
    return None if entry.default is dataclasses.MISSING else entry.default


def _bare(hint: Any) -> tuple[Any, Mapping[str, Any]]:
    """The type alone, and words that may stand for other values: those of a Literal, and none for None."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return typing.get_origin(hint) if typing.get_origin(hint) is Mapping else hint, {}
    kinds, words = list[Any](), dict[str, Any]()
    for part in typing.get_args(hint):
        if part is type(None):
            words["none"] = None
        elif typing.get_origin(part) is typing.Literal:
            words |= {word: word for word in typing.get_args(part)}
        else:
            kinds.append(part)
    return _bare(kinds[0])[0], words


def _reader(kind: Any, words: Mapping[str, Any]) -> Callable[[str], Any]:
    read = _READERS.get(kind, str)

    def reader(text: str) -> Any:
        # None takes back what a recipe or a checkpoint says; for a text it is a word like any other.
        if read is not str and text.lower() in words:
            return words[text.lower()]
        try:
            return read(text)
        except argparse.ArgumentTypeError as error:
            others = [word for word, value in words.items() if value is not None]
            hint = f"; {' or '.join(others)} would do too" if others else ""
            raise argparse.ArgumentTypeError(f"{error}{hint}") from None

    return reader


def _whole(text: str) -> int:
    size = _SIZES.get(text[-1:].lower(), 1)
    try:
        number: int | Decimal = int(text) if size == 1 else Decimal(text[:-1]) * size
        if number == int(number):
            return int(number)
        raise ValueError
    except (ValueError, ArithmeticError):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _mapping(text: str) -> dict[str, Any]:
    import yaml  # loaded only when such a value is read

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"expected keys and values such as '{{size: 128}}', got {text!r}")
    return found


_SIZES = {"k": 10**3, "m": 10**6, "b": 10**9}
"""Letters behind a number: 100M are a hundred million."""
_READERS: Mapping[Any, Callable[[str], Any]] = {int: _whole, float: _number, Path: _path, Mapping: _mapping}
_METAVARS: Mapping[Any, str] = {int: "N", float: "X", Path: "FILE", Mapping: "'{KEY: VALUE}'"}
