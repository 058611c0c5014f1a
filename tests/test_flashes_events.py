"""Events: what is a flash, where its edges are. Expected rows follow from the definition of a rolling shutter."""

import numpy as np
import pytest
from flash_scenes import DARK, HEIGHT, LENGTH, Camera, events_of, lead_row, rows_of, trail_row, upside_down
from hypothesis import given, settings
from hypothesis import strategies as st

from vs_align.flashes import FlashError, RowFeatures, find_events, row_brightness
from vs_align.flashes.rows import steady_times

ROLLING = Camera(seconds=4)


@given(st.floats(1000, 1033.3), st.floats(1, 30), st.floats(40, 150))
@settings(max_examples=60, deadline=None)
def test_edges_are_where_exposures_end_and_begin(time: float, exposure: float, level: float) -> None:
    camera = Camera(seconds=3, exposure=exposure)
    try:
        events = events_of(camera, [time], level=level)
    except FlashError:
        # Between two frames: no row is exposed at that time.
        begin = np.add.outer(camera.stamps, np.arange(HEIGHT) * camera.time_per_row)
        overlap = np.minimum(begin + exposure, time + LENGTH) - np.maximum(begin, time)
        assert np.sort(overlap, axis=None)[-3] < 0.7 * LENGTH
        return
    (sighting,) = events.sightings
    for edge, expected in zip(sighting.edges(1), (lead_row, trail_row), strict=True):
        if edge is not None:
            assert edge.row == pytest.approx(expected(camera, edge.frame, time), abs=0.35)


def test_a_flash_over_two_frames_gives_one_pair_of_edges() -> None:
    # Lit are the rows that begin from 1020 to 1040.8 ms; frame 30's do from 1000 to 1026.2, the next's from 1033.3.
    camera = Camera(seconds=4, exposure=20.0)
    (sighting,) = events_of(camera, [1040.0]).sightings
    lead, trail = sighting.edges(1)
    assert (sighting.first, sighting.last) == (30, 31)
    assert lead is not None
    assert trail is not None
    assert (lead.frame, lead.polarity) == (30, 1)
    assert (trail.frame, trail.polarity) == (31, -1)
    assert lead.row == pytest.approx(lead_row(camera, 30, 1040.0), abs=0.1)
    assert trail.row == pytest.approx(trail_row(camera, 31, 1040.0), abs=0.1)


def test_a_flash_that_lights_some_rows_in_two_frames_is_one() -> None:
    # Lit are the rows that begin from 1003 to 1039.8 ms, more than the 33.3 ms from one frame to the next.
    camera = Camera(seconds=4, exposure=33.0)
    (sighting,) = events_of(camera, [1036.0], length=3.8).sightings
    lead, trail = sighting.edges(1)
    assert lead is not None
    assert trail is not None
    assert (lead.frame, trail.frame) == (30, 31)
    assert lead.row == pytest.approx((1003 - 1000) / 0.22, abs=0.5)
    assert trail.row == pytest.approx((1039.8 - 1000 - 1000 / 30) / 0.22, abs=0.5)


def test_rows_read_from_the_bottom_are_found_out_by_split_flashes() -> None:
    camera = upside_down(Camera(seconds=20, exposure=20.0))
    times = [1040.0 + 1000.7 * k for k in range(8)]
    events = events_of(camera, times)
    assert events.direction == -1
    assert events_of(Camera(seconds=20, exposure=20.0), times).direction == 1
    lead, _ = events.sightings[0].edges(-1)
    assert lead is not None
    assert lead.row == pytest.approx(lead_row(camera, lead.frame, times[0]), abs=0.1)


def test_an_edge_between_two_frames_is_left_out() -> None:
    # Lit are the rows that begin from 994 to 1000.8 ms: none of frame 29, which end at 993, and frame 30 from its top.
    (sighting,) = events_of(Camera(seconds=4), [1000.0]).sightings
    lead, trail = sighting.edges(1)
    assert lead is None
    assert trail is not None


@pytest.mark.parametrize("frames", [4, 5, 40, 500])
def test_a_brighter_passage_is_no_flash(frames: int) -> None:
    features = rows_of(Camera(seconds=20), [5000.0])
    features.rows[300 : 300 + frames] += 70
    assert [s.first for s in find_events(features).sightings] == [
        s.first for s in events_of(Camera(seconds=20), [5000.0]).sightings
    ]


def test_a_darker_frame_is_no_flash() -> None:
    features = rows_of(Camera(seconds=20), [5000.0])
    features.rows[300] -= 50
    assert len(find_events(features).sightings) == 1


def test_a_lamp_switched_on_is_no_flash() -> None:
    features = rows_of(Camera(seconds=20), [5000.0])
    features.rows[300, 70:] += 80
    features.rows[301:] += 80
    assert len(find_events(features).sightings) == 1


def test_slow_changes_of_exposure_and_motion_are_no_flash_and_leave_edges_in_place() -> None:
    camera = Camera(seconds=20)
    features = rows_of(camera, [5010.0])
    frame = np.arange(len(features.rows))[:, None]
    scene = 12 * np.sin((np.arange(HEIGHT) + 3 * np.sin(frame / 9)) / 7) + 15 * np.sin(frame / 60)
    moved = RowFeatures((features.rows + scene).astype(np.float32), features.times_ms, HEIGHT)
    (sighting,) = find_events(moved).sightings
    lead, trail = sighting.edges(1)
    assert lead is not None
    assert trail is not None
    assert lead.row == pytest.approx(lead_row(camera, lead.frame, 5010.0), abs=1)
    assert trail.row == pytest.approx(trail_row(camera, trail.frame, 5010.0), abs=1)


