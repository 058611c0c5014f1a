"""The networks that find people and their joints: LiteRT and ONNX files, known by name or given by path.

What a network is, is told by the shapes of what goes in and comes out: YOLOX finds people, MoveNet and BlazePose's
landmarks find joints.
"""

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..models import Model, ModelError, locate
from ..poses.skeleton import POINTS

__all__ = [
    "DETECTORS",
    "FOLDER_ENV",
    "POSE_NETS",
    "Detector",
    "PoseNet",
    "cut_out",
    "load_detector",
    "load_pose_net",
    "net_file",
]

type Floats = NDArray[np.float64]
type Picture = NDArray[np.uint8]

FOLDER_ENV = "VS_ALIGN_POSE_MODELS"
"""Environment variable that names a folder with the files below, which are then not downloaded."""

_RAW = "https://raw.githubusercontent.com"
YOLOX = Model(
    name="YOLOX nano",
    url=f"{_RAW}/Kazuhito00/YOLOX-ONNX-TFLite-Sample/3d4f1119d0694200671c08069ecb847aa0d8495a/model/yolox_nano.onnx",
    filename="yolox_nano.onnx",
    sha256="695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14",
    env="VS_ALIGN_YOLOX",
)
"""Ge et al., "YOLOX: Exceeding YOLO Series in 2021"; Apache-2.0."""
MOVENET = Model(
    name="MoveNet Lightning",
    url=f"{_RAW}/google-coral/test_data/104342d2d3480b3e66203073dac24f4e2dbb4c41/"
    "movenet_single_pose_lightning_ptq.tflite",
    filename="movenet_single_pose_lightning_ptq.tflite",
    sha256="cd7cc22fa946e5d146a7b98d496853e1923e22828d3972d579973f27f91bb105",
    env="VS_ALIGN_MOVENET",
)
"""Google, "MoveNet.SinglePose Lightning", 8 bit; Apache-2.0."""
BLAZEPOSE = Model(
    name="BlazePose landmarks, lite",
    url=f"{_RAW}/google-ai-edge/mediapipe/710fb3de58dc10b7bc75f9cb758300c9016a5e4f/"
    "mediapipe/modules/pose_landmark/pose_landmark_lite.tflite",
    filename="blazepose_pose_landmark_lite.tflite",
    sha256="f17bfbecadb61c3be1baa8b8d851cc6619c870a87167b32848ad20db306b9d61",
    env="VS_ALIGN_BLAZEPOSE",
)
"""Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020; Apache-2.0."""

DETECTORS = {"yolox": YOLOX}
POSE_NETS = {"movenet": MOVENET, "blazepose": BLAZEPOSE}

# Boxes below are none, and of boxes that overlap so much one remains.
_SURE, _OVERLAP = 0.3, 0.5
_MOST_PEOPLE = 8
_GREY = 114
_STRIDES = (8, 16, 32)
# Where BlazePose has the points of COCO: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
_OF_BLAZEPOSE = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]


def net_file(known: dict[str, Model], value: str | os.PathLike[str]) -> Path:
    """Return the file of a network that is known by name, downloaded where it is not here, or that is a file itself.

    Raises:
        ModelError: there is none of the name, it cannot be had, or its hash is wrong.
    """
    model = known.get(str(value))
    if model is None:
        path = Path(value).expanduser()
        if not path.is_file():
            raise ModelError(f"there is no network named {str(value)!r}: name {' or '.join(known)}, or give a file")
        return path
    folder = os.environ.get(FOLDER_ENV)
    if folder and not os.environ.get(model.env):
        return _in_folder(model, Path(folder).expanduser())
    return locate(model)


def _in_folder(model: Model, folder: Path) -> Path:
    path = folder / model.filename
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise ModelError(
            f"there is no {model.filename} in {folder}: put it there, or unset the environment variable {FOLDER_ENV}"
        ) from None
    if digest != model.sha256:
        raise ModelError(
            f"{path} has the wrong hash (SHA-256 {digest[:12]}... instead of {model.sha256[:12]}...): replace the "
            "file, or pass another one by its path"
        )
    return path


