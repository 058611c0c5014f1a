"""Which frames `vs_align.spatial` asks for, and that their order, the threads and the environment change nothing."""

import gc
import random
import threading
import time
from concurrent.futures import wait

import numpy as np
import pytest
import vapoursynth as vs
from helpers import Requests, drawn, held, moving
from test_temporal_lazy import RESIDENT, needs_proc, script, threads

import vs_align
from vs_align.filters.warping import Warping
from vs_align.flow.align import Alignment

__all__ = ["threads"]

LONG = 10_000
OPTIONS = pytest.mark.parametrize(
    "options", [{}, {"alpha": True}, {"stabilize": 2}], ids=["plain", "alpha", "stabilize"]
)


def scene(seed=1, length=LONG, width=48, height=36, format=vs.RGB24, **options):
    return drawn(moving(width, height, seed=seed, **options), length, format)


def by_light(clip, ref, mask, options):
    """A displacement that tells the frames of a clip apart: from the mean light of both pictures."""
    y, x = np.mgrid[: ref.shape[0], : ref.shape[1]]
    waves = np.dstack([np.sin(y / 9 + ref.mean()), np.cos(x / 7 + clip.mean())])
    return Alignment((waves * 2 + (ref.mean() / 100, -0.3)).astype(np.float32), float(abs(clip - ref).mean() / 255))


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    monkeypatch.setattr("vs_align.filters.warping.align", by_light)
    monkeypatch.setattr("vs_align.filters.warping.steadied", lambda flows, centre: np.mean(flows, 0, np.float32))


# ---------------------------------------------------------------- what is asked for


@OPTIONS
def test_building_the_graph_asks_for_nothing(options):
    clip, ref, mask = (Requests(scene()) for _ in range(3))
    vs_align.spatial(clip.clip, ref.clip, mask.clip, **options)
    assert not (clip.taken() | ref.taken() | mask.taken())


@pytest.mark.parametrize("alpha", [False, True])
def test_frame_n_reads_frame_n_alone(alpha):
    clip, ref, mask = (Requests(scene(seed)) for seed in range(3))
    aligned = vs_align.spatial(clip.clip, ref.clip, mask.clip, alpha=alpha)
    for n in (5000, 5001, 17, LONG - 1, 0):
        aligned.get_frame(n).close()
        assert clip.taken() == ref.taken() == mask.taken() == {n}


def test_beyond_the_end_of_clip_and_mask_their_last_frames_are_read():
    clip, ref, mask = Requests(scene(1, 30)), Requests(scene(2, 50)), Requests(scene(3, 1))
    aligned = vs_align.spatial(clip.clip, ref.clip, mask.clip)
    aligned.get_frame(40).close()
    assert (clip.taken(), ref.taken(), mask.taken()) == ({29}, {40}, {0})


@pytest.mark.parametrize("radius", [1, 3])
def test_with_stabilize_frame_n_reads_the_frames_around_it(radius):
    clip, ref, mask = (Requests(scene(seed)) for seed in range(3))
    aligned = vs_align.spatial(clip.clip, ref.clip, mask.clip, stabilize=radius)
    aligned.get_frame(5000).close()
    around = set(range(5000 - radius, 5001 + radius))
    assert clip.taken() == ref.taken() == mask.taken() == around
    for n in (5001, 5002):
        aligned.get_frame(n).close()
        # Clip's frame is shown as well as looked at; it may be read again for that.
        assert ref.taken() == mask.taken() == {n + radius}
        assert clip.taken() <= {n, n + radius}
    aligned.get_frame(0).close()
    assert ref.taken() == set(range(radius + 1))
    aligned.get_frame(LONG - 1).close()
    assert ref.taken() == set(range(LONG - 1 - radius, LONG))


@pytest.mark.parametrize("prefetch", [1, 4])
@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("radius", [0, 1, 4])
def test_in_order_each_displacement_is_estimated_once(threads, monkeypatch, number, prefetch, radius):
    threads(number)
    seen, lock = [], threading.Lock()

    def counted(clip, ref, mask, options):
        with lock:
            seen.append(float(ref.mean()))
        return by_light(clip, ref, mask, options)

    monkeypatch.setattr("vs_align.filters.warping.align", counted)
    clip, ref = held(scene(1, 60)), Requests(held(scene(2, 60)))
    aligned = vs_align.spatial(clip, ref.clip, stabilize=radius)
    for _ in aligned.frames(prefetch=prefetch, close=True):
        pass
    assert len(seen) == len(set(seen)) == 60
    assert [n for n, times in ref.count.items() if times > 1] == []


def test_several_frames_are_made_at_the_same_time(threads, monkeypatch):
    threads(4)
    together = threading.Barrier(2, timeout=30)

    def both(clip, ref, mask, options):
        together.wait()
        return Alignment(None, 0.5)

    monkeypatch.setattr("vs_align.filters.warping.align", both)
    for radius in (0, 1):
        aligned = vs_align.spatial(held(scene(1, 8)), held(scene(2, 8)), stabilize=radius)
        # Each estimate waits until another one runs.
        for future in [aligned.get_frame_async(n) for n in range(8)]:
            future.result(timeout=60).close()


# ---------------------------------------------------------------- order and threads

