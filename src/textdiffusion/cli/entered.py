"""Text that the user gives: on the command line, through a pipe, or when asked at a terminal."""

import contextlib
import sys
from collections.abc import Iterator

from rich.console import Console

from ..errors import SettingsError

_NOT_UTF8 = "standard input is no UTF-8; save the text in UTF-8."


def entered(given: str | None, question: str) -> str:
    """The text that was given as an argument; else what stands on standard input, asked for at a terminal.

    Raises:
        SettingsError: it is no text, or nothing was entered when asked.
    """
    return _checked(_from_stdin(question) if given is None else given)


def lines(question: str) -> Iterator[str]:
    """The lines of standard input; at a terminal each is asked for, until the input ends.

    Raises:
        SettingsError: a line is no text.
    """
    if sys.stdin is None or sys.stdin.closed:
        return
    if not sys.stdin.isatty():
        try:
            yield from (_checked(line.removesuffix("\n")) for line in sys.stdin)
        except UnicodeDecodeError:
            raise SettingsError(_NOT_UTF8) from None
        return
    with contextlib.suppress(ImportError):  # not on Windows
        import readline  # noqa: F401 (lets lines be edited and called back)
    console = Console(stderr=True)
    while True:
        try:
            line = console.input(f"[bold]{question}[/bold] ")
        except EOFError:
            console.print()
            return
        yield _checked(line)


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SettingsError("the text holds bytes that are no UTF-8; save or type it in UTF-8.") from None
    return text


def _from_stdin(question: str) -> str:
    if sys.stdin is None or sys.stdin.closed:
        return ""
    if sys.stdin.isatty():
        # Asked on standard error: standard output carries the text alone.
        try:
            return Console(stderr=True).input(f"[bold]{question}[/bold] ")
        except EOFError:
            raise SettingsError("no text was entered; type one, or give it as an argument.") from None
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError:
        raise SettingsError(_NOT_UTF8) from None
