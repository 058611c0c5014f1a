"""The shift that the network begins with: phase correlation on the device."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vs_align.flow.network.shift import common_shift  # noqa: E402

pytestmark = pytest.mark.torch


def texture(height, width, seed=0):
    noise = np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 1.0) * 3


def tensor(picture):
    return torch.from_numpy(np.ascontiguousarray(picture))[None, None]


@pytest.mark.parametrize("shift", [(5, 0), (0, -7), (-11, 4), (13, 9)])
@pytest.mark.parametrize("size", [(60, 90), (45, 47)])
def test_a_shift_is_found_to_the_pixel(shift, size):
    d_x, d_y = shift
    whole = texture(size[0] + 40, size[1] + 40)
    clip = whole[20 : 20 + size[0], 20 : 20 + size[1]]
    ref = whole[20 + d_y : 20 + d_y + size[0], 20 + d_x : 20 + d_x + size[1]]
    found = common_shift(tensor(ref), tensor(clip), torch.ones(1, 1, *size))
    assert found.flatten().tolist() == [d_x, d_y]


def test_where_nothing_is_gained_there_is_no_shift():
    ref = texture(48, 64)
    keep = torch.ones(1, 1, 48, 64)
    for clip in (ref, texture(48, 64, seed=1), ref + 0.8 * np.roll(ref, 1, axis=1), np.zeros_like(ref)):
        assert not common_shift(tensor(ref), tensor(clip), keep).any()


def test_each_pair_of_a_batch_has_a_shift_of_its_own_and_what_is_masked_does_not_lead():
    whole = texture(90, 120)
    clip, ref = whole[10:70, 10:100], whole[14:74, 3:93]
    hidden = ref.copy()
    hidden[20:40, 20:60] = np.roll(clip, 9, axis=0)[20:40, 20:60]
    keep = torch.ones(2, 1, 60, 90)
    keep[1, :, 20:40, 20:60] = 0
    found = common_shift(
        torch.cat([tensor(clip), tensor(hidden)]), torch.cat([tensor(clip), tensor(clip)]), keep
    )
    assert found.flatten(1).tolist() == [[0, 0], [-7, 4]]
