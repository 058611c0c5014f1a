"""Precisions 2 and 3 of `vs_align.temporal`: the plugins, Butteraugli and TOPIQ in torch, and what is said without."""

import dataclasses
import importlib.util
import logging
import random
import socket
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from helpers import converted, drawn, held, moving, noise, retime, values

import vs_align
from vs_align import checks, models
from vs_align.filters import temporal as module

torch_only = pytest.mark.torch
PREFIX = "vs_align.temporal: "
# A copy that drops and repeats frames of the film, and where it stands at each of ref's frames.
KEPT = [0, 1, 2, 2, 2, 3, 5, 6, 9, 10, 11, 11, 12, 13, 15, 16, 16, 16, 17, 18, 19, 20, 20, 21]
WIDTH, HEIGHT = 48, 32


def film(length: int = 24, format: int = vs.RGB24, seed: int = 0) -> vs.VideoNode:
    return held(drawn(moving(WIDTH, HEIGHT, seed=seed), length, format))


def paler(clip: vs.VideoNode) -> vs.VideoNode:
    """Another grade of an RGB24 clip."""
    return clip.std.Expr("x 0.9 * 12 +")


def pair(format: int = vs.RGB24) -> tuple[vs.VideoNode, vs.VideoNode]:
    """A film in another grade, and a ref that shows its frames ``KEPT``."""
    clip = film()
    ref = retime(clip, KEPT)
    return converted(paler(clip), format), converted(ref, format)


# ---------------------------------------------------------------- the plugins, by stand-ins


