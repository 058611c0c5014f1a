"""One offset out of two passages: predictors, what is made of the distances, and what several passages say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vs_align.matching.offset_evidence import EVIDENCE, Evidence, Vote, combined
from vs_align.matching.offsets import PREDICTORS, REACH, Sight, excess, profile, similarity_matrix

LENGTH = 80


def light(count: int, seed: int = 0) -> np.ndarray:
    """Small pictures that change at random, as smoothly as a scene."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((count + 8, 8, 12))
    return 120 + 20 * np.array([steps[n : n + 8].mean(0) for n in range(count)])


def sight(offset: int, noise: float = 0.0, length: int = LENGTH) -> Sight:
    """Passages of a walk through 20 dimensions, ref's frame i being clip's frame i + offset."""
    rng = np.random.default_rng(3)
    count = length + 2 * REACH
    walk, lights = rng.standard_normal((count, 20)).cumsum(0), light(count)
    first = REACH + offset if offset > 0 else REACH
    ref, clip = slice(first, first + length), slice(first - offset, first - offset + length)
    distances = np.sqrt(((walk[ref][:, None] - walk[clip][None]) ** 2).sum(2))
    distances = np.abs(distances + noise * rng.standard_normal(distances.shape))
    return Sight(distances, lights[ref], lights[clip])


@pytest.mark.parametrize("name", ["median", "dtw", "diagonals", "brightness"])
@pytest.mark.parametrize("offset", [-30, -11, 0, 1, 17, 30])
def test_a_known_offset_is_found(name, offset):
    # Of the nearest frames those beyond the other passage's end pull the median, from half of it on.
    length = 150 if name == "median" else LENGTH
    found = PREDICTORS[name](sight(offset, length=length))
    assert abs(found - offset) <= (1 if name == "dtw" else 0)


@pytest.mark.parametrize("offset", [-9, 0, 12])
def test_the_mean_is_pulled_by_frames_that_have_no_match(offset):
    """Every ref frame without a match has its nearest at an end of clip: a definition, worked out by hand."""
    given = sight(offset)
    nearest = [min(range(LENGTH), key=lambda j, i=i: given.distances[i, j]) - i for i in range(LENGTH)]
    assert PREDICTORS["mean"](given) == round(sum(nearest) / LENGTH)


@pytest.mark.parametrize("name", ["diagonals", "brightness", "dtw", "median"])
def test_swapping_the_clips_turns_the_offset_round(name):
    given = sight(8, noise=0.5, length=150)
    turned = Sight(given.distances.T, given.clip_light, given.ref_light)
    assert abs(PREDICTORS[name](given) + PREDICTORS[name](turned)) <= 1


@pytest.mark.parametrize("offset", [-25, 0, 4, 30])
def test_blend_finds_it_and_is_sure(offset):
    evidence = EVIDENCE["structure"]
    given = sight(offset, noise=1.0)
    assert evidence.blend(given) == offset
    assert evidence.probability(given, offset) > 0.9
    assert evidence.probability(given, offset + 5 if offset < 0 else offset - 5) < 0.2


def test_strangers_are_not_sure():
    evidence = EVIDENCE["structure"]
    rng = np.random.default_rng(1)
    said = []
    for seed in range(12):
        given = Sight(5 + rng.random((LENGTH, LENGTH)), light(LENGTH, seed), light(LENGTH, seed + 100))
        said.append(evidence.probability(given, evidence.blend(given)))
    assert np.mean(said) < 0.35


def test_pictures_that_never_change_say_nothing():
    still = Sight(np.zeros((LENGTH, LENGTH)), np.full((LENGTH, 8, 12), 90.0), np.full((LENGTH, 8, 12), 95.0))
    for predictor in PREDICTORS.values():
        assert abs(predictor(still)) <= REACH
    assert EVIDENCE["structure"].blend(still) == 0
    assert EVIDENCE["structure"].probability(still, 0) < 0.3


@pytest.mark.parametrize("name", [*PREDICTORS, "blend"])
def test_frames_that_cannot_be_compared_are_passed_over(name):
    given = sight(6, length=150)
    holes = given.distances.copy()
    holes[[3, 40, 41]] = np.inf
    holes[:, 17] = np.inf
    predictor = PREDICTORS.get(name, EVIDENCE["structure"].blend)
    whole, blind = predictor(given), predictor(Sight(holes, given.ref_light, given.clip_light))
    assert abs(whole - blind) <= 1
    nothing = Sight(np.full((20, 20), np.inf), np.full((20, 8, 12), 90.0), np.full((20, 8, 12), 90.0))
    assert predictor(nothing) == 0


