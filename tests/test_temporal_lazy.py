"""Which frames `vs_align.temporal` asks for, and that their order, the threads and the environment change nothing."""

import gc
import random
import subprocess
import sys
import textwrap
from concurrent.futures import wait
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from helpers import Requests, centres, drawn, held, moving, noise, retime

import vs_align
from vs_align.similarity.planestats import PlaneStats
from vs_align.similarity.shifted import Shifted

LONG = 10_000
MEASURES = pytest.mark.parametrize("similarity", ["planestats", "structure"])
ROOT = Path(__file__).resolve().parents[1]


def long_clip(grain: float = 0.0) -> vs.VideoNode:
    return drawn(moving(32, 24, grain=grain), LONG)


@pytest.fixture
def threads():
    """Sets the number of threads of the core and puts it back."""
    before = vs.core.num_threads

    def use(number: int) -> None:
        vs.core.num_threads = number

    yield use
    vs.core.num_threads = before


# ---------------------------------------------------------------- what is asked for


@MEASURES
@pytest.mark.parametrize("options", [{}, {"debug": True}, {"tr": 500}])
def test_building_the_graph_asks_for_nothing(similarity, options):
    clip, ref, out, fallback = (Requests(long_clip()) for _ in range(4))
    rates = {"clip_num": 30, "clip_den": 1, "ref_num": 24, "ref_den": 1}
    for extra in ({}, rates):
        kwargs = {"similarity": similarity, "fallback": fallback.clip, **options, **extra}
        vs_align.temporal(clip.clip, ref.clip, **kwargs)
        vs_align.temporal(clip.clip, ref.clip, out.clip, **kwargs)
    assert not (clip.taken() | ref.taken() | out.taken() | fallback.taken())


@MEASURES
@pytest.mark.parametrize("debug", [False, True])
def test_one_frame_reads_its_window_and_the_next_one_new_frame(similarity, debug):
    clip, ref = Requests(long_clip()), Requests(long_clip())
    synced = vs_align.temporal(clip.clip, ref.clip, tr=20, similarity=similarity, debug=debug)
    synced.get_frame(5000)
    assert clip.taken() == set(range(4980, 5021))
    assert ref.taken() == {5000}
    for n in (5001, 5002):
        synced.get_frame(n)
        assert clip.taken() == {n + 20}
        assert ref.taken() == {n}
    synced.get_frame(4999)
    assert clip.taken() <= {4979}
    assert ref.taken() == {4999}


@MEASURES
def test_frames_at_the_ends_read_no_more_than_there_is(similarity):
    clip, ref = Requests(long_clip()), Requests(long_clip() + long_clip()[:100])
    synced = vs_align.temporal(clip.clip, ref.clip, tr=20, similarity=similarity)
    synced.get_frame(0)
    assert clip.taken() == set(range(21))
    synced.get_frame(3)
    assert clip.taken() == {21, 22, 23}
    synced.get_frame(LONG - 1)
    assert clip.taken() == set(range(LONG - 21, LONG))
    synced.get_frame(LONG + 10)
    assert not clip.taken()
    synced.get_frame(LONG + 50)  # its window is empty: the last frame stands in
    assert clip.taken() <= {LONG - 1}


@MEASURES
def test_out_is_read_for_the_chosen_frame_alone(similarity):
    clip, out = Requests(long_clip()), Requests(long_clip())
    synced = vs_align.temporal(clip.clip, long_clip()[7:], out.clip, tr=20, similarity=similarity)
    for n in (5000, 5001, 12, 0):
        assert synced.get_frame(n).props["AlignFrame"] == n + 7
        assert out.taken() == {n + 7}


def test_fallback_and_out_are_read_only_where_they_are_shown():
    fallback, out = Requests(long_clip()), Requests(long_clip())
    ref = retime(long_clip()[:100], list(range(50))) + held(drawn(moving(32, 24, seed=8), 50))
    synced = vs_align.temporal(long_clip(), ref, out.clip, tr=5, fallback=fallback.clip, thresh=1e-6)
    for n in (3, 40):
        synced.get_frame(n)
        assert (fallback.taken(), out.taken()) == (set(), {n})
    for n in (60, 70):
        synced.get_frame(n)
        assert (fallback.taken(), out.taken()) == ({n}, set())


