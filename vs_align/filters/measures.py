"""From a measure's name to the measure: what it needs is checked here, at the call."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import vapoursynth as vs

from ..checks import Checks, shown
from ..enums import Engine, Similarity
from ..models import ModelError
from ..similarity.measure import Measure
from ..similarity.planestats import PlaneStats
from ..similarity.plugins import JULEK, VSHIP, Plugin, PluginMeasure
from ..similarity.shortlist import Shortlist
from ..similarity.structure import Structure
from .embedding import embedding_measure
from .pose_rows import PoseOptions, pose_measure

__all__ = ["HEAVY", "MeasureOptions", "build_measure", "check_network", "plugin_engine"]

HEAVY = (Similarity.BUTTERAUGLI, Similarity.TOPIQ)
"""Measures that a shortlist is for."""

# All: at no length up to 9 does a shortlist change the choice in fewer than 0.5 % of frames (benchmarks/RESULTS.md).
_DEFAULT_SHORTLIST = {Similarity.BUTTERAUGLI: 0, Similarity.TOPIQ: 0}
# The difference of two distances that says nothing; in resnet about what half precision makes of it.
_BUTTERAUGLI_FLOOR, _TOPIQ_FLOOR, _RESNET_FLOOR = 0.1, 0.005, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """Which measure, and how it is run. See `vs_align.temporal` for the meaning of each."""

    similarity: Similarity
    engine: Engine | None
    device: str | None
    batch_size: int | None
    shortlist: int | None
    weights: str | PathLike[str] | Mapping[str, Any] | None
    model: str | PathLike[str] | None = None
    pose: PoseOptions | None = None


def check_network(check: Checks, measure: Similarity, weights: object, model: object) -> None:
    """Refuse weights and names of networks that are of no use to the measure, or of the wrong type."""
    for name, value, users in (
        ("weights", weights, (Similarity.TOPIQ, Similarity.RESNET)),
        ("model", model, (Similarity.RESNET, Similarity.EMBEDDING, Similarity.POSE)),
    ):
        if value is not None and measure not in users:
            check.value_error(f"{name} is for {' and '.join(users)}; similarity is {measure.value!r}, leave it out.")
    if weights is not None and not isinstance(weights, str | PathLike | Mapping):
        check.type_error(f"weights must be a path or a state dict, not {type(weights).__name__}.")
    if measure == Similarity.EMBEDDING:
        if model is not None and not isinstance(model, str | PathLike):
            check.type_error(f"model must be the path of an embedding network, not {type(model).__name__}.")
    elif model is not None and not isinstance(model, str):
        check.type_error(f'model must be the name of a network, such as "resnet50", not {type(model).__name__}.')


def build_measure(
    check: Checks, clip: vs.VideoNode, ref: vs.VideoNode, options: MeasureOptions, capacity: int, budget: int
) -> Measure:
    """Return the measure, ready to compare the two clips.

    Args:
        check: speaks for the public function.
        clip, ref: clips of one format and size.
        options: what the script asked for.
        capacity: clip frames that the stores keep.
        budget: bytes of frames or features held.
    """
    if options.similarity == Similarity.PLANESTATS:
        return PlaneStats(clip, ref, capacity, budget)
    if options.similarity == Similarity.STRUCTURE:
        return Structure(clip, ref, capacity)
    if options.similarity == Similarity.EMBEDDING:
        return embedding_measure(check, clip, ref, options.model, options.device, capacity)
    if options.similarity == Similarity.POSE:
        return pose_measure(check, clip, ref, options.pose or PoseOptions(), options.model)
    heavy = _heavy(check, clip, ref, options, capacity, budget)
    length = _DEFAULT_SHORTLIST.get(options.similarity, 0) if options.shortlist is None else options.shortlist
    return Shortlist(Structure(clip, ref, capacity), heavy, length) if length else heavy


def plugin_engine(options: MeasureOptions) -> Plugin | None:
    """Return the plugin that computes Butteraugli for these options; None: it is computed in torch."""
    if options.similarity != Similarity.BUTTERAUGLI:
        return None
    if options.engine is not None:
        return {Engine.VSHIP: VSHIP, Engine.JULEK: JULEK, Engine.TORCH: None}[options.engine]
    if options.device != "cpu" and VSHIP.is_loaded:
        return VSHIP
    return JULEK if options.device in (None, "cpu") and JULEK.is_loaded else None


def _heavy(
    check: Checks, clip: vs.VideoNode, ref: vs.VideoNode, options: MeasureOptions, capacity: int, budget: int
) -> Measure:
    plugin = plugin_engine(options)
    if plugin is not None:
        if not plugin.is_loaded:
            check.runtime_error(f"engine={plugin.namespace!r} needs a plugin that is not loaded; see {plugin.home}.")
        _, _, gpu = (options.device or "").partition(":")
        return PluginMeasure(plugin, clip, ref, capacity, int(gpu or 0) or None)
    _check_packages(check, options.similarity)
    device = check.torch_device(options.device)
    # Imported here because torch takes seconds.
    from ..similarity.learned import EngineMeasure

    make = {Similarity.BUTTERAUGLI: _butteraugli, Similarity.TOPIQ: _topiq, Similarity.RESNET: _resnet}
    try:
        label, engine, floor = make[options.similarity](check, device, options)
    except (ModelError, ImportError) as error:
        check.runtime_error(str(error))
    return EngineMeasure(
        label, engine, clip, ref,
        device=device, capacity=capacity, budget=budget, batch_size=options.batch_size, floor=floor,
    )  # fmt: skip


def _check_packages(check: Checks, measure: Similarity) -> None:
    if measure == Similarity.TOPIQ:
        check.package(("torch", "timm", "pyiqa"), "topiq", 'similarity="topiq" (precision 3)')
    elif measure == Similarity.RESNET:
        check.package(("torch", "timm"), "resnet", 'similarity="resnet"')
    else:
        purpose = f'similarity="butteraugli" (precision 2) without the plugins {VSHIP.home} and {JULEK.home}'
        check.package(("torch",), "torch", purpose)


def _butteraugli(check: Checks, device: str, options: MeasureOptions) -> tuple[str, Any, float]:
    from ..similarity.butteraugli_torch import ButteraugliTorch

    return "Butteraugli (torch)", ButteraugliTorch(device), _BUTTERAUGLI_FLOOR


def _topiq(check: Checks, device: str, options: MeasureOptions) -> tuple[str, Any, float]:
    from ..similarity.topiq import Topiq

    return "TOPIQ", Topiq(device, weights=options.weights, half=device != "cpu"), _TOPIQ_FLOOR


def _resnet(check: Checks, device: str, options: MeasureOptions) -> tuple[str, Any, float]:
    from ..similarity.resnet import DEFAULT_MODEL, ResNet, is_backbone

    model = DEFAULT_MODEL if options.model is None else str(options.model)
    if not is_backbone(model):
        check.value_error(
            f'model must be the name of a timm backbone, such as "resnet50" (timm.list_models()), not {shown(model)}.'
        )
    engine = ResNet(device, model=model, weights=options.weights, half=device != "cpu")
    return f"Deep features ({model})", engine, _RESNET_FLOOR