def test_the_matrix_is_the_softmax_of_squared_distances():
    distances = np.random.default_rng(0).random((7, 9)) * 4
    squared = -(distances**2)
    wanted = np.exp(2 * squared / squared.std())
    wanted /= wanted.sum(1, keepdims=True)
    assert similarity_matrix(distances) == pytest.approx(wanted)
    assert similarity_matrix(1000 * distances) == pytest.approx(wanted)
    distances[2] = np.inf
    assert (similarity_matrix(distances)[2] == 0).all()
    assert similarity_matrix(np.ones((4, 5))) == pytest.approx(np.full((4, 5), 0.2))


def test_excess_is_what_row_and_column_do_not_explain():
    rng = np.random.default_rng(0)
    distances = rng.random((30, 1)) * 9 + rng.random((1, 30)) * 9
    assert excess(distances) == pytest.approx(np.zeros((30, 30)), abs=1e-6)
    distances[np.arange(25) + 5, np.arange(25)] -= 1
    assert int(profile(distances).argmin()) - REACH == -5


def test_offsets_that_too_few_frames_overlap_at_are_not_answered():
    short = Sight(np.random.default_rng(0).random((12, 12)), light(12), light(12, 1))
    assert np.isinf(profile(short.distances)[: REACH - 8]).all()
    assert np.isneginf(short.profiles[:, -1]).all()
    assert abs(EVIDENCE["structure"].blend(short)) <= 8


def test_an_account_that_sees_noise_alone_hardly_speaks():
    """A still scene's measure is noise: it must not outvote the light, which finds the offset."""
    rng = np.random.default_rng(3)
    lights = light(60 + 9, 5)
    noise = Sight(rng.random((60, 60)), lights[:60], lights[9:] + rng.normal(0, 0.1, (60, 8, 12)))
    measure, *changes = noise.profiles
    assert measure.max() < 0.5 < max(each.max() for each in changes)
    assert EVIDENCE["structure"].blend(noise) == -9
    assert (noise.profiles[np.isfinite(noise.profiles)] >= 0).all()


@given(st.integers(-REACH, REACH), st.floats(0, 1), st.integers(1, 6))
@settings(deadline=None, max_examples=60)
def test_passages_that_agree_are_surer_than_one(offset, probability, count):
    one = Vote(offset, probability)
    assert combined([one]) == one
    found = combined([one] * count)
    assert 0 <= found.probability <= 1
    if probability > 0.3:
        assert found.offset == offset and found.probability >= min(probability, 0.97) - 1e-9


def test_a_passage_that_knows_nothing_changes_nothing():
    # Three offsets of 61: what a passage without evidence gives its answer.
    know = [Vote(-4, 0.9), Vote(-4, 0.8)]
    found = combined([*know, Vote(20, 3 / 61), Vote(-17, 3 / 61)])
    assert found.offset == -4
    assert found.probability == pytest.approx(combined(know).probability, abs=0.01)


def test_passages_that_contradict_each_other_are_doubtful():
    found = combined([Vote(5, 0.9), Vote(-20, 0.9)])
    assert found.offset in (5, -20) and found.probability < 0.6
    assert combined([Vote(5, 0.9), Vote(-20, 0.5), Vote(5, 0.7)]).offset == 5
    # What most say is taken, not what lies between.
    five = [Vote(17, 0.98), Vote(17, 0.98), Vote(17, 0.67), Vote(15, 0.66), Vote(17, 0.79)]
    assert combined(five).offset == 17
    # Beside each other is no contradiction.
    assert combined([Vote(5, 0.9), Vote(6, 0.9)]).probability > 0.9


def test_probabilities_follow_the_definition():
    """A softmax over 61 offsets and none, and a line through its logit, worked out with plain loops."""
    evidence = Evidence(weights=(0.5, 0.2, 0.0, 0.3, 0.1, 0.4), none=1.0, scale=0.8, shift=-0.3)
    given = sight(3, noise=3.0)
    values = [sum(w * p for w, p in zip(evidence.weights, column, strict=True)) for column in given.profiles.T]
    total = sum(np.exp(v) for v in values) + np.exp(1.0)
    share = sum(np.exp(values[k + REACH]) for k in (2, 3, 4)) / total
    wanted = 1 / (1 + np.exp(-(0.8 * np.log(share / (1 - share)) - 0.3)))
    assert evidence.probability(given, 3) == pytest.approx(min(wanted, 0.98))
