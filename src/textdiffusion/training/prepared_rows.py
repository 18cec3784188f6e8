"""Rows of a training that `textdiffusion data prepare` has made beforehand."""

from ..data.packing import ARRANGEMENTS, ONE_DOCUMENT
from ..data.prepared import PreparedSplit, open_prepared
from ..data.prepared.kinds import KINDS, ArrayRows
from ..errors import IncompatibleError, SettingsError
from ..tokens import TextFormat
from .recipe import TrainingRecipe

OF_TEXT = ("text_field", "repeat_field", "repeats", "repeat_others", "clean", "chat")
"""Keys of a recipe that say how text is read, which is done already."""


def prepared_split(recipe: TrainingRecipe, source: str, split: str) -> PreparedSplit:
    """A split of a folder of arrays; to measure on (`validation`), what it has for that, or else all it has.

    Raises:
        DataError: the folder is not whole, or has no such split.
        SettingsError: the recipe would read text in another way than it was read.
    """
    folder = open_prepared(source)
    if split != "train":
        return folder.held_out() or folder.split("train")
    options, default = folder.metadata.options, TrainingRecipe()
    for name in OF_TEXT:
        given, made = recipe.__dict__[name], options.get(name)
        if given != default.__dict__[name] and (list(given) if isinstance(given, tuple) else given) != made:
            raise SettingsError(
                f"{name} is {given!r}, but {source} was prepared with {made!r}; leave it out, or prepare the "
                "text anew."
            )
    if recipe.streaming:
        raise SettingsError(f"streaming is for text, but {source} is read from the disk; leave it out.")
    arranged = KINDS[folder.metadata.kind].arrangements
    if ARRANGEMENTS.canonical(recipe.arrange) not in arranged:
        raise SettingsError(
            f"arrange is {recipe.arrange}, but {source} is {folder.metadata.kind}; give --arrange "
            f"{' or '.join(arranged)}, or prepare the text anew."
        )
    if recipe.after_end and not set(arranged) & set(ONE_DOCUMENT):
        raise SettingsError(
            f"after_end {recipe.after_end} fills rows of one document each, but {source} is "
            f"{folder.metadata.kind}; prepare the text with --kind rows."
        )
    return folder.split("train")


def rows_of(split: PreparedSplit, length: int, text_format: TextFormat) -> ArrayRows:
    """The rows of a split, of at most `length` tokens.

    Raises:
        IncompatibleError: they were made by another tokenizer than the model's.
        SettingsError: they are longer.
    """
    made = split.folder.metadata.tokenizer
    if text_format.fingerprint() != made.sha256:
        raise IncompatibleError(
            f"{split.folder.path} was prepared with the tokenizer {made.name}, which is not the model's; "
            "prepare the text anew with --tokenizer and the folder or Hub id of the model."
        )
    return split.rows(length)
