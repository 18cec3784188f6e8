"""What the site needs besides the pages of docs/: the files outside that they link to, and plain code blocks.

On a site that shows the repository every link works as it stands. Here a file outside of docs/ that some page
links to is taken along, below `outside/`, and the links are turned to it.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
OUTSIDE = "outside"
"""Folder of the site for files that lie outside of docs/."""
ALWAYS = ("CONTRIBUTING.md", "CHANGELOG.md")
"""Those that the navigation names, whether a page links to them or not."""
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
"""The path of a relative link, without its anchor."""


def on_config(config: MkDocsConfig) -> None:
    """Name headings as the sites that show the repository do, so that one anchor serves both."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Take along what pages link to outside of docs/, and what those files link to in turn."""
    ahead = [ROOT / name for name in ALWAYS]
    for file in files.documentation_pages():
        ahead += linked_outside(DOCS / file.src_uri)
    taken = set[Path]()
    while ahead:
        path = ahead.pop()
        if path not in taken:
            taken.add(path)
            files.append(File.generated(config, site_uri(path), abs_src_path=str(path)))
            ahead += linked_outside(path)


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to where their targets lie in the site; leave out the words that only our tests read."""
    here = source(page.file.src_uri)

    def turned(match: re.Match[str]) -> str:
        target = (here.parent / match[1]).resolve()
        if not target.is_file() or (inside(here) and inside(target)):
            return match[0]
        return os.path.relpath(site_uri(target), Path(page.file.src_uri).parent)

    plain = re.sub(r"^```python runnable$", "```python", LINK.sub(turned, markdown), flags=re.MULTILINE)
    return re.sub(r"^```console$", "```sh", plain, flags=re.MULTILINE)


def linked_outside(path: Path) -> Iterator[Path]:
    """The files outside of docs/ that a page links to."""
    if path.suffix == ".md":
        for name in LINK.findall(path.read_text("utf-8")):
            target = (path.parent / name).resolve()
            if target.is_file() and not inside(target):
                yield target


def inside(path: Path) -> bool:
    """Whether a file lies in docs/."""
    return path.is_relative_to(DOCS)


def site_uri(path: Path) -> str:
    """Where a file lies among those of the site."""
    home, folder = (DOCS, "") if inside(path) else (ROOT, OUTSIDE)
    return (Path(folder) / path.relative_to(home)).as_posix()


def source(uri: str) -> Path:
    """The file that stands at such a place."""
    parts = Path(uri).parts
    return ROOT.joinpath(*parts[1:]) if parts[0] == OUTSIDE else DOCS / uri
