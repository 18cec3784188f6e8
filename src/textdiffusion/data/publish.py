"""A folder on its way to the Hub, and one of text as a data set there."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..errors import DataError, SettingsError
from .card import CARD, About, card_of
from .working import LOCK, WORKING, write_whole


@dataclass(frozen=True)
class PublishedFile:
    """A file that is uploaded."""

    name: str
    """Relative to the folder."""
    bytes: int


@dataclass(frozen=True)
class Publication:
    """What goes to the Hub."""

    folder: Path
    repo: str
    files: tuple[PublishedFile, ...]
    card: str
    """Text of the card."""
    card_is_new: bool
    """Whether it is yet to be written."""
    kind: str = "dataset"
    """What it is to the Hub: dataset or model."""


@runtime_checkable
class Hub(Protocol):
    """What is needed of `huggingface_hub.HfApi`."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> Any:
        """Make a repository, if it is not there."""

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: Path,
        repo_type: str,
        commit_message: str,
        allow_patterns: list[str],
    ) -> Any:
        """Upload files of a folder in one commit."""


def plan_publication(folder: Path, repo: str, about: About) -> Publication:
    """What would be uploaded, without a word to the network.

    Hidden files and what is unfinished stay here. A card that is there already is taken as it is.

    Raises:
        SettingsError: the name is none for a repository, or a new card lacks the terms of use.
        DataError: there is no such folder, or no text in it.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {str(folder)!r}; name the one that holds the files of the data set."
        )
    check_repo(repo)
    written = folder / CARD
    card = written.read_text(encoding="utf-8") if written.is_file() else card_of(folder, about)
    own = [PublishedFile(CARD, len(card.encode()))]
    files = tuple(own + [file for file in uploadable(folder) if file.name != CARD])
    return Publication(folder, repo, files, card, not written.is_file())


def check_repo(repo: str) -> None:
    """Raise SettingsError unless it is USER/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise SettingsError(f"{said}. Give --repo USER/NAME.") from None
    if "/" not in repo:
        raise SettingsError(f"repo is {repo!r}; say whose it is, too: --repo USER/{repo}.")


def publish(publication: Publication, *, private: bool = False, hub: Hub | None = None) -> str:
    """Upload it, and give its address. A new card is written into the folder first.

    Raises:
        DataError: the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    hub = hub or HfApi()
    refusals: tuple[type[Exception], ...] = (OSError, *_bases(HfHubHTTPError))
    if publication.card_is_new:
        write_whole(publication.folder / CARD, [publication.card])
    repo, patterns = publication.repo, [glob.escape(file.name) for file in publication.files]
    try:
        made = hub.create_repo(repo, repo_type=publication.kind, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repo,
            folder_path=publication.folder,
            repo_type=publication.kind,
            commit_message="Upload with textdiffusion",
            allow_patterns=patterns,
        )
    except refusals as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"the Hub did not take {repo} ({lines[0].rstrip('.')}); set HF_TOKEN to a token that may write "
            "there, or log in with `hf auth login`, and check the connection."
        ) from error
    return str(made)


def _bases(error: type[Exception]) -> tuple[type[Exception], ...]:
    """What it is derived from: among them the errors of its HTTP library, whichever it is."""
    return tuple(base for base in error.__bases__ if issubclass(base, Exception))


def uploadable(folder: Path) -> Sequence[PublishedFile]:
    """The files of a folder by name, without hidden ones and what is unfinished."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if any(part.startswith(".") or part.endswith((WORKING, LOCK)) for part in name.parts):
            continue
        found.append(PublishedFile(name.as_posix(), path.stat().st_size))
    return found
