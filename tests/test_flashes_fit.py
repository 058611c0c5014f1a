"""Clocks: what comes out for cameras whose clocks are known, and when nothing may come out."""

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from flash_scenes import LENGTH, Camera, events_of, rows_of, through_x264, upside_down
from hypothesis import given, settings
from hypothesis import strategies as st

from vs_align.flashes import (
    Clock,
    Events,
    FlashError,
    FlashFit,
    Sighting,
    find_events,
    fit_clocks,
    model_from_dict,
    model_to_dict,
    nearest_frames,
)
from vs_align.flashes.lengths import flash_length
from vs_align.flashes.offsets import rough_offsets

# Irregular, over a minute.
TIMES = np.sort(np.random.default_rng(7).uniform(1000, 59_000, 16))
BASE = Camera()
OTHER = Camera(fps=50, drift=1 + 40e-6, shift=-2345.6, time_per_row=0.11, exposure=14.0)
THIRD = Camera(fps=25, drift=1 - 30e-6, shift=-777.7, time_per_row=0.29, exposure=1.5)


def agree(fit: FlashFit, cameras: dict[str, Camera], *, shift_ms: float = 0.1, row: float = 0.005) -> None:
    """Check the clocks against true ones, which are by the base camera's clock if that has drift 1 and shift 0."""
    base = cameras[fit.base]
    for name, camera in cameras.items():
        clock, drift = fit.clocks[name], camera.drift / base.drift
        middle = 30_000.0
        shift = (camera.shift - base.shift) / base.drift
        assert clock.drift == pytest.approx(drift, abs=2e-6)
        assert clock.drift * middle + clock.shift == pytest.approx(drift * middle + shift, abs=shift_ms)
        assert clock.time_per_row == pytest.approx(camera.time_per_row, rel=row)


def seen(cameras: dict[str, Camera], times: np.ndarray = TIMES, **options: float) -> dict[str, Events]:
    return {name: events_of(camera, times, **options) for name, camera in cameras.items()}


def test_clocks_row_times_and_exposures_of_three_cameras() -> None:
    cameras = {"a": BASE, "b": OTHER, "c": THIRD}
    fit = fit_clocks(seen(cameras, noise=0.3), "a")
    agree(fit, cameras)
    assert (fit.clocks["a"].drift, fit.clocks["a"].shift) == (1, 0)
    for name, camera in cameras.items():
        assert fit.clocks[name].exposure == pytest.approx(camera.exposure, abs=0.15)
    assert fit.flash_length_ms == pytest.approx(LENGTH, abs=0.15)
    common = [flash.time_ms for flash in fit.flashes if len(flash.sightings) > 1]
    assert all(np.abs(TIMES - time).min() < 0.3 for time in common)
    assert len(common) >= 10
    assert model_from_dict(json.loads(json.dumps(fit.to_dict()))) == (fit.clocks, "a")
    begin = np.array([fit.time("b", frame, 100) for frame in range(len(fit.times_ms["b"]))])
    picks = fit.frames_at("b", [1234.0, 40_000.0], row=100)
    nearest = [np.abs(begin - time).argmin() for time in (1234.0, 40_000.0)]
    assert picks.frame.tolist() == nearest
    assert picks.error_ms == pytest.approx(begin[nearest] - (1234.0, 40_000.0))


@pytest.mark.parametrize("container", ["mp4", pytest.param("mkv", marks=pytest.mark.slow)])
def test_clocks_survive_x264(tmp_path: Path, container: str) -> None:
    cameras = {"a": BASE, "b": upside_down(OTHER)}
    events = {
        name: find_events(through_x264(rows_of(camera, TIMES), tmp_path / f"{name}.{container}"))
        for name, camera in cameras.items()
    }
    agree(fit_clocks(events, "a"), cameras, shift_ms=0.15, row=0.01)


def test_edges_of_both_kinds_leave_no_residual() -> None:
    fit = fit_clocks(seen({"a": BASE, "b": OTHER, "c": THIRD}), "a")
    assert {residual.polarity for residual in fit.residuals} == {1, -1}
    assert np.median(np.abs([residual.error_ms for residual in fit.residuals])) < 0.03


