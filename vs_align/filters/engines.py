"""From an engine's name to the engine of `vs_align.spatial`: what it needs is checked here, at the call."""

import importlib.util
import logging
from os import PathLike
from typing import TYPE_CHECKING

import vapoursynth as vs

from ..checks import Checks
from ..enums import FlowEngine
from ..flow.options import AlignOptions
from ..frames import peak
from ..models import ModelError

if TYPE_CHECKING:
    from ..flow.network.frame import Picture
    from ..flow.network.pipeline import Pipeline

__all__ = ["build_network", "check_engine"]

_log = logging.getLogger("vs_align")

# Whether the network is taken, where CUDA works, when neither engine nor device is named. It has to be better first.
_NETWORK_LEADS = False


def check_engine(
    check: Checks, engine: object, device: object, backend: object, weights: object
) -> tuple[FlowEngine, str | None]:
    """Return the engine that is meant, and the device that is asked for."""
    named = None if engine is None else check.choice(engine, "engine", FlowEngine)
    where = check.one_device(device, backend)
    on_gpu = where not in (None, "cpu")
    chosen = named or (FlowEngine.FLOW if on_gpu or (where is None and _network_leads()) else FlowEngine.DIS)
    if weights is not None and not isinstance(weights, str | PathLike):
        check.type_error(f"weights must be the path of a .safetensors file or None, not {type(weights).__name__}.")
    if chosen == FlowEngine.DIS and weights is not None:
        check.value_error('weights are for the engine "flow" alone; name it, engine="flow", or give none.')
    if chosen == FlowEngine.DIS and on_gpu:
        _log.warning("%s: the engine %r runs on the CPU, also with device=%r.", check.function, chosen.value, where)
    return chosen, where


def _network_leads() -> bool:
    if not _NETWORK_LEADS or importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def build_network(
    check: Checks,
    clip: vs.VideoNode,
    ref: vs.VideoNode,
    options: AlignOptions,
    alpha: bool,
    device: str | None,
    weights: str | PathLike[str] | None,
) -> "Pipeline":
    """Return the network, ready to align frames of clip with those of ref.

    Args:
        check: speaks for the public function.
        clip, ref: RGB clips.
        options: how they are aligned.
        alpha: whether it is asked what comes from inside clip.
        device: what the script asked for.
        weights: a local file; None: the usual one.
    """
    check.package(("torch", "safetensors"), "torch", 'engine="flow", which device="cuda" stands for,')
    where = check.torch_device(device)
    # Imported here because torch takes seconds.
    from ..flow.network.memory import LANES, GpuError
    from ..flow.network.pipeline import Setup, opened

    setup = Setup(clip=_picture(clip), ref=_picture(ref), options=options, alpha=alpha)
    try:
        pipeline = opened(weights, setup, where)
    except (GpuError, ModelError) as fault:
        check.runtime_error(str(fault))
    if where == "cpu":
        _log.warning('%s: the engine "flow" is slow on a CPU; "dis" is made for it.', check.function)
    elif pipeline.lanes < LANES:
        _log.warning(
            "%s: the GPU memory that is free is enough for %d frames in flight, not %d, which costs speed.",
            check.function, pipeline.lanes, LANES,
        )  # fmt: skip
    return pipeline


def _picture(clip: vs.VideoNode) -> "Picture":
    from ..flow.network.frame import Picture

    fmt = clip.format
    kind = "uint" if fmt.sample_type == vs.INTEGER else "float"
    return Picture(clip.width, clip.height, f"{kind}{8 * fmt.bytes_per_sample}", peak(fmt))
