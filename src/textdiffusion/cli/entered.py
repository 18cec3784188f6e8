"""Text that the user gives: on the command line, through a pipe, or when asked at a terminal."""

import sys

from rich.console import Console

from ..errors import SettingsError


def entered(given: str | None, question: str) -> str:
    """The text that was given as an argument; else what stands on standard input, asked for at a terminal.

    Raises:
        SettingsError: it is no text, or nothing was entered when asked.
    """
    text = _from_stdin(question) if given is None else given
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
        raise SettingsError("standard input is no UTF-8; save the text in UTF-8.") from None