RATES = [(30000, 1001, 24000, 1001), (24, 1, 60, 1), (60, 1, 25, 1), (25, 1, 24, 1)]


@MEASURES
@pytest.mark.parametrize("rates", RATES)
def test_at_other_rates_each_frame_reads_what_is_new_to_its_window(rates, similarity):
    clip, ref = Requests(long_clip()), Requests(long_clip())
    names = ("clip_num", "clip_den", "ref_num", "ref_den")
    synced = vs_align.temporal(
        clip.clip, ref.clip, tr=20, similarity=similarity, **dict(zip(names, rates, strict=True))
    )
    at = centres(3020, Fraction(*rates[:2]), Fraction(*rates[2:]))
    seen: set[int] = set()
    for n in range(3000, 3020):
        synced.get_frame(n)
        window = set(range(at[n] - 20, at[n] + 21))
        assert clip.taken() == window - seen
        assert ref.taken() == {n}
        seen |= window


@MEASURES
@pytest.mark.parametrize("tr", [5, 50])
@pytest.mark.parametrize("pair", ["clean", "grain", "noise"])
@pytest.mark.parametrize("number", [1, 2, 4])
def test_in_order_each_clip_frame_is_made_once(threads, number, pair, tr, similarity):
    threads(number)
    paint = {"clean": moving(64, 48), "grain": moving(64, 48, grain=0.1), "noise": noise(64, 48)}[pair]
    clip, ref = Requests(drawn(paint, 200)), Requests(drawn(moving(64, 48), 200))
    synced = vs_align.temporal(clip.clip, ref.clip, tr=tr, similarity=similarity)
    for n in range(200):
        synced.get_frame(n)
    assert set(clip.count) == set(range(200))
    assert [n for n, times in clip.count.items() if times > 1] == []
    assert [n for n, times in ref.count.items() if times > 1] == []


@MEASURES
@pytest.mark.parametrize("shift", [-20, -12, 12, 20])
def test_in_order_each_clip_frame_is_made_once_whatever_the_offset(shift, similarity):
    # Far behind, a frame is picked long after it was compared, and those picked meanwhile are older still.
    base = drawn(moving(32, 24), 200)
    order = [min(199, max(0, n + shift)) for n in range(200)]
    clip = Requests(base)
    synced = vs_align.temporal(clip.clip, retime(base, order), tr=20, similarity=similarity)
    assert [synced.get_frame(n).props["AlignFrame"] for n in range(200)] == order
    assert [n for n, times in clip.count.items() if times > 1] == []


@pytest.mark.parametrize("tr", [5, 50])
def test_in_order_each_clip_frame_is_made_once_when_frames_are_fetched_ahead(threads, tr):
    threads(4)
    clip = Requests(drawn(moving(64, 48, grain=0.1), 300))
    synced = vs_align.temporal(clip.clip, drawn(moving(64, 48), 300), tr=tr)
    for _ in synced.frames(prefetch=4, close=True):
        pass
    assert set(clip.count) == set(range(300))
    assert [n for n, times in clip.count.items() if times > 1] == []


# ---------------------------------------------------------------- order and threads


def pair(kind: str) -> tuple[vs.VideoNode, vs.VideoNode]:
    paint = noise(48, 36) if kind == "noise" else moving(48, 36, grain=0.08)
    rng = random.Random(3)
    clip = held(drawn(paint, 96))
    order = [min(95, max(0, n + rng.randint(-8, 8))) for n in range(96)]
    return retime(clip, [n if n % 11 else max(0, n - 1) for n in range(96)]), held(
        retime(drawn(moving(48, 36), 96), order)
    )


def answers(synced: vs.VideoNode, frames: list[int]) -> dict[int, tuple]:
    """Frame number to chosen frame, score, confidence and picture."""
    found = {}
    for n in frames:
        frame = synced.get_frame(n)
        found[n] = (*(frame.props[name] for name in ("AlignFrame", "AlignScore", "AlignConfidence")), bytes(frame[0]))
    return found