def test_noise_gives_no_flash_and_edges_of_known_error() -> None:
    camera = Camera(seconds=20)
    times = [1010.0 + 1000.7 * k for k in range(17)]
    events = events_of(camera, times, noise=2.0)
    assert len(events.sightings) == sum(len(events_of(camera, [time]).sightings) for time in times)
    off = [
        edge.row - lead_row(camera, edge.frame, times[round((edge.time_ms - 1000) / 1000.7)])
        for edge in events.edges()
        if edge.polarity > 0
    ]
    assert np.abs(off).max() < 1.5


def test_without_a_flash_the_error_says_how_strong_the_strongest_change_was() -> None:
    rows = np.full((50, 20), 60.0, np.float32)
    rows[31:] += 12.5
    with pytest.raises(FlashError, match=r"^flash: no flash found; the strongest rise .* is 12\.5 of 255 \(frame 31\)"):
        find_events(RowFeatures(rows, np.arange(50) * 40.0, 20))


def test_all_rows_at_once_have_no_edges() -> None:
    events = events_of(Camera(seconds=20, time_per_row=0, exposure=30), [5010.0])
    assert len(events.sightings) == 1
    assert events.edges() == ()


def test_fewer_features_than_rows_give_rows_of_the_picture() -> None:
    camera = Camera(seconds=4)
    full = rows_of(camera, [1012.0])
    halved = RowFeatures(full.rows.reshape(-1, HEIGHT // 2, 2).mean(axis=2), full.times_ms, HEIGHT)
    lead, _ = find_events(halved).sightings[0].edges(1)
    assert lead is not None
    assert lead.row == pytest.approx(lead_row(camera, lead.frame, 1012.0), abs=0.6)


def test_bytes_and_floats_give_the_same_events() -> None:
    features = rows_of(ROLLING, [1012.0], noise=0.5)
    whole = np.round(features.rows)
    floats = find_events(RowFeatures(whole.astype(np.float32), features.times_ms, HEIGHT))
    assert find_events(RowFeatures(whole.astype(np.uint8), features.times_ms, HEIGHT)).sightings == floats.sightings


@given(
    st.integers(0, 10_000),
    st.sampled_from([24000 / 1001, 25, 30000 / 1001, 50, 60000 / 1001]),
    st.sets(st.integers(5, 400), max_size=40),
)
@settings(max_examples=40, deadline=None)
def test_whole_milliseconds_of_a_steady_camera_are_undone(start: int, fps: float, lost: set[int]) -> None:
    exact = start + np.delete(np.arange(3000), sorted(lost)) * 1000 / fps
    assert np.abs(steady_times(np.round(exact)) - exact).max() < 0.06


def test_whole_milliseconds_of_an_unsteady_camera_are_kept() -> None:
    steps = np.random.default_rng(0).choice([33.0, 33.0, 36.0, 41.0], 500)
    times = np.cumsum(steps)
    assert steady_times(times) is times


def test_row_brightness_is_the_mean_over_medians_of_five_columns() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (17, 50), np.uint8)
    expected = np.median(luma.reshape(17, 5, 10), axis=1).mean(axis=1)
    np.testing.assert_allclose(row_brightness(luma), expected, rtol=1e-6)


@given(st.integers(0, 1151), st.integers(1, 767))
@settings(max_examples=50, deadline=None)
def test_row_brightness_does_not_see_what_fills_less_than_two_fifths_of_a_row(left: int, width: int) -> None:
    luma = np.full((4, 1920), int(DARK), np.uint8)
    luma[:, left : left + width] = 255
    np.testing.assert_array_equal(row_brightness(luma), np.float32(DARK))


@pytest.mark.parametrize("width", [5, 6, 7, 9, 159, 320, 321, 1917, 4096])
def test_row_brightness_takes_any_width(width: int) -> None:
    np.testing.assert_allclose(row_brightness(np.full((3, width), 77, np.uint8)), np.full(3, 77.0))


@pytest.mark.parametrize(
    ("rows", "times", "height", "message"),
    [
        (np.zeros(5, np.float32), np.arange(5.0), 5, "rows must have shape"),
        (np.zeros((1, 5), np.float32), np.arange(1.0), 5, "rows must have shape"),
        (np.zeros((5, 5), np.int64), np.arange(5.0), 5, "rows must be uint8 or float32"),
        (np.zeros((5, 5), np.float32), np.arange(4.0), 5, "there are 5 frames"),
        (np.zeros((5, 5), np.float32), np.array([0.0, 1, 1, 2, 3]), 5, "must be finite and ascend"),
        (np.zeros((5, 5), np.float32), np.array([0.0, 1, 2, np.nan, 4]), 5, "must be finite and ascend"),
        (np.zeros((5, 5), np.float32), np.arange(5.0), 4, "height must be 5 or more"),
    ],
)
def test_rows_that_are_none_are_refused(rows: np.ndarray, times: np.ndarray, height: int, message: str) -> None:
    with pytest.raises(FlashError, match=f"^flash: .*{message}") as caught:
        RowFeatures(rows, times, height)
    assert "\n" not in str(caught.value)
