"""The convolutional predictor: trained by the shared loop, evaluated with NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")
pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_torch_thread")]

from test_train_offset import LENGTH, walks  # noqa: E402

from vs_align.analysis.offset_predictors import TrainedPredictor  # noqa: E402
from vs_align.matching.offset_evidence import EVIDENCE  # noqa: E402
from vs_align.train.offset.cnn import MatrixNet, OffsetObjective  # noqa: E402
from vs_align.train.offset.config import OffsetConfig  # noqa: E402
from vs_align.train.offset.scenes import pairs  # noqa: E402
from vs_align.train.ranks import ranks  # noqa: E402
from vs_align.train.run import train  # noqa: E402

SIDE = 48


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=5)
def test_numpy_says_what_the_network_says(seed):
    torch.manual_seed(seed)
    network = MatrixNet(SIDE)
    # Batch norms that have seen something.
    network.train()
    network(torch.rand(8, SIDE, SIDE) * 3)
    network.eval()
    made = TrainedPredictor("cnn", "structure", LENGTH, SIDE, EVIDENCE["structure"], network.arrays())
    matrix = np.random.default_rng(seed).random((LENGTH, LENGTH))
    padded = torch.zeros(1, SIDE, SIDE)
    padded[0, :LENGTH, :LENGTH] = torch.from_numpy(matrix * LENGTH)
    with torch.no_grad():
        wanted = network(padded)[0].numpy()
    assert made.values(matrix) == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_the_file_is_read_again(tmp_path):
    torch.manual_seed(0)
    network = MatrixNet(SIDE).eval()
    made = TrainedPredictor("cnn", "structure", LENGTH, SIDE, EVIDENCE["structure"], network.arrays())
    made.save(tmp_path / "offset.safetensors")
    loaded = TrainedPredictor.load(tmp_path / "offset.safetensors")
    pair = next(pairs([walks(0)], LENGTH, 1, 0))
    assert (loaded.kind, loaded.offset(pair.sight)) == ("cnn", made.offset(pair.sight))


@pytest.mark.slow
def test_it_learns(tmp_path):
    config = OffsetConfig(
        kind="cnn", length=LENGTH, side=SIDE, steps=120, batch=16, learning_rate=1e-3, workers=0, validate_every=120,
        checkpoint_every=120,
    )  # fmt: skip
    made = [walks(seed) for seed in range(40)]
    held = list(pairs([walks(seed) for seed in range(100, 110)], LENGTH, 8, 0))
    with ranks("cpu") as own:
        path = train(OffsetObjective(config, made, held, EVIDENCE["structure"]), config, tmp_path / "run", own)
    loaded = TrainedPredictor.load(path)
    off = np.mean([abs(loaded.offset(pair.sight) - pair.offset) for pair in held])
    assert off < 11
