"""Weights of the learned measures: where they are, download, hash, load."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import platformdirs

__all__ = [
    "CACHE_ENV",
    "TOPIQ",
    "Model",
    "ModelError",
    "cache_folder",
    "load_state_dict",
    "locate",
    "state_dict_of",
]

CACHE_ENV = "VS_ALIGN_CACHE"
"""Environment variable that names another cache folder."""

_CHUNK_BYTES = 1 << 16

_log = logging.getLogger(__name__)

# One download at a time in this process: the second thread then finds the file of the first.
_locating = threading.Lock()


class ModelError(RuntimeError):
    """Weights cannot be had or read. One line that says what to do, without the public function's name."""


@dataclass(frozen=True, slots=True)
class Model:
    """A file of weights that is fetched on first use.

    Args:
        name: Name for messages.
        url: Where the file is downloaded from.
        filename: Its name in the cache folder.
        sha256: The file's SHA-256 in lower-case hex, or the first digits of it.
        env: Environment variable that names a local file to use instead.
    """

    name: str
    url: str
    filename: str
    sha256: str
    env: str


TOPIQ = Model(
    name="TOPIQ",
    url="https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/cfanet_fr_kadid_res50-2c4cc61d.pth",
    filename="cfanet_fr_kadid_res50-2c4cc61d.pth",
    sha256="2c4cc61d",
    env="VS_ALIGN_TOPIQ",
)
"""CFANet, full reference, ResNet-50, trained on KADID-10k (IQA-PyTorch)."""


def cache_folder() -> Path:
    """Return the folder of the downloaded weights: VS_ALIGN_CACHE, else the user's cache folder."""
    return Path(os.environ.get(CACHE_ENV) or platformdirs.user_cache_dir("vs_align", appauthor=False)).expanduser()


def locate(
    model: Model, local: str | os.PathLike[str] | None = None, progress: bool = True, *, timeout_s: float = 30.0
) -> Path:
    """Return the path of a model's weights; download them where they are not on this machine.

    The first of these that is there: `local`, the file that the model's environment variable names, the file in the
    cache folder, the download. The first two are taken as they are. The hash of the last two is checked on every call,
    and a cached file with the wrong one is downloaded again.

    Args:
        model: The weights asked for.
        local: A local file to use instead.
        progress: Show a bar on stderr where that is a terminal, else log one line.
        timeout_s: Seconds without an answer after which the download is given up.

    Raises:
        ModelError: The local file is missing, the download failed, or the cache folder is of no use.
    """
    if local is not None:
        return _local_file(model, local, "pass the path of an existing file, or none to have it downloaded")
    if named := os.environ.get(model.env):
        return _local_file(model, named, f"correct or unset the environment variable {model.env}")
    path = cache_folder() / model.filename
    with _locating:
        if not _is_right(model, path):
            _download(model, path, progress, timeout_s)
    return path