class _Net(Protocol):
    """A network ready to run.

    Attributes:
        takes: the shape of its input; its type is ``kind``.
        gives: the shapes of its outputs.
    """

    takes: tuple[int, ...]
    kind: np.dtype[Any]
    gives: list[tuple[int, ...]]

    def run(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the outputs."""
        ...


class _Onnx:
    """An ONNX file in ONNX Runtime, on one thread."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        given = self._session.get_inputs()
        self._name = given[0].name
        self.takes = _whole(given[0].shape)
        kinds = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}
        self.kind = np.dtype(kinds[given[0].type])
        self.gives = [_whole(each.shape) for each in self._session.get_outputs()]

    def run(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """See `_Net.run`."""
        outputs: list[NDArray[Any]] = self._session.run(None, {self._name: values})
        return outputs


class _Lite:
    """A LiteRT file (.tflite), on one thread; one run at a time."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._net = Interpreter(str(path), num_threads=1)
        self._net.allocate_tensors()
        given, outputs = self._net.get_input_details()[0], self._net.get_output_details()
        self._input, self._outputs = given["index"], [each["index"] for each in outputs]
        self.takes, self.kind = _whole(given["shape"]), np.dtype(given["dtype"])
        self.gives = [_whole(each["shape"]) for each in outputs]

    def run(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """See `_Net.run`."""
        self._net.set_tensor(self._input, values)
        self._net.invoke()
        return [self._net.get_tensor(index) for index in self._outputs]


def _whole(shape: Any) -> tuple[int, ...]:
    """Return a shape; what may vary in it is 1, as a batch of one picture is."""
    return tuple(int(side) if not isinstance(side, str) and side is not None and side > 0 else 1 for side in shape)


def _loaded(path: Path) -> _Net:
    kind, package = (_Lite, "ai_edge_litert") if path.suffix.lower() == ".tflite" else (_Onnx, "onnxruntime")
    if importlib.util.find_spec(package) is None:
        raise ModelError(f'{path.name} needs {package}: install with pip install "vs_align[pose]"')
    with _reading(path):
        return kind(path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file into a ModelError."""
    try:
        yield
    except ImportError:
        raise
    except Exception as fault:  # runtimes have exceptions of their own, none of them documented
        words = " ".join(str(fault).split())[:120]
        raise ModelError(f"{path} is no network that can be loaded ({words}): give a .tflite or .onnx file") from fault


class Detector:
    """YOLOX: where people are. Calls from several threads at once are right with ONNX."""

    def __init__(self, net: _Net) -> None:
        self._net, self.side = net, net.takes[2]
        cells = [self.side // stride for stride in _STRIDES]
        self._cell = np.concatenate([np.stack(np.meshgrid(range(n), range(n)), -1).reshape(-1, 2) for n in cells])
        self._stride = np.concatenate([np.full(n * n, s) for n, s in zip(cells, _STRIDES, strict=True)])[:, None]

    def people(self, picture: Picture) -> Floats:
        """Return the boxes of the people in a picture, the surest first.

        Args:
            picture: RGB, shape (H, W, 3), no side longer than ``side``.

        Returns:
            Left, top, right, bottom in pixels of the picture, and 0..1 how sure, shape (K, 5).
        """
        height, width = picture.shape[:2]
        canvas = np.full((self.side, self.side, 3), _GREY, self._net.kind)
        canvas[:height, :width] = picture[..., ::-1]
        found = self._net.run(np.ascontiguousarray(canvas.transpose(2, 0, 1))[None])[0][0]
        sure = found[:, 4] * found[:, 5]
        kept = np.flatnonzero(sure >= _SURE)
        middle = (found[kept, :2] + self._cell[kept]) * self._stride[kept]
        half = np.exp(found[kept, 2:4]) * self._stride[kept] / 2
        corners = np.clip(np.hstack([middle - half, middle + half]), 0, [width, height, width, height])
        boxes = np.column_stack([corners, sure[kept]]).astype(np.float64)
        return _one_each(boxes[np.argsort(-boxes[:, 4], kind="stable")])


def _one_each(boxes: Floats) -> Floats:
    """Leave out boxes that overlap a surer one."""
    kept: list[Floats] = []
    for box in boxes:
        if len(kept) < _MOST_PEOPLE and all(_overlap(box, other) < _OVERLAP for other in kept):
            kept.append(box)
    return np.array(kept).reshape(-1, 5)


def _overlap(first: Floats, second: Floats) -> float:
    """Return the part that two boxes share of what both cover."""
    across, down = (min(first[i + 2], second[i + 2]) - max(first[i], second[i]) for i in (0, 1))
    shared = max(0.0, float(across)) * max(0.0, float(down))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (first, second)]
    return shared / max(1e-9, sum(areas) - shared)


class PoseNet:
    """MoveNet or BlazePose: where the joints of the one person in a square picture are. One call at a time."""

    def __init__(self, net: _Net) -> None:
        self._net, self.side = net, net.takes[1]
        self._blaze = net.gives[0][-1] == 5 * 39

    def joints(self, picture: Picture) -> Floats:
        """Find the joints.

        Args:
            picture: RGB, shape (side, side, 3).

        Returns:
            x and y as shares of the picture's sides, and 0..1 how sure, shape (17, 3).
        """
        values = picture.astype(self._net.kind)[None]
        if not self._blaze:
            y, x, sure = self._net.run(values)[0].reshape(POINTS, 3).astype(np.float64).T
            return np.column_stack([x, y, np.clip(sure, 0, 1)])
        outputs = self._net.run(values / np.float32(255))
        marks = outputs[0].reshape(39, 5)[_OF_BLAZEPOSE].astype(np.float64)
        sure = float(outputs[1].ravel()[0]) / (1 + np.exp(-np.clip(marks[:, 3], -30, 30)))
        return np.column_stack([marks[:, :2] / self.side, np.clip(sure, 0, 1)])


def load_detector(path: Path) -> Detector:
    """Load what finds people.

    Raises:
        ModelError: the file is no such network.
    """
    net = _loaded(path)
    cells = sum((net.takes[-1] // stride) ** 2 for stride in _STRIDES)
    square = len(net.takes) == 4 and net.takes[:2] == (1, 3) and net.takes[2] == net.takes[3]
    if not square or net.gives[0] != (1, cells, 85) or net.kind != np.float32:
        raise ModelError(f"{path} is no detector of people that is known: give a YOLOX of COCO's 80 classes")
    return Detector(net)


def load_pose_net(path: Path) -> PoseNet:
    """Load what finds joints.

    Raises:
        ModelError: the file is no such network.
    """
    net = _loaded(path)
    square = len(net.takes) == 4 and net.takes[0] == 1 and net.takes[1] == net.takes[2] and net.takes[3] == 3
    blaze = net.gives[0] == (1, 5 * 39) and net.kind == np.float32
    if not square or not (blaze or net.gives[0][-2:] == (POINTS, 3)):
        raise ModelError(f"{path} is no network of joints that is known: give a MoveNet single pose or BlazePose file")
    return PoseNet(net)


def cut_out(picture: Picture, left: float, top: float, extent: float, side: int) -> Picture:
    """Cut a square out of a picture and bring it to ``side`` pixels; black where it reaches beyond.

    Convention: positions are in pixels from the picture's left top corner, so that a pixel's centre is at + 0.5.
    """
    scale = extent / side
    # From pixel centres of the square to pixel centres of the picture.
    matrix = np.array([[scale, 0, left + 0.5 * scale - 0.5], [0, scale, top + 0.5 * scale - 0.5]])
    cut = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(cut, np.uint8)