COUNT = 48
ORDERS = {
    "backwards": list(range(COUNT))[::-1],
    "far jumps": [n for k in range(COUNT // 4) for n in (k, COUNT - 1 - k, COUNT // 4 + k, 3 * COUNT // 4 - 1 - k)],
    "every seventh": [(n * 7) % COUNT for n in range(COUNT)],
    **{f"shuffle {seed}": random.Random(seed).sample(range(COUNT), COUNT) for seed in range(3)},
}


def answer(frame):
    planes = [bytes(frame[p]) for p in range(frame.format.num_planes)]
    numbers = [frame.props[name] for name in ("AlignMeanShift", "AlignMaxShift", "AlignResidual")]
    alpha = frame.props.get("_Alpha")
    return (*planes, *numbers, None if alpha is None else bytes(alpha[0]))


def pair():
    clip, ref = held(scene(1, COUNT, grain=0.05)), held(scene(2, COUNT, width=52, height=30))
    # Two cuts, and a stretch that is the same in both.
    return clip, ref[:10] + ref[30:40] + clip.resize.Point(52, 30)[20:26] + ref[26:]


@OPTIONS
def test_any_order_gives_the_same_answers(options):
    clip, ref = pair()
    aligned = vs_align.spatial(clip, ref, **options)
    expected = [answer(aligned.get_frame(n)) for n in range(ref.num_frames)]
    assert len(set(expected)) == ref.num_frames
    for order in ORDERS.values():
        aligned = vs_align.spatial(clip, ref, **options)
        assert all(answer(aligned.get_frame(n)) == expected[n] for n in order)


@OPTIONS
@pytest.mark.parametrize("number", [1, 2, 4])
def test_any_number_of_threads_and_requests_in_flight_gives_the_same_answers(threads, number, options):
    clip, ref = pair()
    aligned = vs_align.spatial(clip, ref, **options)
    expected = [answer(aligned.get_frame(n)) for n in range(ref.num_frames)]
    threads(number)
    for order in (list(range(COUNT)), ORDERS["shuffle 0"]):
        aligned = vs_align.spatial(clip, ref, **options)
        futures = {n: aligned.get_frame_async(n) for n in order}
        wait(futures.values())
        assert all(answer(future.result()) == expected[n] for n, future in futures.items())


def test_two_outputs_of_the_same_clips_do_not_disturb_each_other():
    clip, ref = pair()
    alone = [answer(vs_align.spatial(clip, ref).get_frame(n)) for n in range(COUNT)]
    one, other = vs_align.spatial(clip, ref), vs_align.spatial(ref, clip, stabilize=1)
    for n in range(COUNT):
        assert answer(one.get_frame(n)) == alone[n]
        other.get_frame(COUNT - 1 - n).close()


# ---------------------------------------------------------------- other environments, memory


@pytest.mark.slow
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
                    clip = drawn(moving(64, 48, seed=1), 9, vs.RGB24)
                    ref = drawn(moving(64, 48, seed=1, grain=0.02), 12, vs.RGB48)[1:]
                    for options in ({}, {"alpha": True, "precision": 1}, {"stabilize": 1}, {"wide_search": True}):
                        aligned = vs_align.spatial(clip, ref, clip, **options)
                        for n in range(9):
                            frame = aligned.get_frame(n)
                            known = {key: value for key, value in frame.props.items() if key != "_Alpha"}
                            found.update(bytes(frame[0]) + bytes(frame[2]) + repr(sorted(known.items())).encode())
                            frame.close()
                    print(found.hexdigest())
                    del clip, ref, aligned, frame, known
        """).splitlines()
    assert first == second


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
            # One frame's flow is 16 MB: kept by mistake, they would be more than 100 MB a reload.
            with policy.new_environment() as environment, environment.use():
                clip = vs.core.std.BlankClip(format=vs.RGB24, width=1920, height=1080, length=100, color=[9, 9, 9])
                ref = vs.core.std.BlankClip(clip, color=[99, 9, 9])
                for radius in (0, 1):
                    aligned = vs_align.spatial(clip, ref, stabilize=radius, alpha=True)
                    for n in range(50, 53):
                        aligned.get_frame(n).close()
                del clip, ref, aligned
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


@needs_proc
@pytest.mark.slow
def test_30_000_frames_do_not_grow_memory():
    grown = script(f"""
{RESIDENT}
        import numpy as np
        from helpers import vs
        import vs_align
        from vs_align.filters import warping
        from vs_align.flow.align import Alignment

        flow = np.full((48, 64, 2), 0.3, np.float32)
        warping.align = lambda *given: Alignment(flow, 0.5)
        clip = vs.core.std.BlankClip(format=vs.RGB24, width=64, height=48, length=40_000, keep=True)
        for radius in (0, 1):
            aligned = vs_align.spatial(clip, vs.core.std.BlankClip(clip, color=[9, 9, 9]), stabilize=radius)
            # The frame server fills its caches first.
            for n in range(10_000):
                aligned.get_frame(n).close()
            before = resident()
            for n in range(10_000, 40_000):
                aligned.get_frame(n).close()
            print(resident() - before)
        """)
    print("30,000 frames grew memory by", grown.split(), "MB")
    assert all(float(part) < 25 for part in grown.split())


@OPTIONS
def test_what_a_clip_held_goes_with_it(options):
    clip, ref = held(scene(1, 12)), held(scene(2, 12))
    for _ in range(3):
        aligned = vs_align.spatial(clip, ref, **options)
        aligned.get_frame(5).close()
        assert any(isinstance(kept, Warping) for kept in gc.get_objects())
        del aligned
        # The frame server lets go of a node on a thread of its own.
        for _ in range(50):
            gc.collect()
            if not any(isinstance(kept, Warping) for kept in gc.get_objects()):
                break
            time.sleep(0.05)
        assert not any(isinstance(kept, Warping) for kept in gc.get_objects())
