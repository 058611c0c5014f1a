"""Files that a command writes: refused before any work is done, and written whole or not at all."""

import contextlib
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .faults import Refusal

__all__ = ["check_input", "check_outputs", "make_folder", "need", "replacing", "scratch"]


def check_input(path: Path, what: str = "a video file") -> None:
    """Refuse what is no file that can be read."""
    try:
        if path.is_dir():
            raise Refusal(f"{path} is a folder; name {what}.")
        if not path.exists():
            raise Refusal(f"there is no file {path}.")
        with path.open("rb") as file:
            if not file.read(1):
                raise Refusal(f"{path} is empty; name {what}.")
    except (OSError, ValueError) as error:
        raise Refusal(f"{path} cannot be read ({_reason(error)}).") from None


def check_outputs(
    outputs: Iterable[Path | None], inputs: Iterable[Path | None], force: bool, kept: Sequence[Path] = ()
) -> None:
    """Refuse outputs that cannot be written, that are inputs as well, and, without ``force``, that are there.

    Args:
        outputs: files that will be written; None: not asked for.
        inputs: files that will be read.
        force: whether what is there may be overwritten.
        kept: outputs that may be there, since they will be read instead.
    """
    read, written = [path for path in inputs if path is not None], list[Path]()
    for path in outputs:
        if path is None:
            continue
        if any(_same(path, other) for other in read):
            raise Refusal(f"{path} is read as well; name another file to write.")
        if any(_same(path, other) for other in written):
            raise Refusal(f"{path} is named twice; give each output a file of its own.")
        if path not in kept:
            _check_output(path, force)
        written.append(path)


def _check_output(path: Path, force: bool) -> None:
    if path.is_dir():
        raise Refusal(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise Refusal(f"{path} cannot be written: there is no folder {path.parent}; make it first.")
    if path.exists() and not force:
        raise Refusal(f"{path} is there already; name another file, or pass --force to overwrite it.")
    if path.exists() and not path.is_file():
        raise Refusal(f"{path} is no ordinary file; name another one.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise Refusal(f"{path} cannot be written ({_reason(error)}); name a file elsewhere.") from None


def make_folder(path: Path) -> None:
    """Make a folder for outputs where there is none."""
    if path.exists() and not path.is_dir():
        raise Refusal(f"{path} is a file; name a folder.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"the folder {path} cannot be made ({_reason(error)}); name another one.") from None


def _same(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        if one.exists() and other.exists():
            return one.samefile(other)
    return one.resolve() == other.resolve()


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Hand out the name of a file beside ``path``, of the same ending, that is removed afterwards."""
    part = path.with_name(f".{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Hand out the name of a file that takes ``path``'s place if all goes well, and is removed if not."""
    with scratch(path) as part:
        yield part
        part.replace(path)


def need(package: str, extra: str, purpose: str) -> None:
    """Refuse to go on without a package."""
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise Refusal(f'{purpose} needs {package}; install with: pip install "vs_align[{extra}]".')
