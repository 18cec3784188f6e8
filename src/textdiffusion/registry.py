"""Named choices: one table per kind of part, open to other packages and to scripts."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from .errors import SettingsError, UnknownNameError

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str], *, alike: float = 0.5) -> str:
    """A sentence that offers the nearest known names, or nothing; starts with a space when not empty.

    `alike` is the least share of letters that two names have in common in the same order.
    """
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=alike)
    return f" Did you mean {' or '.join(close)}?" if close else ""


class Registry(Mapping[str, T], Generic[T]):
    """A table that is read by name, e.g. ``SAMPLERS["first-hitting"]``; hyphens and underscores are equal.

    Another package adds a row with an entry point in the group ``textdiffusion.<kind>s``, a script by
    `register`; no row is ever replaced.
    """

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        """Name the `kind` of part (singular, lower case) and give the rows."""
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        """The row called `name`.

        Raises:
            UnknownNameError: no such row here or among the entry points; the message offers the nearest.
        """
        key = _canonical(name)
        if key in self._entries:
            return self._entries[key]
        for point in entry_points(group=f"textdiffusion.{self.kind}s", name=key):
            loaded: T = point.load()
            return loaded
        known = ", ".join(self._entries)
        raise UnknownNameError(
            f"No {self.kind} named {name!r}.{did_you_mean(key, self._entries)} Known: {known}."
        )

    def register(self, name: str, entry: T) -> None:
        """Add a row, for as long as this process runs.

        Raises:
            SettingsError: there is a row of that name.
        """
        key = _canonical(name)
        if key in self._entries:
            raise SettingsError(f"there is a {self.kind} named {key!r} already; give yours another name.")
        self._entries[key] = entry

    def canonical(self, name: str) -> str:
        """The spelling of a name under which the table itself lists it.

        Raises:
            UnknownNameError: no such row; see the lookup.
        """
        self[name]
        return _canonical(name)

    def __iter__(self) -> Iterator[str]:
        """Names in the order of the table."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Number of rows in the table itself."""
        return len(self._entries)


def _canonical(name: str) -> str:
    return name.replace("_", "-").lower()