def far_jumps() -> list[int]:
    return [n for k in range(24) for n in (k, 95 - k, 24 + k, 71 - k)]


ORDERS = {
    "backwards": list(range(96))[::-1],
    "far jumps": far_jumps(),
    "every seventh": [(n * 7) % 96 for n in range(96)],
    **{f"shuffle {seed}": random.Random(seed).sample(range(96), 96) for seed in range(3)},
}
RATE_30_24 = {"clip_num": 30, "clip_den": 1, "ref_num": 24, "ref_den": 1}


@MEASURES
@pytest.mark.parametrize("kind", ["grain", pytest.param("noise", marks=pytest.mark.slow)])
def test_any_order_gives_the_same_answers(kind, similarity):
    clip, ref = pair(kind)
    for options in ({}, RATE_30_24):
        expected = answers(vs_align.temporal(clip, ref, tr=15, similarity=similarity, **options), list(range(96)))
        for order in ORDERS.values():
            synced = vs_align.temporal(clip, ref, tr=15, similarity=similarity, **options)
            assert answers(synced, order) == expected


@MEASURES
@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("kind", ["grain", "noise"])
def test_any_number_of_threads_and_requests_in_flight_gives_the_same_answers(threads, kind, number, similarity):
    clip, ref = pair(kind)
    for options in ({}, RATE_30_24):
        expected = answers(vs_align.temporal(clip, ref, tr=10, similarity=similarity, **options), list(range(96)))
        threads(number)
        for order in (list(range(96)), ORDERS["shuffle 0"]):
            synced = vs_align.temporal(clip, ref, tr=10, similarity=similarity, **options)
            futures = {n: synced.get_frame_async(n) for n in order}
            wait(futures.values())
            for n, future in futures.items():
                frame = future.result()
                found = tuple(frame.props[name] for name in ("AlignFrame", "AlignScore", "AlignConfidence"))
                assert (*found, bytes(frame[0])) == expected[n]


def test_the_same_frame_twice_at_once(threads):
    threads(4)
    clip, ref = pair("grain")
    synced = vs_align.temporal(clip, ref, tr=10)
    synced.std.SetVideoCache(mode=0)
    futures = [synced.get_frame_async(80) for _ in range(20)]
    assert len({future.result().props["AlignFrame"] for future in futures}) == 1


def test_two_outputs_of_the_same_clips_do_not_disturb_each_other():
    clip, ref = pair("grain")
    alone = answers(vs_align.temporal(clip, ref, tr=5), list(range(96)))
    one, other = vs_align.temporal(clip, ref, tr=5), vs_align.temporal(clip, ref, tr=20, similarity="structure")
    found = {}
    for n in range(96):
        found |= answers(one, [n])
        other.get_frame(95 - n)
    assert found == alone


# ---------------------------------------------------------------- other environments, memory, building


def script(body: str) -> str:
    """Run a script in a Python of its own, helpers at hand, and return what it writes."""
    begin = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + textwrap.dedent(body)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_two_environments_one_after_the_other_give_the_same_frames():
    pytest.importorskip("vsengine")
    first, second = script("""
        import hashlib
        from vsengine.policy import GlobalStore, Policy
        from helpers import drawn, moving, vs
        import vs_align

        with Policy(GlobalStore()) as policy:
            for _ in range(2):
                with policy.new_environment() as environment, environment.use():
                    found = hashlib.sha256()
                    for name in ("planestats", "structure"):
                        clip, ref = drawn(moving(48, 36, grain=0.1), 60), drawn(moving(48, 36), 60)[4:]
                        synced = vs_align.temporal(clip, ref, tr=8, similarity=name)
                        for n in range(56):
                            frame = synced.get_frame(n)
                            assert frame.props["AlignFrame"] == n + 4
                            found.update(bytes(frame[0]) + repr(sorted(frame.props.items())).encode())
                            frame.close()
                    print(found.hexdigest())
                    del clip, ref, synced, frame
        """).splitlines()
    assert first == second