class StandIn:
    """A plugin with one function, as its documentation has it; the distance is a hundred times PlaneStats' difference.

    Attributes:
        calls: the arguments of each call.
    """

    def __init__(self, function: str, format: int, white: str, prop: str, decoys: tuple[str, ...] = ()) -> None:
        self.calls: list[tuple[vs.VideoNode, vs.VideoNode, dict]] = []
        self._format, self._white, self._prop, self._decoys = format, white, prop, decoys
        setattr(self, function, self._measure)

    def _measure(self, first: vs.VideoNode, second: vs.VideoNode, **options: object) -> vs.VideoNode:
        self.calls.append((first, second, options))
        # What the real one refuses.
        assert first.format.id == second.format.id == self._format
        assert (first.width, first.height) == (second.width, second.height)
        assert set(options) == {self._white}
        stats = first.std.PlaneStats(second, plane=1)

        def note(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
            frame = f.copy()
            frame.props[self._prop] = 100 * frame.props["PlaneStatsDiff"]
            for name in self._decoys:
                frame.props[name] = -frame.props["PlaneStatsDiff"]
            return frame

        return stats.std.ModifyFrame(stats, note)


class Core:
    """The real core with plugins of its own; those it should not have are hidden."""

    def __init__(self, **plugins: StandIn) -> None:
        self.julek, self.vship = plugins.get("julek"), plugins.get("vship")

    def __getattr__(self, name: str) -> object:
        return getattr(REAL_CORE, name)


# It stands for the core of the environment that is active, one for each test.
REAL_CORE = vs.core


@pytest.fixture
def loaded(monkeypatch):
    """Loads stand-ins by name and returns them."""

    def load(*names: str) -> dict[str, StandIn]:
        kinds = {
            "julek": ("Butteraugli", vs.RGB24, "intensity_target", "_FrameButteraugli"),
            "vship": (
                *("BUTTERAUGLI", vs.RGBS, "intensity_multiplier", "_BUTTERAUGLI_INFNorm"),
                ("_BUTTERAUGLI_2Norm", "_BUTTERAUGLI_3Norm", "_BUTTERAUGLI_QNorm"),
            ),
        }
        plugins = {name: StandIn(*kinds[name]) for name in names}
        monkeypatch.setattr(vs, "core", Core(**plugins))
        return plugins

    return load


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.setattr(checks, "cuda_driver_devices", lambda: 0)


@pytest.fixture
def without(monkeypatch):
    """Hides packages; those of the extras that are not hidden look as if they were there."""

    def hide(*hidden: str) -> None:
        find = importlib.util.find_spec

        def found(name: str, package: str | None = None) -> object:
            if name in hidden:
                return None
            return object() if name in {"torch", "timm", "pyiqa"} else find(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", found)

    return hide


WHITE = {"julek": {"intensity_target": 80}, "vship": {"intensity_multiplier": 80}}
FORMATS = {"julek": vs.RGB24, "vship": vs.RGBS}


@pytest.mark.parametrize("name", ["julek", "vship"])
@pytest.mark.parametrize("format", [vs.RGB24, vs.RGBS, vs.YUV420P8, vs.YUV444P16])
def test_a_plugin_is_called_as_documented_and_its_maximum_norm_decides(loaded, name, format):
    plugin = loaded(name)[name]
    clip, ref = pair(format)
    synced = vs_align.temporal(clip, ref, tr=8, precision=2, engine=name)
    assert values(synced) == KEPT
    for first, second, options in plugin.calls:
        assert options == WHITE[name]
        assert first.format.id == second.format.id == FORMATS[name]
    expected = [
        first.std.PlaneStats(second, plane=1).get_frame(0).props["PlaneStatsDiff"]
        for first, second in [[x.resize.Bicubic(format=FORMATS[name]) for x in (ref[20], clip[KEPT[20]])]]
    ]
    assert synced.get_frame(20).props["AlignScore"] == pytest.approx(100 * expected[0], rel=1e-6)


@pytest.mark.parametrize("name", ["julek", "vship"])
def test_a_plugin_is_given_the_original_first(loaded, name):
    """Butteraugli is not symmetric: ref is the original."""
    plugin = loaded(name)[name]
    clip, ref = film(seed=1), film(seed=2)
    vs_align.temporal(clip, ref, tr=0, precision=2).get_frame(7)
    first, second, _ = plugin.calls[0]
    for shown, source in ((first, ref), (second, clip)):
        wanted = np.asarray(source.resize.Bicubic(format=FORMATS[name]).get_frame(7)[0])
        assert np.array_equal(np.asarray(shown.get_frame(7)[0]), wanted)


@pytest.mark.parametrize("name", ["julek", "vship"])
def test_the_nodes_of_a_plugin_are_made_when_they_are_needed(loaded, name):
    plugin = loaded(name)[name]
    clip = drawn(noise(16, 16), 400, vs.RGB24)
    for tr in (0, 20, 100_000):
        vs_align.temporal(clip, clip, tr=tr, precision=2)
    assert plugin.calls == []
    synced = vs_align.temporal(clip, clip, tr=4, precision=2)
    for n in (100, 101, 102, 300):
        assert synced.get_frame(n).props["AlignFrame"] == n
    assert len(plugin.calls) == 9


@pytest.mark.parametrize("name", ["julek", "vship"])
def test_a_plugin_behind_a_shortlist_compares_the_best_few(loaded, name):
    plugin = loaded(name)[name]
    clip, ref = pair()
    synced = vs_align.temporal(clip, ref, tr=8, precision=2, shortlist=3)
    assert synced.get_frame(12).props["AlignFrame"] == KEPT[12]
    assert len(plugin.calls) == 3
    assert values(synced) == KEPT


@pytest.mark.parametrize("name", ["julek", "vship"])
def test_a_plugin_at_the_ends_and_with_other_rates(loaded, name):
    loaded(name)
    clip = film()
    ref = retime(clip, [*range(24), *[23] * 6])
    assert values(vs_align.temporal(clip, ref, tr=5, precision=2)) == [*range(24), *[23] * 6]
    half = retime(clip, range(0, 24, 2))
    rates = {"clip_num": 24, "clip_den": 1, "ref_num": 12, "ref_den": 1}
    assert values(vs_align.temporal(clip, half, tr=3, precision=2, **rates)) == list(range(0, 24, 2))


def with_nan(clip: vs.VideoNode, frame: int) -> vs.VideoNode:
    """The clip with one sample of one frame that is no number."""

    def spoil(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        copy = f.copy()
        for p in range(3 if n == frame else 0):
            np.asarray(copy[p])[3, 4] = np.nan
        return copy

    return clip.std.ModifyFrame(clip, spoil)


def test_a_candidate_without_a_number_is_never_the_plugins_best(loaded):
    loaded("vship")
    film = held(drawn(moving(WIDTH, HEIGHT), 10, vs.RGBS))
    found = values(vs_align.temporal(with_nan(film, 5), film, tr=3, precision=2))
    assert found[5] in (4, 6)
    assert found[:5] + found[6:] == [0, 1, 2, 3, 4, 6, 7, 8, 9]


ENGINES = [
    ({"vship", "julek"}, {}, "vship"),
    ({"vship", "julek"}, {"device": "cpu"}, "julek"),
    ({"vship", "julek"}, {"backend": vs_align.Backend.CPU}, "julek"),
    ({"vship", "julek"}, {"device": "cuda"}, "vship"),
    ({"vship"}, {"device": "cuda:0"}, "vship"),
    ({"vship"}, {}, "vship"),
    ({"vship"}, {"device": "cpu"}, "torch"),
    ({"julek"}, {}, "julek"),
    ({"julek"}, {"device": "cpu"}, "julek"),
    (set(), {}, "torch"),
    (set(), {"device": "cpu"}, "torch"),
    ({"vship", "julek"}, {"engine": "julek"}, "julek"),
    ({"vship", "julek"}, {"engine": "vship"}, "vship"),
    ({"vship", "julek"}, {"engine": "torch"}, "torch"),
    ({"vship", "julek"}, {"engine": "torch", "device": "cpu"}, "torch"),
    ({"vship", "julek"}, {"engine": vs_align.Engine.JULEK}, "julek"),
]


@pytest.mark.parametrize(("plugins", "options", "expected"), ENGINES, ids=str)
def test_the_engine_is_the_first_that_is_there_and_fits(loaded, without, no_driver, plugins, options, expected):
    """Torch is hidden, so that asking for it is an error that names it."""
    without("torch")
    stand_ins = loaded(*plugins)
    clip = film(6)
    if expected == "torch":
        with pytest.raises(RuntimeError, match=rf"^{PREFIX}.*needs torch; .*vs_align\[torch\]"):
            vs_align.temporal(clip, clip, precision=2, **options)
        return
    vs_align.temporal(clip, clip, precision=2, **options).get_frame(0)
    assert {name for name, plugin in stand_ins.items() if plugin.calls} == {expected}


def test_cuda_without_vship_needs_a_driver(loaded, no_driver):
    loaded("julek")
    refused(RuntimeError, "needs an NVIDIA GPU", precision=2, device="cuda")


# ---------------------------------------------------------------- Butteraugli in torch


def butteraugli_rgb(node: vs.VideoNode, frame: int) -> object:
    import torch

    shown = node.get_frame(frame)
    return torch.from_numpy(np.stack([np.array(shown[p], np.float32) for p in range(3)]))


def butteraugli(ref: vs.VideoNode, n: int, clip: vs.VideoNode, m: int) -> float:
    """The distance of two frames of RGBS clips by the measure itself, without the filter."""
    from vs_align.similarity.butteraugli_torch import ButteraugliTorch

    measure = ButteraugliTorch()
    original, candidate = (measure.features(butteraugli_rgb(*x)) for x in ((ref, n), (clip, m)))
    return float(measure.distances(original, [candidate])[0])


@pytest.fixture
def one_thread():
    """Torch's own threads wait for each other where the cores are busy."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def by_torch(clip: vs.VideoNode, ref: vs.VideoNode, **options: object) -> vs.VideoNode:
    return vs_align.temporal(clip, ref, precision=2, engine="torch", device="cpu", **options)


@torch_only
def test_butteraugli_finds_the_frames_and_its_score_is_the_measures(one_thread):
    clip, ref = pair()
    synced = by_torch(clip, ref, tr=8)
    assert values(synced) == KEPT
    clip, ref = (x.resize.Bicubic(format=vs.RGBS) for x in (clip, ref))
    for n in (0, 7, 23):
        score = synced.get_frame(n).props["AlignScore"]
        assert score == pytest.approx(butteraugli(ref, n, clip, KEPT[n]), rel=1e-5)
        assert abs(score / butteraugli(clip, KEPT[n], ref, n) - 1) > 1e-3, "the order of the two must show"


@torch_only
@pytest.mark.parametrize("length", [3, 100])
def test_a_shortlist_gives_the_choice_of_the_whole_window(one_thread, length):
    clip, ref = pair()
    whole, short = by_torch(clip, ref, tr=8), by_torch(clip, ref, tr=8, shortlist=length)
    assert values(short) == values(whole) == KEPT
    assert values(short, "AlignScore") == pytest.approx(values(whole, "AlignScore"), rel=1e-6)


@torch_only
def test_a_shortlist_of_nought_compares_every_candidate(one_thread):
    clip, ref = (held(drawn(noise(16, 16, seed), 12, vs.RGB24)) for seed in (1, 2))
    whole = values(by_torch(clip, ref, tr=4), "AlignScore")
    assert values(by_torch(clip, ref, tr=4, shortlist=0), "AlignScore") == whole
    best_by_structure = values(by_torch(clip, ref, tr=4, shortlist=1), "AlignScore")
    assert all(a >= b - 1e-6 for a, b in zip(best_by_structure, whole, strict=True))
    assert best_by_structure != pytest.approx(whole, rel=1e-6)


@torch_only
@pytest.mark.parametrize("options", [{}, {"batch_size": 3}, {"shortlist": 4}], ids=str)
def test_a_candidate_without_a_number_is_never_the_best(one_thread, options):
    film = held(drawn(moving(WIDTH, HEIGHT), 8, vs.RGBS))
    found = values(by_torch(with_nan(film, 5), film, tr=3, **options))
    assert found[5] != 5
    assert found[:5] + found[6:] == [0, 1, 2, 3, 4, 6, 7]


@torch_only
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_changes_nothing(one_thread, batch_size):
    clip, ref = pair()
    usual, batched = by_torch(clip, ref, tr=4), by_torch(clip, ref, tr=4, batch_size=batch_size)
    assert values(batched) == values(usual)
    assert values(batched, "AlignScore") == pytest.approx(values(usual, "AlignScore"), rel=1e-5)


@torch_only
@pytest.mark.parametrize("options", [{}, {"shortlist": 3}], ids=["whole", "shortlist"])
def test_any_order_and_two_threads_give_the_same(one_thread, options):
    clip, ref = pair()
    names = ("AlignFrame", "AlignScore", "AlignConfidence")

    def row(frame: vs.VideoFrame) -> tuple:
        return tuple(frame.props[name] for name in names)

    sequential = by_torch(clip, ref, tr=6, **options)
    expected = [row(sequential.get_frame(n)) for n in range(ref.num_frames)]
    order = random.Random(5).sample(range(ref.num_frames), ref.num_frames)
    shuffled = by_torch(clip, ref, tr=6, **options)
    assert {n: row(shuffled.get_frame(n)) for n in order} == dict(enumerate(expected))
    before = vs.core.num_threads
    vs.core.num_threads = 2
    try:
        parallel = by_torch(clip, ref, tr=6, **options)
        waiting = {n: parallel.get_frame_async(n) for n in order}
        assert {n: row(future.result()) for n, future in waiting.items()} == dict(enumerate(expected))
    finally:
        vs.core.num_threads = before


ALL_FORMATS = [
    *(vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.GRAYH, vs.GRAYS, vs.RGB24, vs.RGB30, vs.RGB48, vs.RGBH, vs.RGBS),
    *(vs.YUV420P8, vs.YUV422P10, vs.YUV444P16, vs.YUV420P16, vs.YUV444PH, vs.YUV444PS),
]


@torch_only
@pytest.mark.parametrize("format", ALL_FORMATS, ids=lambda format: format.name)
def test_every_format_is_compared_and_an_identical_frame_is_at_nought(one_thread, format):
    clip = drawn(moving(WIDTH, HEIGHT), 5, format)
    synced = by_torch(clip, clip, tr=2)
    assert values(synced) == list(range(5))
    assert values(synced, "AlignScore") == [0.0] * 5


SAID = [
    (matrix, range_) for matrix in (None, "unspec", "709", "470bg", "2020ncl") for range_ in (None, "limited", "full")
]
MATRIX_CODES = {"unspec": 2, "709": 1, "470bg": 5, "2020ncl": 9}


def said(clip: vs.VideoNode, matrix: str | None, range_: str | None) -> vs.VideoNode:
    """The clip with these frame properties and no others."""
    clip = clip.std.RemoveFrameProps()
    if matrix is not None:
        clip = clip.std.SetFrameProps(_Matrix=MATRIX_CODES[matrix])
    return clip if range_ is None else clip.std.SetFrameProps(_Range=int(range_ == "full"))


@torch_only
@pytest.mark.parametrize("format", [vs.YUV444P8, vs.YUV420P16], ids=lambda format: format.name)
def test_the_conversion_follows_matrix_and_range(one_thread, format):
    """Frames that do not say their matrix are BT.601 at this height, and limited, as players have it."""
    clip, ref = (drawn(moving(WIDTH, HEIGHT, seed=seed), 1, format) for seed in (1, 2))
    scores = {}
    for matrix, range_ in SAID:
        read_as = "470bg" if matrix in (None, "unspec") else matrix
        options = {"format": vs.RGBS, "matrix_in_s": read_as, "range_in_s": range_ or "limited"}
        plain = [x.std.RemoveFrameProps().resize.Bicubic(**options) for x in (ref, clip)]
        found = by_torch(*(said(x, matrix, range_) for x in (clip, ref)), tr=0).get_frame(0).props["AlignScore"]
        assert found == pytest.approx(butteraugli(plain[0], 0, plain[1], 0), rel=1e-5), (matrix, range_)
        scores[read_as, range_ or "limited"] = round(found, 4)
    assert len(set(scores.values())) == 6, "each matrix and range must show"


@torch_only
def test_frames_without_a_matrix_are_bt709_at_720_lines(one_thread):
    clip, ref = (drawn(moving(32, 720, seed=seed), 1, vs.YUV420P8) for seed in (1, 2))
    scores = [
        by_torch(*(said(x, matrix, "limited") for x in (clip, ref)), tr=0).get_frame(0).props["AlignScore"]
        for matrix in (None, "709", "470bg")
    ]
    assert scores[0] == scores[1] != scores[2]


@torch_only
def test_the_two_clips_are_converted_each_by_its_own_matrix(one_thread):
    rgb = drawn(moving(WIDTH, HEIGHT), 3, vs.RGBS)
    as_601, as_709 = (rgb.resize.Bicubic(format=vs.YUV444PS, matrix=code) for code in (6, 1))
    assert max(values(by_torch(as_601, as_709, tr=0), "AlignScore")) < 0.01
    mislabelled = as_601.std.SetFrameProps(_Matrix=1)
    assert min(values(by_torch(mislabelled, as_709, tr=0), "AlignScore")) > 0.1


# ---------------------------------------------------------------- a window that does not fit


@pytest.fixture
def small_budget(monkeypatch):
    """Room for the Butteraugli features of four frames."""
    monkeypatch.setattr(module, "_MOST_HELD_BYTES", 4 * 44 * (HEIGHT * (WIDTH + 4) + HEIGHT // 2 * (WIDTH // 2 + 4)))


@torch_only
@pytest.mark.parametrize("options", [{}, {"shortlist": 5}], ids=["whole", "shortlist"])
def test_a_window_beyond_the_budget_gives_the_same_and_says_so_once(one_thread, monkeypatch, caplog, options, request):
    clip, ref = pair()
    roomy = by_torch(clip, ref, tr=6, **options)
    expected = values(roomy), values(roomy, "AlignScore")
    with caplog.at_level(logging.WARNING, "vs_align"):
        values(by_torch(clip, ref, tr=6, **options))
        assert not caplog.records
        request.getfixturevalue("small_budget")
        tight = by_torch(clip, ref, tr=6, **options)
        assert (values(tight), values(tight, "AlignScore")) == expected
    assert [(record.name, record.levelno) for record in caplog.records] == [("vs_align", logging.WARNING)]
    message = caplog.records[0].getMessage()
    assert "window of" in message
    assert "\n" not in message
    shuffled = by_torch(clip, ref, tr=6, **options)
    for n in (20, 3, 11, 4, 0):
        assert shuffled.get_frame(n).props["AlignFrame"] == KEPT[n]


# ---------------------------------------------------------------- TOPIQ


@pytest.fixture(scope="module")
def network():
    """CFANet as pyiqa has it, with random weights under which frames differ."""
    torch = pytest.importorskip("torch")
    arch = pytest.importorskip("pyiqa.archs.topiq_arch")
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    options = {key: value for key, value in DEFAULT_CONFIGS["topiq_fr"]["metric_opts"].items() if key != "type"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        net = arch.CFANet(**options, pretrained=False, backbone_pretrain=False).eval().requires_grad_(False)
        for name, value in net.named_parameters():
            if name.startswith(("weight_pool", "dim_reduce")):
                value.mul_(3)
        for name, value in net.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(std=0.1)
    return net


def topiq(network, clip: vs.VideoNode, ref: vs.VideoNode, **options: object) -> vs.VideoNode:
    return vs_align.temporal(clip, ref, precision=3, device="cpu", weights=network.state_dict(), **options)


def topiq_pair() -> tuple[vs.VideoNode, vs.VideoNode]:
    clip = held(drawn(moving(WIDTH, HEIGHT, grain=0.1), 7, vs.RGBS))
    return clip, held(drawn(moving(WIDTH, HEIGHT, seed=3), 7, vs.RGBS))


@torch_only
def test_topiq_chooses_what_cfanet_chooses(one_thread, network):
    """Under random weights the right frame need not be the best one; the network itself is asked."""
    import torch

    clip, ref = topiq_pair()
    found = [dict(frame.props) for frame in topiq(network, clip, ref, tr=2).frames()]
    for n, frame in enumerate(found):
        with torch.no_grad():
            original = butteraugli_rgb(ref, n)[None]
            distances = {
                m: 1 - network(butteraugli_rgb(clip, m)[None], original).item()
                for m in range(max(0, n - 2), min(7, n + 3))
            }
        best = min(distances, key=distances.__getitem__)
        lead = sorted(distances.values())[1] - distances[best]
        assert lead > 1e-5, "the frames must differ by more than rounding, or the test says nothing"
        assert frame["AlignFrame"] == best
        assert frame["AlignScore"] == pytest.approx(distances[best], abs=1e-4)
    assert len({frame["AlignOffset"] for frame in found}) > 1


@torch_only
def test_topiq_in_batches_chooses_the_same(one_thread, network):
    clip, ref = topiq_pair()
    one, three = (topiq(network, clip, ref, tr=2, batch_size=size) for size in (1, 3))
    assert values(one) == values(three)
    assert values(three, "AlignScore") == pytest.approx(values(one, "AlignScore"), abs=1e-5)


@torch_only
def test_topiq_runs_the_backbone_once_a_frame(one_thread, network, monkeypatch):
    from vs_align.similarity.topiq import Topiq

    seen, features = [], Topiq.features

    def counted(self, rgb):
        seen.append(rgb.numpy().tobytes())
        return features(self, rgb)

    monkeypatch.setattr(Topiq, "features", counted)
    clip, ref = topiq_pair()
    synced = topiq(network, clip, ref, tr=2)
    assert seen == []
    for n in range(ref.num_frames):
        synced.get_frame(n)
    assert len(seen) == len(set(seen)) == clip.num_frames + ref.num_frames


# ---------------------------------------------------------------- what is refused


def refused(error: type[Exception], words: str, **options: object) -> None:
    clip = drawn(moving(16, 16), 3, vs.RGB24)
    with pytest.raises(error, match=words) as caught:
        vs_align.temporal(clip, clip, **options)
    message = str(caught.value)
    assert message.startswith(PREFIX), message
    assert "\n" not in message


@pytest.mark.parametrize("missing", ["torch", "timm", "pyiqa"])
def test_a_missing_package_is_named_with_its_extra(without, missing):
    without(missing)
    refused(RuntimeError, rf'needs {missing}; install with: pip install "vs_align\[topiq\]"', precision=3)


def test_butteraugli_without_torch_names_the_extra_and_both_plugins(loaded, without):
    without("torch")
    loaded()
    refused(RuntimeError, r'needs torch; install with: pip install "vs_align\[torch\]"', precision=2)
    refused(RuntimeError, "codeberg.org/Line-fr/Vship.*github.com/dnjulek/vapoursynth-julek-plugin", precision=2)


@pytest.mark.parametrize(
    ("name", "home"),
    [("vship", "https://codeberg.org/Line-fr/Vship"), ("julek", "https://github.com/dnjulek/vapoursynth-julek-plugin")],
)
def test_a_plugin_that_is_not_loaded_is_named_with_its_home(loaded, name, home):
    loaded(*({"vship", "julek"} - {name}))
    refused(RuntimeError, home, precision=2, engine=name)


UNUSABLE = [
    (ValueError, "engine must be one of", {"precision": 2, "engine": "libjxl"}),
    (TypeError, "engine must be one of", {"precision": 2, "engine": 2.5}),
    (ValueError, "engine is for butteraugli", {"precision": 1, "engine": "torch"}),
    (ValueError, "engine is for butteraugli", {"precision": 3, "engine": "torch"}),
    (ValueError, "shortlist must be at least 0", {"precision": 2, "shortlist": -1}),
    (TypeError, "shortlist must be an integer", {"precision": 2, "shortlist": 2.5}),
    (TypeError, "shortlist must be an integer", {"precision": 2, "shortlist": True}),
    (ValueError, "shortlist is for butteraugli and topiq", {"precision": 1, "shortlist": 3}),
    (ValueError, "shortlist is for butteraugli and topiq", {"similarity": "structure", "shortlist": 3}),
    (ValueError, "batch_size must be at least 1", {"precision": 2, "batch_size": 0}),
    (ValueError, "batch_size must be at least 1", {"precision": 3, "batch_size": 0}),
    (TypeError, "batch_size must be an integer", {"precision": 3, "batch_size": 1.5}),
    (ValueError, "weights is for topiq", {"precision": 2, "weights": "weights.pth"}),
]


@pytest.mark.parametrize(("error", "words", "options"), UNUSABLE, ids=str)
def test_an_argument_that_is_no_use_is_refused(error, words, options):
    refused(error, words, **options)


@pytest.fixture
def needs_topiq():
    for name in ("torch", "timm", "pyiqa"):
        pytest.importorskip(name)


@torch_only
def test_weights_that_are_not_there(needs_topiq, tmp_path):
    refused(RuntimeError, "no TOPIQ weights file at .*missing.pth", precision=3, weights=tmp_path / "missing.pth")
    refused(RuntimeError, "no TOPIQ weights file at", precision=3, weights=tmp_path)


@torch_only
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.pth", b""),
        ("text.pth", b"no model"),
        ("cut.pth", b"PK\x03\x04" + bytes(100)),
        ("text.safetensors", b"no"),
    ],
)
def test_weights_that_are_no_model(needs_topiq, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    refused(RuntimeError, name, precision=3, weights=path)


@torch_only
@pytest.mark.parametrize("weights", [{"a": 1}, 3, ["weights.pth"]], ids=repr)
def test_weights_of_the_wrong_kind(needs_topiq, weights):
    refused((RuntimeError, TypeError, ValueError), "weights", precision=3, weights=weights)


@torch_only
def test_weights_of_another_network(needs_topiq):
    import torch

    refused(RuntimeError, "another network", precision=3, weights={"layer.weight": torch.zeros(2, 2)})


@torch_only
def test_a_download_that_fails_is_one_line_and_leaves_nothing(needs_topiq, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(models, "TOPIQ", dataclasses.replace(models.TOPIQ, url=f"http://127.0.0.1:{port}/weights.pth"))
    monkeypatch.setenv(models.CACHE_ENV, str(tmp_path / "cache"))
    monkeypatch.delenv(models.TOPIQ.env, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    refused(RuntimeError, rf"cannot be downloaded from http://127\.0\.0\.1:{port}/", precision=3)
    assert [path for path in Path(tmp_path).rglob("*") if path.is_file()] == []
