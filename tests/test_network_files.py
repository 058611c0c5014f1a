"""Files of networks: what is written is read, with tensors of NumPy and of torch."""

import numpy as np
import pytest

from vs_align.models import ModelError
from vs_align.network_files import NetworkFiles

pytest.importorskip("safetensors")

FILES = NetworkFiles(
    name="toy", format="toys", version="2", env="VS_ALIGN_TOY", packaged="toy", argument="toy", command="make toy"
)
# A counter, as batch norms have one, has no axes; what is turned lies in another order.
TENSORS = {"turned": np.arange(6, dtype=np.float32).reshape(2, 3).T, "count": np.array(7)}
SHAPES = {"turned": (3, 2), "count": ()}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "toy.safetensors"
    FILES.save(path, TENSORS, {"wheels": 4}, kind="car", license="MIT")
    assert (FILES.header(path).kind, FILES.header(path).config) == ("car", {"wheels": 4})
    found = FILES.tensors(path, SHAPES)
    assert all(np.array_equal(found[name], tensor) for name, tensor in TENSORS.items())
    with pytest.raises(ModelError, match="does not hold the weights"):
        FILES.tensors(path, {**SHAPES, "count": (1,)})


def test_what_a_file_says_besides_does_not_hide_what_it_is(tmp_path):
    path = tmp_path / "toy.safetensors"
    FILES.save(path, TENSORS, {}, format="cars", version="9")
    assert FILES.header(path).config == {}


@pytest.mark.torch
def test_a_network_in_torch_comes_back(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    net(torch.randn(4, 2))
    FILES.save(tmp_path / "toy.safetensors", net.state_dict(), {})
    other = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    assert FILES.fill(other, tmp_path / "toy.safetensors", "cpu") is other
    assert not other.training and not any(part.requires_grad for part in other.parameters())
    assert int(other[1].num_batches_tracked) == 1
    assert all(torch.equal(part, other.state_dict()[name]) for name, part in net.state_dict().items())