def test_the_graph_has_the_same_nodes_whatever_the_radius():
    pytest.importorskip("vsengine")
    counts = script("""
        from vsengine.policy import GlobalStore, Policy
        from helpers import vs
        import vs_align

        def nodes(node):
            return 1 + sum(nodes(other) for other in node.dependencies)

        flags = int(vs.CoreCreationFlags.ENABLE_GRAPH_INSPECTION)
        with Policy(GlobalStore(), flags_creation=flags) as policy:
            with policy.new_environment() as environment, environment.use():
                clip = vs.core.std.BlankClip(format=vs.GRAY8, length=100_000, keep=True)
                for tr in (1, 20, 500, 5000):
                    print(nodes(vs_align.temporal(clip, clip, tr=tr)))
                del clip
        """).split()
    assert len(counts) == 4
    assert len(set(counts)) == 1
    assert 2 <= int(counts[0]) < 20


needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc/self/statm")
RESIDENT = """
        import ctypes
        import gc
        import resource
        import time
        from pathlib import Path

        def resident():
            # A core that is done with goes after some rounds of the collector; what malloc keeps for later is no leak.
            for _ in range(4):
                gc.collect()
                time.sleep(0.2)
            libc = ctypes.CDLL(None)
            if hasattr(libc, "malloc_trim"):
                libc.malloc_trim(0)
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
"""


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize(("similarity", "frames", "most"), [("planestats", 200_000, 100), ("structure", 50_000, 25)])
def test_200_000_frames_grow_memory_by_less_than_100_mb(similarity, frames, most):
    grown = script(f"""
{RESIDENT}
        from helpers import vs
        import vs_align

        clip = vs.core.std.BlankClip(format=vs.GRAY8, width=64, height=48, length=200_000, keep=True)
        synced = vs_align.temporal(clip, clip, tr=5, similarity={similarity!r})
        synced.get_frame(0)
        before = resident()
        for n in range({frames}):
            synced.get_frame(n).close()
        print(resident() - before)
        """)
    print(f"{similarity}: {frames:,} frames grew memory by {float(grown):.1f} MB")
    assert float(grown) < most


@needs_proc
@pytest.mark.slow
def test_40_reloads_do_not_grow_memory():
    pytest.importorskip("vsengine")
    grown = script(f"""
{RESIDENT}
        from vsengine.policy import GlobalStore, Policy
        from helpers import vs
        import vs_align

        def load(policy):
            # 41 frames of 2 MB: kept by mistake, they would be 85 MB a reload.
            with policy.new_environment() as environment, environment.use():
                clip = vs.core.std.BlankClip(format=vs.GRAY8, width=1920, height=1080, length=1000)
                for name in ("planestats", "structure"):
                    synced = vs_align.temporal(clip, clip, tr=20, similarity=name)
                    for n in range(500, 503):
                        synced.get_frame(n).close()
                del clip, synced
            gc.collect()

        with Policy(GlobalStore()) as policy:
            for _ in range(5):
                load(policy)
            before = resident()
            for _ in range(40):
                load(policy)
            print(resident() - before)
        """)
    print(f"40 reloads grew memory by {float(grown):.1f} MB")
    assert float(grown) < 40


def test_what_a_clip_held_goes_with_it():
    clip = drawn(moving(64, 48), 60)
    for _ in range(3):
        synced = vs_align.temporal(clip, clip, tr=5)
        synced.get_frame(30).close()
        held = [kept for kept in gc.get_objects() if isinstance(kept, PlaneStats)]
        assert held
        del synced, held
        gc.collect()
        assert not any(isinstance(kept, PlaneStats) for kept in gc.get_objects())


def test_more_offsets_than_are_kept():
    clip = held(drawn(lambda n: np.full((3, 4, 4), n / 1000), 600))
    shifted = Shifted(clip)
    for frame in (*range(600), 0, 300):
        np.testing.assert_array_equal(
            np.asarray(shifted.at(300, frame).get_frame(300)[0]), np.asarray(clip.get_frame(frame)[0])
        )
