"""What MkDocs does with these pages beyond its own work: what they link to in the repository becomes part of the site.

On the code host a page of docs/ links to ``../benchmarks/RESULTS.md``. The site has that file at
``benchmarks/RESULTS.md``, as a page where it is Markdown and as a file to download where it is not. The README is the
site's first page. What does not exist stays as it is written and fails the strict build.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Pages that stand outside docs/, and where the site has them.
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "ARCHITECTURE.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/README.md": "benchmarks/README.md",
    "benchmarks/RESULTS.md": "benchmarks/RESULTS.md",
}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/ and the files that any page links to."""
    for path, name in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    for source in [*DOCS.rglob("*.md"), *(ROOT / path for path in PAGES)]:
        for match in LINK.finditer(source.read_text(encoding="utf-8")):
            path = (source.parent / match[1]).resolve()
            name = _name(path)
            if name and path.suffix != ".md" and files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files of the repository to where the site has them."""
    source = Path(str(page.file.abs_src_path))
    here = posixpath.dirname(page.file.src_uri)

    def pointed(match: re.Match[str]) -> str:
        name = _name((source.parent / match[1]).resolve())
        if name is None or files.get_file_from_path(name) is None:
            return match[0]
        return posixpath.relpath(name, here or ".") + (match[2] or "")

    return LINK.sub(pointed, markdown)


def _name(path: Path) -> str | None:
    """Return where the site has a file of the repository; None where there is no such file."""
    if not path.is_file() or not path.is_relative_to(ROOT):
        return None
    name = path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT).as_posix()
    return PAGES.get(name, name)
