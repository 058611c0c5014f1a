"""Networks that embed frames, as the measure sees them: the one that is shipped, or any that was trained here."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ...frames import to_rgb, to_tensor
from ...models import ModelError
from ..small_luma import SmallLuma, luma_clip
from .blas import one_blas_thread
from .files import FILES, FRAME, SEQUENCE, read_frame_net
from .framing import Framing, framed, normalised
from .numpy_net import NumpyNet
from .time_filters import high_pass

__all__ = ["FrameNetwork", "Network", "SequenceNetwork", "open_network"]

type Array = NDArray[np.float32]


class Network(ABC):
    """Embeds frames in two steps: one of a frame alone, one of what that makes of the frames around.

    Attributes:
        label: what the debug page calls it.
        reach: frames on each side that an embedding depends on.
        framed: whether other framings than a frame's own make another embedding.
        length: of an embedding.
    """

    label: str
    reach: int
    framed: bool
    length: int

    @abstractmethod
    def prepared(self, clip: vs.VideoNode) -> vs.VideoNode:
        """Return a clip in the form whose frames `picture` reads."""

    @abstractmethod
    def picture(self, frame: vs.VideoFrame) -> Array | None:
        """Return what is kept of a single frame; None where a sample is not finite."""

    @abstractmethod
    def embeddings(self, around: Sequence[Array], index: int, framings: Sequence[Framing]) -> Array:
        """Return a frame's embeddings under framings, each of unit length.

        Args:
            around: what `picture` made of the frames within ``reach``, in order; fewer at a clip's ends.
            index: which of them the frame is.
            framings: at least one; a network that is not ``framed`` takes the first for all.

        Returns:
            Shape (len(framings), length); the same bits whenever the arguments are the same.
        """


class FrameNetwork(Network):
    """The network that is shipped: convolutions over small luma, high-passed along time, without torch.

    Args:
        path: a file as `files.save_frame_net` writes it.
    """

    label = "embedding"
    framed = True

    def __init__(self, path: Path) -> None:
        tensors, self.reach = read_frame_net(path)
        self._net = NumpyNet(tensors)
        self.length = self._net.length
        self._luma: dict[int, SmallLuma] = {}

    def prepared(self, clip: vs.VideoNode) -> vs.VideoNode:
        """See `Network.prepared`."""
        luma = luma_clip(clip)
        self._luma[luma.format.id] = SmallLuma(luma)
        return luma

    def picture(self, frame: vs.VideoFrame) -> Array | None:
        """See `Network.picture`."""
        return self._luma[frame.format.id].picture(frame)

    def embeddings(self, around: Sequence[Array], index: int, framings: Sequence[Framing]) -> Array:
        """See `Network.embeddings`."""
        sharp = high_pass(around, index)
        pictures = np.stack([framed(sharp, framing) for framing in framings])
        with one_blas_thread():
            return self._net(normalised(pictures))


class SequenceNetwork(Network):
    """A network trained by ``vs-align train embedding`` for actions: a backbone and a transformer over time, in torch.

    Args:
        path: a file as `sequence_net.save` writes it.
        device: where it works.
    """

    framed = False

    def __init__(self, path: Path, device: str) -> None:
        from .sequence_net import load

        self._net: Any = load(path, device)
        self._device = device
        self.label = f"embedding ({path.stem})"
        self.reach, self.length = self._net.context, self._net.sizes.embedding

    def prepared(self, clip: vs.VideoNode) -> vs.VideoNode:
        """See `Network.prepared`."""
        side = self._net.sizes.size
        # Sized before it is converted, which is less work; an odd chroma grid is no matter to the resizer.
        return to_rgb(clip, vs.RGBS).resize.Bicubic(width=side, height=side)

    def picture(self, frame: vs.VideoFrame) -> Array | None:
        """See `Network.picture`."""
        import torch

        from ..learned import one_thread

        samples = to_tensor(frame, self._device)
        if not bool(torch.isfinite(samples).all()):
            return None
        with one_thread(self._device), torch.inference_mode():
            made: Array = self._net.backbone(samples[None].clamp(0, 1) * 255)[0].cpu().numpy()
        return made

    def embeddings(self, around: Sequence[Array], index: int, framings: Sequence[Framing]) -> Array:
        """See `Network.embeddings`."""
        import torch

        from ..learned import one_thread

        features = torch.from_numpy(np.stack(around))[None].to(self._device)
        valid = torch.ones(1, len(around), dtype=torch.bool, device=self._device)
        with one_thread(self._device), torch.inference_mode():
            made = self._net.sequence(features, valid)[0, index].cpu().numpy()
        return np.repeat(made[None], len(framings), 0)


def open_network(local: str | os.PathLike[str] | None, device: str | None) -> Network:
    """Return the network of a file.

    Args:
        local: the file; None: the one that the environment variable names, else the package's.
        device: where a network in torch works; None: CUDA where it works, else the CPU.

    Raises:
        ModelError: there is no such file, or it holds no network that this version knows.
        ImportError: the network needs torch, and that is not installed.
    """
    path = FILES.located(local)
    kind = FILES.header(path).kind
    if kind == FRAME:
        return FrameNetwork(path)
    if kind != SEQUENCE:
        raise ModelError(
            f"{path} holds a network of kind {kind[:20]!r}, which this vs_align does not know: give another file"
        )
    import torch

    return SequenceNetwork(path, device or ("cuda" if torch.cuda.is_available() else "cpu"))