def test_nothing_depends_on_the_order_of_the_cameras() -> None:
    cameras = seen({"a": BASE, "b": OTHER, "c": THIRD}, noise=0.5)
    fits = [fit_clocks({name: cameras[name] for name in order}, "a") for order in permutations("abc")]
    renamed = fit_clocks({"z": cameras["a"], "y": cameras["b"], "x": cameras["c"]}, "z")
    for fit in fits[1:]:
        assert fit.clocks == fits[0].clocks
        assert fit.flashes == fits[0].flashes
    assert [renamed.clocks[name] for name in "zyx"] == [fits[0].clocks[name] for name in "abc"]


def test_another_base_gives_the_same_clocks_by_its_time() -> None:
    cameras = seen({"a": BASE, "b": OTHER, "c": THIRD}, noise=0.3)
    by_a, by_b = fit_clocks(cameras, "a"), fit_clocks(cameras, "b")
    for name, frame in (("a", 500), ("c", 900)):
        then = by_a.clocks["b"].frame_ms(by_a.time(name, frame, 30))
        assert by_b.time(name, frame, 30) == pytest.approx(float(then), abs=0.05)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_flashes_that_one_camera_missed_and_false_ones_do_not_bend_the_fit(missing: int) -> None:
    rng = np.random.default_rng(missing)
    cameras = {"a": BASE, "b": OTHER, "c": THIRD}
    events = {}
    for name, camera in cameras.items():
        kept = rng.permutation(TIMES)[len(TIMES) // 3 :]
        false = rng.uniform(1000, 59_000, len(TIMES) // 3)
        events[name] = events_of(camera, sorted([*kept, *false]), noise=0.3)
    agree(fit_clocks(events, "a"), cameras, shift_ms=0.2, row=0.01)


def test_a_wrong_match_a_few_milliseconds_away_is_left_out() -> None:
    cameras = {"a": BASE, "b": OTHER}
    events = seen(cameras, noise=0.2)
    late = TIMES.copy()
    late[[4, 9]] += 6.0
    bent = fit_clocks({"a": events["a"], "b": events_of(OTHER, late, noise=0.2)}, "a")
    agree(bent, cameras)
    wrong = [r for r in bent.residuals if min(abs(bent.flashes[r.flash].time_ms - TIMES[[4, 9]])) < 10]
    assert not any(r.inlier and abs(r.error_ms) > 1 for r in wrong)


def test_an_event_of_the_other_polarity_never_matches() -> None:
    def only(events: Events, side: int) -> Events:
        def one(sighting: Sighting) -> Sighting:
            lead, trail = sighting.down
            down = (lead, None) if side == 0 else (None, trail)
            return replace(sighting, down=down, up=(None, None))

        return replace(events, sightings=tuple(one(s) for s in events.sightings), direction=1)

    events = seen({"a": BASE, "b": OTHER})
    with pytest.raises(FlashError, match="shares 0 flashes"):
        fit_clocks({"a": only(events["a"], 0), "b": only(events["b"], 1)}, "a")


def test_the_first_flash_need_not_be_common() -> None:
    cameras = {"a": BASE, "b": OTHER}
    events = {"a": events_of(BASE, TIMES[2:]), "b": events_of(OTHER, TIMES[:-2])}
    agree(fit_clocks(events, "a"), cameras)


@pytest.mark.parametrize("upright", [True, False])
def test_rows_read_from_the_bottom_have_a_negative_time(upright: bool) -> None:
    cameras = {"a": BASE if upright else upside_down(BASE), "b": upside_down(OTHER)}
    fit = fit_clocks(seen(cameras), "a")
    agree(fit, cameras)
    assert fit.clocks["b"].time_per_row < 0


def test_a_direction_that_no_camera_shows_by_itself_is_found_by_their_agreement() -> None:
    short = replace(BASE, exposure=1.0), upside_down(replace(OTHER, exposure=1.2))
    cameras = dict(zip("ab", short, strict=True))
    times = np.sort(np.random.default_rng(3).uniform(1000, 59_000, 30))
    events = {name: replace(found, direction=0) for name, found in seen(cameras, times).items()}
    agree(fit_clocks(events, "a"), cameras)


def test_a_start_that_is_not_0_and_lost_frames_change_nothing() -> None:
    late = replace(
        OTHER, start=3_600_000.0, shift=OTHER.shift - OTHER.drift * 3_600_000.0, lost=(100, *range(700, 715))
    )
    fit = fit_clocks({"a": events_of(BASE, TIMES), "b": events_of(late, TIMES)}, "a")
    # The clock at the recording's middle, not at time 0, which is an hour before.
    ref = fit.clocks["b"].ref_ms(late.stamps[1500])
    assert ref == pytest.approx(late.drift * late.stamps[1500] + late.shift, abs=0.1)


def test_whole_millisecond_stamps_cost_little_where_the_cameras_are_steady() -> None:
    cameras = {"a": BASE, "b": replace(OTHER, fps=60000 / 1001)}
    events = {}
    for name, camera in cameras.items():
        exact = rows_of(camera, TIMES)
        events[name] = find_events(replace(exact, times_ms=np.round(exact.times_ms)))
    agree(fit_clocks(events, "a"), cameras)


def test_fewer_than_four_common_flashes_are_too_few_and_told() -> None:
    events = {"a": events_of(BASE, TIMES[:3]), "b": events_of(OTHER, TIMES[:3])}
    with pytest.raises(FlashError, match=r"^flash: camera '[ab]' shares [0-3] flashes .* need 4\.$"):
        fit_clocks(events, "a")


def test_flashes_at_even_intervals_could_be_matched_in_several_ways_and_a_hint_says_which() -> None:
    times = 2000.0 + 1007.3 * np.arange(50)
    cameras = {"a": BASE, "b": OTHER}
    events = seen(cameras, times)
    with pytest.raises(FlashError, match=r"in several ways.*hint"):
        fit_clocks(events, "a")
    agree(fit_clocks(events, "a", hint=frames_of(cameras, times[9])), cameras)


@pytest.mark.slow
def test_flashes_at_one_place_of_every_frame_do_not_say_the_time_per_row() -> None:
    # 30 frames from one flash to the next: always the same rows.
    times = 2000.0 + 1000.0 * np.arange(50)
    cameras = {"a": BASE, "b": replace(BASE, shift=-777.0, exposure=3.0)}
    with pytest.raises(FlashError, match="do not say the clock of camera"):
        fit_clocks(seen(cameras, times), "a", hint=frames_of(cameras, times[9]))


def frames_of(cameras: dict[str, Camera], time: float) -> dict[str, int]:
    """Return the frame of each camera that begins nearest to a true time."""
    return {
        name: int(np.argmin(np.abs(camera.drift * camera.stamps + camera.shift - time)))
        for name, camera in cameras.items()
    }


def test_a_hint_restricts_the_offset() -> None:
    cameras = {"a": BASE, "b": OTHER}
    events = seen(cameras)
    frame_of = frames_of(cameras, TIMES[5])
    agree(fit_clocks(events, "a", hint=frame_of), cameras)
    with pytest.raises(FlashError, match="shares"):
        fit_clocks(events, "a", hint={"a": frame_of["a"], "b": frame_of["b"] - 200})


def test_of_known_clocks_the_shift_needs_two_flashes() -> None:
    later = replace(OTHER, shift=-99.5)
    known = {"a": Clock(1, 0, BASE.time_per_row, 0), "b": Clock(OTHER.drift, 12345, OTHER.time_per_row, 0)}
    # Where both show both edges.
    times = TIMES[[4, 7, 11]]
    fit = fit_clocks({"a": events_of(BASE, times), "b": events_of(later, times)}, "a", known=known)
    assert fit.clocks["b"].shift == pytest.approx(-99.5, abs=0.15)
    with pytest.raises(FlashError, match="need 4"):
        fit_clocks({"a": events_of(BASE, times), "b": events_of(later, times)}, "a")


def test_a_global_shutter_is_known_to_where_its_exposures_intersect() -> None:
    still = Camera(fps=40, drift=1 + 10e-6, shift=-1234.0, time_per_row=0, exposure=20.0)
    times = np.sort(np.random.default_rng(5).uniform(1000, 59_000, 40))
    cameras = {"a": BASE, "b": OTHER, "g": still}
    fit = fit_clocks(seen(cameras, times), "a", global_shutter=["g"])
    clock = fit.clocks["g"]
    # Forty flashes over 20 ms: the ends of the exposure are seen to about half a millisecond each, more by chance.
    assert clock.drift * 30_000 + clock.shift == pytest.approx(still.drift * 30_000 + still.shift, abs=2.5)
    assert clock.time_per_row == 0
    assert clock.exposure == pytest.approx(20, abs=4)
    by_g = fit_clocks(seen(cameras, times), "g", global_shutter=["g"])
    assert (by_g.clocks["g"].drift, by_g.clocks["g"].shift) == (1, 0)
    assert by_g.time("b", 700) == pytest.approx(float(clock.frame_ms(fit.time("b", 700))), abs=0.05)


def test_a_global_shutter_that_is_not_named_is_told() -> None:
    still = Camera(fps=40, time_per_row=0, exposure=20.0)
    with pytest.raises(FlashError, match=r"'g' shows .* name it in global_shutter"):
        fit_clocks(seen({"a": BASE, "b": OTHER, "g": still}), "a")


@pytest.mark.parametrize(
    ("names", "base", "options", "message"),
    [
        (["a"], "a", {}, "two cameras or more are needed, not 1"),
        (["a", "b"], "c", {}, "there is no camera 'c'; there are a, b"),
        (["a", "b"], "a", {"global_shutter": ["x"]}, "there is no camera 'x'"),
        (["a", "b"], "a", {"hint": {"a": 10**9, "b": 1}}, "hint for camera 'a' must be a frame from 0 to 2099"),
        (["a", "b"], "a", {"global_shutter": ["a", "b"]}, "must have a rolling shutter"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(names: list[str], base: str, options: dict, message: str) -> None:
    events = events_of(BASE, TIMES[:5])
    with pytest.raises(FlashError, match=f"^flash: .*{message}") as caught:
        fit_clocks(dict.fromkeys(names, events), base, **options)
    assert "\n" not in str(caught.value)


def test_flashes_that_fade_are_told() -> None:
    cameras = {"a": BASE, "b": OTHER}
    assert not any("fade" in line for line in fit_clocks(seen(cameras), "a").warnings)
    assert any("the flashes fade" in line for line in fit_clocks(seen(cameras, fading=True), "a").warnings)


def test_unrelated_recordings_are_refused() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        events = {
            "a": events_of(BASE, np.sort(rng.uniform(1000, 59_000, 16))),
            "b": events_of(OTHER, np.sort(rng.uniform(1000, 59_000, 16))),
        }
        with pytest.raises(FlashError, match=r"^flash: camera '[ab]'"):
            fit_clocks(events, "a")


CLOCKS = st.builds(
    Clock,
    st.floats(0.9, 1.1),
    st.floats(-1e6, 1e6),
    st.floats(-0.1, 0.1),
    st.floats(0, 40),
)


@given(CLOCKS, st.floats(0, 1e6), st.floats(0, 2160))
def test_frame_and_ref_times_are_inverse(clock: Clock, time: float, row: float) -> None:
    assert float(clock.frame_ms(clock.ref_ms(time, row), row)) == pytest.approx(time, abs=1e-6)


@given(
    CLOCKS,
    st.lists(st.floats(0.5, 80), min_size=1, max_size=40),
    st.lists(st.floats(-200, 3000), min_size=1, max_size=10),
    st.integers(0, 500),
)
@settings(deadline=None)
def test_picked_frames_are_the_nearest(clock: Clock, steps: list[float], times: list[float], row: int) -> None:
    stamps = np.cumsum([0.0, *steps])
    ref = np.array(times) + clock.shift
    picks = nearest_frames(clock, stamps, ref, row)
    begins = clock.drift * stamps + clock.shift + row * clock.time_per_row
    off = np.abs(begins - ref[:, None])
    np.testing.assert_allclose(np.abs(picks.error_ms), off.min(axis=1), atol=1e-6)
    np.testing.assert_allclose(picks.error_ms, begins[picks.frame] - ref, atol=1e-9)
    half = clock.drift * np.median(np.diff(stamps)) / 2
    clear = np.abs(off.min(axis=1) - half) > 1e-6
    np.testing.assert_array_equal(picks.dropped[clear], (off.min(axis=1) > half)[clear])


def test_times_in_a_hole_and_beyond_the_ends_are_dropped() -> None:
    stamps = np.delete(np.arange(20) * 40.0, [8, 9])
    picks = nearest_frames(Clock(), stamps, [-30, -20, 0, 300, 305, 340, 379, 385, 760, 781], 0)
    assert picks.frame.tolist() == [0, 0, 0, 7, 7, 7, 8, 8, 17, 17]
    assert picks.dropped.tolist() == [True, False, False, False, True, True, True, False, False, True]


@given(st.dictionaries(st.text(min_size=1, max_size=9), CLOCKS, min_size=1, max_size=4))
def test_a_model_survives_json(clocks: dict[str, Clock]) -> None:
    base = next(iter(clocks))
    data = json.loads(json.dumps(model_to_dict(clocks, base)))
    assert set(data) == {"model", "base_cam"}
    assert all(set(values) == {"drift", "shift", "time_per_row", "exposure"} for values in data["model"].values())
    assert model_from_dict(data) == (clocks, base)


def test_a_model_without_exposures_is_taken() -> None:
    values = {"drift": 1.0, "shift": -3, "time_per_row": 0.0}
    assert model_from_dict({"model": {"1": values}, "base_cam": "1"}) == ({"1": Clock(1.0, -3.0, 0.0, 0.0)}, "1")


GOOD = {"drift": 1.0, "shift": 0.0, "time_per_row": 0.01, "exposure": 5.0}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, 'a model must hold "model"'),
        ([], 'a model must hold "model"'),
        ({"model": {}, "base_cam": "a"}, 'a model must hold "model"'),
        ({"model": {"a": 3}, "base_cam": "a"}, "the model of camera 'a' must hold drift"),
        ({"model": {1: GOOD}, "base_cam": 1}, "the model of camera 1 must hold drift"),
        ({"model": {"a": {**GOOD, "drift": "fast"}}, "base_cam": "a"}, "drift must be a number, not 'fast'"),
        ({"model": {"a": {**GOOD, "shift": float("nan")}}, "base_cam": "a"}, "shift must be a number, not nan"),
        ({"model": {"a": {**GOOD, "shift": True}}, "base_cam": "a"}, "shift must be a number, not True"),
        ({"model": {"a": {"drift": 1.0, "shift": 0.0}}, "base_cam": "a"}, "time_per_row must be a number, not None"),
        ({"model": {"a": {**GOOD, "drift": 0}}, "base_cam": "a"}, "drift must be above 0"),
        ({"model": {"a": {**GOOD, "exposure": -1}}, "base_cam": "a"}, "exposure 0 or more"),
        ({"model": {"a": GOOD}, "base_cam": "b"}, '"base_cam" must name a camera of the model'),
        ({"model": {"a": GOOD}, "base_cam": ["a"]}, '"base_cam" must name a camera of the model'),
        ({"model": {"a": GOOD}}, '"base_cam" must name a camera of the model'),
    ],
)
def test_a_model_that_is_none_is_refused_in_one_line(data: object, message: str) -> None:
    with pytest.raises(FlashError, match=f"^flash: .*{message}") as caught:
        model_from_dict(data)
    assert "\n" not in str(caught.value)


def test_rough_offsets_put_the_common_one_first() -> None:
    rng = np.random.default_rng(1)
    common = rng.uniform(0, 300_000, 10)
    one = np.sort(np.concatenate([common, rng.uniform(0, 300_000, 8)]))
    other = np.sort(np.concatenate([common - 43_210, rng.uniform(0, 300_000, 8)]))
    assert rough_offsets(one, other, 50, None)[0] == pytest.approx(43_210, abs=50)
    assert all(abs(offset - 1000) <= 500 for offset in rough_offsets(one, other, 50, (1000, 500)))


@pytest.mark.parametrize("length", [0.3, 0.8, 2.0])
def test_the_flash_is_the_part_of_the_span_that_all_cameras_share(length: float) -> None:
    exposures = np.array([0.5, 4.0, 17.0])
    found = flash_length(np.minimum(exposures, length), exposures + length, np.full(3, 0.1))
    assert found == pytest.approx(length, abs=0.02)
