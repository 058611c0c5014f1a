"""Files of networks that were trained here: which one to open, what it must say of itself, reading and writing.

They are safetensors files whose metadata has a format, a version and a network's description. A kind of network has one
`NetworkFiles`: `flow.network.weights` and `similarity.embedding.files`.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .models import ModelError

if TYPE_CHECKING:
    import torch

__all__ = ["Header", "NetworkFiles"]

_WEIGHTS = Path(__file__).resolve().parent / "weights"

type Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    Attributes:
        kind: which of the networks of one format it holds; "" where there is one alone.
        config: what describes the network.
    """

    kind: str
    config: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFiles:
    """Files of one kind of network.

    Attributes:
        name: what messages call such a file.
        format, version: what it says of itself. The version changes when the same numbers would mean another network.
        env: environment variable that names a file to use in place of the package's.
        packaged: name of the file that comes with the package.
        argument: of the public functions, which names a file.
        command: what makes such files.
    """

    name: str
    format: str
    version: str
    env: str
    packaged: str
    argument: str
    command: str

    @property
    def own(self) -> Path:
        """The file that comes with the package."""
        return _WEIGHTS / self.packaged

    def located(self, local: str | os.PathLike[str] | None = None) -> Path:
        """Return the file to open: ``local``, else the one that the environment variable names, else the package's.

        Raises:
            ModelError: there is no such file.
        """
        if local is not None:
            path, advice = Path(local).expanduser(), "pass the path of an existing file, or none to use the package's"
        elif named := os.environ.get(self.env):
            path, advice = Path(named).expanduser(), f"correct or unset the environment variable {self.env}"
        else:
            path, advice = self.own, f"install vs_align again, or pass {self.argument}="
        if not path.is_file():
            raise ModelError(f"there is no {self.name} at {path}: {advice}")
        return path

    def header(self, path: Path) -> Header:
        """Read what a file says of itself.

        Raises:
            ModelError: it is not a file of this kind and version.
        """
        metadata = _opened(path, tensors=False)[0]
        if metadata.get("format") != self.format:
            raise ModelError(f"{path} is no {self.name}: give a file of {self.command}")
        version = metadata.get("version")
        if version != self.version:
            raise ModelError(
                f"{path} is of version {str(version)[:20]!r}, and this vs_align reads version {self.version!r}: give "
                "one that was trained with it, or none to use the package's"
            )
        try:
            config = json.loads(metadata["config"])
        except (KeyError, ValueError) as fault:
            raise self.undescribed(path) from fault
        if not isinstance(config, dict):
            raise self.undescribed(path)
        return Header(metadata.get("kind", ""), config)

    def tensors(self, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
        """Read a file's tensors by name.

        Args:
            path: the file.
            shapes: by name, what the network that it describes has.

        Raises:
            ModelError: the file cannot be read, or does not hold what it describes.
        """
        tensors = _opened(path, tensors=True)[1]
        if {name: tensor.shape for name, tensor in tensors.items()} != dict(shapes):
            raise ModelError(f"{path} does not hold the weights of the network that it describes: give another file")
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise ModelError(f"{path} holds weights that are not finite: give another file")
        return tensors

    def fill[N: torch.nn.Module](self, net: N, path: Path, device: str | torch.device) -> N:
        """Return a network in torch with a file's weights in it, ready to be used, on a device.

        Raises:
            ModelError: as for `tensors`.
        """
        import torch

        tensors = self.tensors(path, {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()})
        net.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
        net.eval().requires_grad_(False).to(device)
        return net

    def save(
        self, path: str | os.PathLike[str], tensors: Mapping[str, Any], config: Mapping[str, Any], **said: str
    ) -> None:
        """Write a file; one that is there is replaced at once or not at all.

        Args:
            path: a name that ends in .safetensors.
            tensors: by name, of NumPy or of torch.
            config: what describes the network, as JSON has it.
            said: what the file says of itself besides.
        """
        from safetensors.numpy import save_file

        path = Path(path)
        if path.suffix != ".safetensors":
            raise ValueError(f"the name of a file of weights must end in .safetensors, not {path.name!r}")
        metadata = {**said, "format": self.format, "version": self.version, "config": json.dumps(config)}
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
        try:
            save_file({name: _array(tensor) for name, tensor in tensors.items()}, part, metadata)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @staticmethod
    def undescribed(path: Path) -> ModelError:
        """Return the fault of a file whose description is of no network."""
        return ModelError(f"{path} does not describe a network that this vs_align knows: give another file")


def _array(tensor: Any) -> NDArray[Any]:
    held = tensor if isinstance(tensor, np.ndarray) else tensor.detach().cpu().numpy()
    return np.asarray(held, order="C")


def _opened(path: Path, tensors: bool) -> tuple[dict[str, str], Tensors]:
    """Return a file's metadata and, where they are wanted, its tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys() if tensors else []
            return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, TypeError, ValueError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise ModelError(f"{path} cannot be read as a safetensors file ({reason}): give another file") from fault
