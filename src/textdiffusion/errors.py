"""Everything that this package raises on purpose; each message says what was given and what to do.

TextDiffusionError
+- UnknownNameError     a table has no such name (also a KeyError)
+- SettingsError        a setting is out of range or unknown (also a ValueError)
+- IncompatibleError    two parts cannot work together (also a TypeError)
+- CheckpointError      a model folder is missing, incomplete or not ours to load (also an OSError)
+- DataError            a file of text is missing, empty or unreadable (also an OSError)
+- TrainingError        training cannot go on, e.g. the loss is not a number (also a RuntimeError)
+- EngineError          a request is not served (also a RuntimeError)
   +- EngineFull        too many wait already
   +- EngineClosed      no more are taken
   +- Cancelled         nobody waits for the answer any more
   +- DeadlinePassed    it took longer than was allowed (also a TimeoutError)
"""


class TextDiffusionError(Exception):
    """Base of all errors raised on purpose by this package."""

    def __str__(self) -> str:
        """Show the message itself; KeyError would show its repr."""
        return str(self.args[0]) if self.args else ""


class UnknownNameError(TextDiffusionError, KeyError):
    """A table has no entry of that name."""


class SettingsError(TextDiffusionError, ValueError):
    """A setting is unknown or outside its range."""


class IncompatibleError(TextDiffusionError, TypeError):
    """Two parts were combined that cannot work together."""


class CheckpointError(TextDiffusionError, OSError):
    """A model folder is missing, half-written or unsafe to load."""


class DataError(TextDiffusionError, OSError):
    """A file or folder of text is missing, empty or unreadable."""


class TrainingError(TextDiffusionError, RuntimeError):
    """Training cannot go on."""


class EngineError(TextDiffusionError, RuntimeError):
    """A request is not served."""


class EngineFull(EngineError):
    """As many requests wait as are allowed to."""


class EngineClosed(EngineError):
    """The engine takes no more requests, or was closed before this one was done."""


class Cancelled(EngineError):
    """The request was taken back."""


class DeadlinePassed(EngineError, TimeoutError):
    """The request was not done in time."""
