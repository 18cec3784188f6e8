"""The command `textdiffusion`: finds the command that was asked for and turns every failure into one line."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from ..errors import IncompatibleError, SettingsError, TextDiffusionError, UnknownNameError
from ..registry import Registry
from .commands import Command, dispatch

DONE, FAILED, BAD_USE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141
DEBUG = "TEXTDIFFUSION_DEBUG"
"""Environment variable; when it is set, the traceback of an error is shown too."""

COMMANDS: Registry[Command] = Registry(
    "command",
    {
        "generate": Command("textdiffusion.cli.generate", "Continue a prompt."),
        "chat": Command("textdiffusion.cli.chat", "Talk with a model."),
        "fill": Command("textdiffusion.cli.fill", "Fill the holes of a text."),
        "serve": Command("textdiffusion.cli.serve", "Serve a model by OpenAI's interface."),
        "compare": Command("textdiffusion.cli.compare", "Let two models or samplers write side by side."),
        "revise": Command("textdiffusion.cli.revise", "Change what is wrong in a draft."),
        "train": Command("textdiffusion.cli.train", "Train a model from a recipe."),
        "publish": Command("textdiffusion.cli.publish", "Upload a trained model to the Hub, with its card."),
        "samplers": Command("textdiffusion.cli.samplers", "List the samplers."),
        "schedules": Command("textdiffusion.cli.schedules", "List the step grids and the noise schedules."),
        "evaluate": Command("textdiffusion.cli.evaluate", "Measure what a model costs."),
        "data": Command("textdiffusion.cli.data", "Make text ready for training, once and on disk."),
        "length": Command("textdiffusion.cli.length", "Teach a model to tell how long its texts will be."),
        "explore": Command("textdiffusion.cli.explore", "See how diffusion works on a text of your own."),
    },
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (the process's own arguments when left out) and return the exit code.

    0: done. 1: it failed. 2: bad use. 130: interrupted. 141: nobody reads the output any more.
    """
    _show_any_character()
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if os.environ.get(DEBUG):
            import traceback  # of no use otherwise

            traceback.print_exc()
        code, line = _ending(error)
        _say(line)
    _let_go_of_stdout()
    return code


def _run(argv: list[str]) -> int:
    if argv[:1] == ["--version"]:
        print(f"textdiffusion {_version()}")
        return DONE
    about = "Diffusion language models: train, sample, measure, show."
    return dispatch("textdiffusion", about, COMMANDS, argv)


def _version() -> str:
    try:
        return version("textdiffusion")
    except PackageNotFoundError:
        return "(not installed)"  # run from the source


def _ending(error: BaseException) -> tuple[int, str]:
    """Exit code and line for whatever ended the command; no line where there is nothing to say."""
    said = str(error)
    match error:
        case SystemExit() if isinstance(error.__context__, BrokenPipeError):  # rich's answer to it
            return PIPE_CLOSED, ""
        case SystemExit():  # argparse has shown its help
            return (error.code if isinstance(error.code, int) else DONE), ""
        case KeyboardInterrupt():
            return INTERRUPTED, said or "interrupted."
        case BrokenPipeError():
            return PIPE_CLOSED, ""
        case UnknownNameError() | SettingsError() | IncompatibleError():
            return BAD_USE, f"error: {said}"
        case TextDiffusionError():
            return FAILED, f"error: {said}"
        case OSError() if error.strerror:
            return FAILED, f"error: {_of_the_system(error)}"
        case MemoryError() | RuntimeError() if _is_memory(error):
            return FAILED, "error: out of memory; lower the length or the number of texts at a time."
        case _:
            advice = f"run with {DEBUG}=1 for the traceback."
            return FAILED, f"internal error: {type(error).__name__}: {said}; {advice}"


def _of_the_system(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    advice = "; make room and try again" if error.errno == errno.ENOSPC else ""
    return f"{error.strerror}{where}{advice}."


def _is_memory(error: BaseException) -> bool:
    # torch raises RuntimeError for both CUDA and the CPU.
    words = ("out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def _say(line: str) -> None:
    """One line on standard error, if anybody reads it."""
    if not line:
        return
    with contextlib.suppress(OSError):  # nobody is left to be told
        print(" ".join(line.split()), file=sys.stderr, flush=True)


def _show_any_character() -> None:
    """Write out what the encoding of standard output lacks, instead of failing after all the work."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _let_go_of_stdout() -> None:
    """Drop what cannot be written; Python would try again at its end and show a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
