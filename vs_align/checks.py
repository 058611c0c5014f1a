"""Argument checks. Every message is one line that begins with the public function's name and says what to do."""

import ctypes
import importlib.util
import math
import operator
import re
import sys
from collections.abc import Iterable
from enum import Enum
from typing import NoReturn, SupportsFloat, SupportsIndex, cast

import vapoursynth as vs

__all__ = ["Checks", "cuda_driver_devices", "shown"]

_CUDA_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


class Checks:
    """Checks on behalf of one public function, whose name every message begins with.

    Args:
        function: the public name, such as ``vs_align.temporal``.
    """

    def __init__(self, function: str) -> None:
        self.function = function

    def type_error(self, message: str) -> NoReturn:
        """Refuse a value of the wrong type."""
        raise TypeError(f"{self.function}: {message}")

    def value_error(self, message: str) -> NoReturn:
        """Refuse a value that the type admits and the function does not."""
        raise ValueError(f"{self.function}: {message}")

    def runtime_error(self, message: str) -> NoReturn:
        """Say what this machine lacks."""
        raise RuntimeError(f"{self.function}: {message}")

    def clip(self, value: object, name: str) -> vs.VideoNode:
        """Return a clip of constant format and size, brought down from the GPU if it lives there."""
        if not isinstance(value, vs.VideoNode):
            self.type_error(f"{name} must be a VapourSynth video clip, not {_kind(value)}.")
        if value.format is None or value.format.id == vs.PresetVideoFormat.NONE:
            self.value_error(f"{name} must have one constant format; convert it with core.resize first.")
        if not value.width or not value.height:
            self.value_error(f"{name} must have one constant size; resize it with core.resize first.")
        if getattr(value, "gpu_resident", False):
            return cast(vs.VideoNode, value.std.GPUDownload())
        return value

    def samples(self, clip: vs.VideoNode, name: str) -> None:
        """Refuse formats other than 8 to 16 bit integer, half and float."""
        fmt = clip.format
        if fmt.sample_type == vs.INTEGER and fmt.bits_per_sample > 16:
            self.value_error(
                f"{name} is {fmt.name}; integer formats go up to 16 bits, convert it with core.resize first."
            )

    def rgb(self, clip: vs.VideoNode, name: str) -> None:
        """Refuse formats other than RGB."""
        family = clip.format.color_family
        if family == vs.YUV:
            how = f'core.resize.Bicubic({name}, format=vs.RGB24, matrix_in_s="709")'
        else:
            how = f"core.resize.Bicubic({name}, format=vs.RGB24)"
        if family != vs.RGB:
            self.value_error(f"{name} must be RGB, not {clip.format.name}; convert it: {how}.")

    def sides(self, clip: vs.VideoNode, name: str, most: int) -> None:
        """Refuse pictures with a side longer than ``most`` pixels."""
        if max(clip.width, clip.height) > most:
            self.value_error(
                f"{name} is {clip.width}x{clip.height}; sides go up to {most} pixels, crop or resize it first."
            )

    def same_picture(self, a: vs.VideoNode, a_name: str, b: vs.VideoNode, b_name: str) -> None:
        """Refuse two clips that differ in format or size."""
        self.same_format(a, a_name, b, b_name)
        if (a.width, a.height) != (b.width, b.height):
            self.value_error(
                f"{a_name} and {b_name} must have the same size, not {a.width}x{a.height} and "
                f"{b.width}x{b.height}; resize one with core.resize."
            )

    def same_format(self, a: vs.VideoNode, a_name: str, b: vs.VideoNode, b_name: str) -> None:
        """Refuse two clips that differ in format."""
        if a.format.id != b.format.id:
            self.value_error(
                f"{a_name} and {b_name} must have the same format, not {a.format.name} and {b.format.name}; "
                "convert one with core.resize."
            )

    def integer(self, value: object, name: str, minimum: int) -> int:
        """Return a whole number of at least ``minimum``; booleans are not numbers here."""
        try:
            number = None if isinstance(value, bool) else operator.index(cast(SupportsIndex, value))
        except TypeError:
            number = None
        if number is None:
            self.type_error(f"{name} must be an integer, not {_kind(value)}.")
        if number < minimum:
            self.value_error(f"{name} must be at least {minimum}, not {shown(number)}.")
        return number

    def number(self, value: object, name: str) -> float:
        """Return a real number that is not NaN."""
        try:
            number = None if isinstance(value, bool | str | bytes) else float(cast(SupportsFloat, value))
        except (TypeError, OverflowError):
            number = None
        if number is None:
            self.type_error(f"{name} must be a number, not {_kind(value)}.")
        if math.isnan(number):
            self.value_error(f"{name} must be a number, not NaN.")
        return number

    def boolean(self, value: object, name: str) -> bool:
        """Return True or False and nothing that merely looks like it."""
        if not isinstance(value, bool):
            self.type_error(f"{name} must be True or False, not {_kind(value)}.")
        return value

    def choice[E: Enum](self, value: object, name: str, options: type[E]) -> E:
        """Return the member of ``options`` that ``value`` is or names."""
        if isinstance(value, options):
            return value
        allowed = ", ".join(repr(option.value) for option in options)
        if not isinstance(value, str | int) or isinstance(value, bool):
            self.type_error(f"{name} must be one of {allowed}, not {_kind(value)}.")
        for option in options:
            if option.value == value:
                return option
        self.value_error(f"{name} must be one of {allowed}, not {shown(value)}.")

    def device(self, value: object, name: str, must_exist: bool = True) -> str | None:
        """Return "cpu", "cuda", "cuda:N" or None, by default after checking that the GPU that is asked for is there."""
        if isinstance(value, Enum):
            value = value.value
        if value is None:
            return None
        if not isinstance(value, str):
            self.type_error(f'{name} must be "cpu", "cuda", "cuda:0" or None, not {_kind(value)}.')
        if value == "cpu":
            return value
        found = re.fullmatch(r"cuda(?::(\d+))?", value)
        if found is None:
            self.value_error(f'{name} must be "cpu", "cuda", "cuda:0" or None, not {shown(value)}.')
        if not must_exist:
            return value
        devices = cuda_driver_devices()
        if devices == 0:
            self.runtime_error(f'{name}={shown(value)} needs an NVIDIA GPU; none was found, use {name}="cpu" or None.')
        if int(found[1] or 0) >= devices:
            self.value_error(f"{name}={shown(value)} does not exist; this machine has {devices} CUDA device(s).")
        return value

    def one_device(self, device: object, backend: object, must_exist: bool = True) -> str | None:
        """Return the device that either of the two names, which mean the same, asks for."""
        by_device = self.device(device, "device", must_exist)
        by_backend = self.device(backend, "backend", must_exist)
        if by_device and by_backend and by_device != by_backend:
            self.value_error(
                f"device={by_device!r} and backend={by_backend!r} contradict each other; they mean the same, give one."
            )
        return by_device or by_backend

    def torch_device(self, device: str | None) -> str:
        """Return where PyTorch is to compute: None picks CUDA where it works, else the CPU."""
        import torch

        if device is None:
            return "cuda" if torch.cuda.is_available() else "cpu"
        if device != "cpu" and not torch.cuda.is_available():
            self.runtime_error(
                f"device={device!r} needs a build of PyTorch with CUDA, see https://pytorch.org/get-started; "
                'or use device="cpu".'
            )
        return device

    def package(self, packages: Iterable[str], extra: str, purpose: str) -> None:
        """Refuse to go on without the packages of an extra."""
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        if missing:
            self.runtime_error(
                f'{purpose} needs {" and ".join(missing)}; install with: pip install "vs_align[{extra}]".'
            )


def cuda_driver_devices() -> int:
    """Count the CUDA devices by asking the driver, so that no framework need be installed or imported."""
    try:
        driver = ctypes.CDLL(_CUDA_DRIVER)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def shown(value: object) -> str:
    """Return a value as a message shows it: on one line, and not all of a long one."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: object) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{name} {shown(value)}" if isinstance(value, str | int | float) else name
