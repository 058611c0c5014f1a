"""Views of a video: which frames they have, how they look, how they become a batch."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from vs_align.train.embedding.augment import Augmentation, Look, augmented  # noqa: E402
from vs_align.train.embedding.sampling import Sampler  # noqa: E402
from vs_align.train.embedding.views import View, batched  # noqa: E402

pytestmark = pytest.mark.torch

# ---------------------------------------------------------------- the sampler


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.integers(2, 90), st.floats(1, 3), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_views_of_any_video(frames, count, stretch, overlap, seed):
    sampler = Sampler(count, stretch, overlap)
    views = sampler.views(frames, np.random.default_rng(seed))
    wanted = min(frames, count)
    for numbers in views:
        assert len(numbers) == wanted
        assert (np.diff(numbers) > 0).all()
        assert 0 <= numbers[0] <= numbers[-1] < frames
        assert numbers[-1] - numbers[0] < max(1, stretch * wanted)
    again = sampler.views(frames, np.random.default_rng(seed))
    assert all(np.array_equal(one, other) for one, other in zip(views, again, strict=True))


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 300), st.integers(2, 90), st.floats(0.01, 1), st.integers(0, 2**32 - 1))
def test_views_without_gaps_overlap_as_they_should(frames, count, overlap, seed):
    one, other = Sampler(count, 1.0, overlap).views(frames, np.random.default_rng(seed))
    assert len(np.intersect1d(one, other)) >= overlap * min(frames, count)


def test_all_of_a_long_video_is_drawn_sometimes():
    sampler, rng, seen = Sampler(5, 1.5), np.random.default_rng(1), np.zeros(40)
    for _ in range(400):
        for numbers in sampler.views(40, rng):
            seen[numbers] += 1
    assert seen.min() > 0


# ---------------------------------------------------------------- looks


def test_a_look_is_the_same_for_all_frames():
    frame = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    for seed in range(20):
        look = Look.drawn(Augmentation(), 16, np.random.default_rng(seed))
        seen = augmented(np.repeat(frame[None], 4, 0), 16, look)
        assert seen.shape == (4, 16, 16, 3)
        assert (seen == seen[0]).all()


def test_without_changes_a_view_is_the_clip():
    still = Augmentation(crop=1, flip=0, jitter=0, blur=0, grey=0)
    frames = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), np.uint8)
    assert np.array_equal(augmented(frames, 16, Look.drawn(still, 16, np.random.default_rng(2))), frames)
    mirrored = Look.drawn(replace(still, flip=1.0), 16, np.random.default_rng(2))
    assert np.array_equal(augmented(frames, 16, mirrored), frames[:, :, ::-1])
    grey = augmented(frames, 16, Look.drawn(replace(still, grey=1.0), 16, np.random.default_rng(2)))
    assert (np.ptp(grey, axis=3) == 0).all()


def test_crops_keep_what_they_say():
    for seed in range(200):
        look = Look.drawn(Augmentation(crop=0.8), 16, np.random.default_rng(seed))
        assert 0.8 - 1e-9 <= look.width * look.height <= 1 + 1e-9
        assert 0 <= look.left <= look.left + look.width <= 1 + 1e-9
        assert 0 <= look.top <= look.top + look.height <= 1 + 1e-9


def test_views_are_padded_with_zeros_to_the_longest():
    def part(count):
        return View(np.full((count, 4, 4, 3), 7, np.uint8), np.arange(count), 9)

    batch = batched([(part(3), part(1)), (part(2), part(2))])
    assert batch.frames.shape == (4, 3, 3, 4, 4)
    # First views, and then second ones.
    assert batch.valid.sum(1).tolist() == [3, 2, 1, 2]
    assert bool((batch.frames[~batch.valid] == 0).all())
    assert batch.numbers[0].tolist() == [0, 1, 2]
    assert batch.lengths.tolist() == [9.0] * 4
