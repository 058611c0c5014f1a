"""What `similarity="resnet"` refuses, on machines with and without PyTorch."""

import importlib.util
from collections.abc import Callable

import pytest
import vapoursynth as vs
from helpers import one_line

import vs_align
from vs_align import checks

EACH_CALL = pytest.mark.parametrize("call", [vs_align.temporal, vs_align.analyse], ids=["temporal", "analyse"])
CASES = {
    "model a number": ({"similarity": "resnet", "model": 50}, TypeError, r"model must be the name.*resnet50.*int"),
    "model a class": ({"similarity": "resnet", "model": str}, TypeError, r"model must be the name.*type"),
    "model of another measure": ({"model": "resnet50"}, ValueError, r"model is for resnet and embedding.*leave it out"),
    "model of topiq": ({"similarity": "topiq", "model": "resnet50"}, ValueError, r"model is for resnet"),
    "weights a number": ({"similarity": "resnet", "weights": 3}, TypeError, r"weights must be a path .*int"),
    "weights a list": ({"similarity": "resnet", "weights": ["a.pth"]}, TypeError, r"weights must be a path .*list"),
    "weights of another measure": ({"weights": "a.pth"}, ValueError, r"weights is for topiq and resnet"),
    "engine": ({"similarity": "resnet", "engine": "torch"}, ValueError, r"engine is for butteraugli"),
}


def clip() -> vs.VideoNode:
    return vs.core.std.BlankClip(None, 32, 24, vs.RGB24, 4)


@EACH_CALL
@pytest.mark.parametrize("case", CASES)
def test_an_argument_that_is_no_use_is_refused_in_one_line(call: Callable[..., object], case: str) -> None:
    options, kind, says = CASES[case]
    with pytest.raises(kind) as error:
        call(clip(), clip(), **options)
    one_line(f"vs_align.{call.__name__}", error, says)


def test_a_shortlist_is_not_for_features_that_cost_once_a_frame() -> None:
    with pytest.raises(ValueError, match="shortlist is for butteraugli and topiq") as error:
        vs_align.temporal(clip(), clip(), similarity="resnet", shortlist=3)
    one_line("vs_align.temporal", error, "resnet")


@EACH_CALL
@pytest.mark.parametrize("missing", ["torch", "timm"])
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, call: Callable[..., object], missing: str
) -> None:
    find = importlib.util.find_spec

    def found(name: str, package: str | None = None) -> object:
        if name in {"torch", "timm"}:
            return None if name == missing else object()
        return find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    with pytest.raises(RuntimeError) as error:
        call(clip(), clip(), similarity="resnet")
    one_line(f"vs_align.{call.__name__}", error, rf'needs {missing}; install with: pip install "vs_align\[resnet\]"')


@EACH_CALL
def test_cuda_where_there_is_none(monkeypatch: pytest.MonkeyPatch, call: Callable[..., object]) -> None:
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 0)
    with pytest.raises(RuntimeError) as error:
        call(clip(), clip(), similarity="resnet", device="cuda")
    one_line(f"vs_align.{call.__name__}", error, "needs an NVIDIA GPU")