def load_state_dict(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state dict (parameter name to tensor, on the CPU) from a .safetensors or PyTorch file.

    Raises:
        ModelError: The file cannot be read or holds something else.
    """
    path = Path(path)
    read = _read_safetensors if path.suffix == ".safetensors" else _read_torch
    with _reading(path):
        loaded = read(path)
    return state_dict_of(loaded, str(path))


def state_dict_of(loaded: object, source: str = "the mapping given") -> dict[str, Any]:
    """Return the state dict in what a file held: itself, or wrapped as "params" or "state_dict" by a trainer.

    Args:
        loaded: What was read.
        source: Where it came from, for the message.

    Raises:
        ModelError: There is none.
    """
    import torch

    inner = loaded
    if isinstance(loaded, Mapping):
        inner = next((loaded[key] for key in ("params", "state_dict") if isinstance(loaded.get(key), Mapping)), loaded)
    if not isinstance(inner, Mapping) or not inner or not all(isinstance(v, torch.Tensor) for v in inner.values()):
        raise ModelError(f"{source} holds no weights (a mapping of names to tensors): give another file")
    # DataParallel training puts "module." before each name.
    return {str(name).removeprefix("module."): tensor for name, tensor in inner.items()}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file into a ModelError."""
    try:
        yield
    except ImportError:
        raise
    except Exception as fault:  # a truncated or foreign file fails in a dozen ways, none of them documented
        raise ModelError(f"{path} cannot be read as weights ({_reason(fault)}): replace the file") from fault


def _read_torch(path: Path) -> object:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> object:
    from safetensors.torch import load_file

    return load_file(path, device="cpu")


def _local_file(model: Model, local: str | os.PathLike[str], advice: str) -> Path:
    path = Path(local).expanduser()
    if not path.is_file():
        raise ModelError(f"there is no {model.name} weights file at {path}: {advice}")
    return path


def _is_right(model: Model, path: Path) -> bool:
    """Say whether the file is there and has the model's hash."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as fault:
        raise _cache_fault(model, path.parent, fault) from fault
    return digest.startswith(model.sha256)


def _download(model: Model, path: Path, progress: bool, timeout_s: float) -> None:
    """Download to a file of this call's own beside `path` and move it there when its hash is right."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            digest = _fetch(model, file, progress, timeout_s)
        if not digest.startswith(model.sha256):
            raise ModelError(
                f"the {model.name} weights from {model.url} have the wrong hash (SHA-256 {digest[: len(model.sha256)]} "
                f"instead of {model.sha256}): try again later, or {_by_hand(model)}"
            )
        _move(model, part, path)
    except OSError as fault:
        raise _cache_fault(model, path.parent, fault) from fault
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _move(model: Model, part: Path, path: Path) -> None:
    try:
        part.replace(path)
    except PermissionError:
        # Windows refuses while another process reads the file; it is then most likely the one wanted.
        if not _is_right(model, path):
            raise


def _fetch(model: Model, sink: IO[bytes], progress: bool, timeout_s: float) -> str:
    """Copy what the URL holds to `sink` and return its SHA-256."""
    import urllib.request

    digest = hashlib.sha256()
    received = 0
    with _network(model):
        response = urllib.request.urlopen(model.url, timeout=timeout_s)
    declared = response.headers.get("Content-Length", "")
    total = int(declared) if declared.isdecimal() else 0
    with response, contextlib.closing(_Progress(model, total, progress)) as bar:
        while chunk := _read_chunk(model, response):
            digest.update(chunk)
            sink.write(chunk)
            received += len(chunk)
            bar.show(received)
    if total and received != total:
        raise ModelError(
            f"the download of the {model.name} weights from {model.url} was cut off after {received} of {total} bytes: "
            f"try again, or {_by_hand(model)}"
        )
    return digest.hexdigest()


def _read_chunk(model: Model, response: IO[bytes]) -> bytes:
    import http.client

    with _network(model):
        try:
            return response.read(_CHUNK_BYTES)
        except http.client.IncompleteRead as cut_off:
            partial: bytes = cut_off.partial
            return partial


@contextlib.contextmanager
def _network(model: Model) -> Iterator[None]:
    """Turn the network's faults into a ModelError, so that an OSError outside is the disk's."""
    import http.client
    import urllib.error

    try:
        yield
    except (OSError, http.client.HTTPException) as fault:
        if isinstance(fault, urllib.error.HTTPError):
            fault.close()
        raise ModelError(
            f"the {model.name} weights cannot be downloaded from {model.url} ({_reason(fault)}): check the network and "
            f"try again, or {_by_hand(model)}"
        ) from fault


def _by_hand(model: Model) -> str:
    return f"download {model.filename} by other means and set the environment variable {model.env} to its path"


def _cache_fault(model: Model, folder: Path, fault: OSError) -> ModelError:
    return ModelError(
        f"the cache folder {folder} cannot be used for the {model.name} weights ({_reason(fault)}): set the "
        f"environment variable {CACHE_ENV} to a folder that can be written, or {model.env} to the weights file's path"
    )


def _reason(fault: BaseException) -> str:
    """Return a fault's own words on one line of bounded length."""
    import urllib.error

    inner = fault.reason if type(fault) is urllib.error.URLError else fault
    words = " ".join(str(inner).split())
    return words[:200] or type(fault).__name__


class _Progress:
    """A download's bar on stderr where that is a terminal, else one line in the log."""

    _WIDTH = 30

    def __init__(self, model: Model, total: int, wanted: bool) -> None:
        self._name = model.name
        self._total = total
        self._drawn = ""
        # stderr is None in a program without a console.
        self._terminal = wanted and sys.stderr is not None and sys.stderr.isatty()
        if wanted and not self._terminal:
            _log.info("downloading the %s weights (%.0f MB) from %s", model.name, total / 1e6, model.url)

    def show(self, received: int) -> None:
        """Draw the bar where it has moved."""
        if not self._terminal:
            return
        line = f"{self._name} weights: {received / 1e6:.0f} MB"
        if self._total:
            filled = self._WIDTH * received // self._total
            line = f"{line} of {self._total / 1e6:.0f} [{'#' * filled:<{self._WIDTH}}]"
        if line != self._drawn:
            self._drawn = line
            sys.stderr.write(f"\r{line}")
            sys.stderr.flush()

    def close(self) -> None:
        """End the bar's line."""
        if self._drawn:
            sys.stderr.write("\n")
