"""A Hub that remembers what it is asked for, and is none."""

import inspect
from typing import Any

from huggingface_hub import HfApi


class FakeHub:
    """Remembers what it is asked for, and refuses what the real one would not understand."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, repo_id: str, **options: Any) -> str:
        inspect.signature(HfApi.create_repo).bind(self, repo_id, **options)
        self.calls.append(("create_repo", {"repo_id": repo_id, **options}))
        if self.refusal is not None:
            raise self.refusal
        return f"https://hub.example.org/{options['repo_type']}s/{repo_id}"

    def upload_folder(self, **options: Any) -> None:
        inspect.signature(HfApi.upload_folder).bind(self, **options)
        self.calls.append(("upload_folder", options))
