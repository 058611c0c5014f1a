"""The network's weights: saved and loaded, every way to find the file, every way that it can be wrong."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from vs_align import network_files  # noqa: E402
from vs_align.flow.network.model import AlignNet  # noqa: E402
from vs_align.flow.network.weights import FILES, load_weights, save_weights  # noqa: E402
from vs_align.models import ModelError  # noqa: E402

pytestmark = pytest.mark.torch

OTHER = {"features": 16, "memory": 8, "width": 24, "reach": 2, "updates": (1, 1, 1, 1)}


@pytest.fixture
def net():
    torch.manual_seed(1)
    return AlignNet(**OTHER)


@pytest.fixture
def saved(net, tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(path, net)
    return path


def rewritten(path, tensors=None, **metadata):
    """The file with other tensors, or with other entries of its metadata; None takes an entry away."""
    with safe_open(path, framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = {name: value for name, value in (file.metadata() | metadata).items() if value is not None}
    path = path.with_name("other.safetensors")
    save_file(kept if tensors is None else tensors(kept), path, told)
    return path


def refused(path, says):
    with pytest.raises(ModelError, match=says) as error:
        load_weights(path)
    assert len(str(error.value).splitlines()) == 1
    assert str(path) in str(error.value)


def test_what_was_saved_is_loaded_with_its_hyperparameters(net, saved):
    loaded = load_weights(str(saved))
    assert loaded.config == net.config
    state = loaded.state_dict()
    assert list(state) == list(net.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in net.state_dict().items())
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_file_says_what_it_is(saved, net):
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "vs_align.flow"
    assert metadata["version"] == "1"
    assert json.loads(metadata["config"]) == net.config


def test_a_network_in_half_precision_is_loaded_in_float(saved):
    path = rewritten(saved, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    assert {parameter.dtype for parameter in load_weights(path).parameters()} == {torch.float32}


def test_saving_replaces_the_file_as_a_whole_and_leaves_nothing_beside_it(net, saved, monkeypatch):
    before = saved.read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr("safetensors.numpy.save_file", full)
        save_weights(saved, net)
    assert saved.read_bytes() == before
    torch.nn.init.ones_(net.encoder.out.weight)
    save_weights(saved, net)
    assert bool((load_weights(saved).encoder.out.weight == 1).all())
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_saving_asks_for_the_right_ending(net, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        save_weights(tmp_path / "net.pth", net)


def test_the_argument_comes_before_the_environment_and_that_before_the_package(saved, tmp_path, monkeypatch):
    other = saved.with_name("named.safetensors")
    other.write_bytes(b"")
    monkeypatch.setenv(FILES.env, str(other))
    assert FILES.located(saved) == saved
    assert FILES.located() == other
    monkeypatch.delenv(FILES.env)
    packaged = tmp_path / "package" / "flow.safetensors"
    packaged.parent.mkdir()
    packaged.write_bytes(b"")
    monkeypatch.setattr(network_files, "_WEIGHTS", packaged.parent)
    assert FILES.located() == packaged


def test_a_missing_file_is_one_line_that_says_who_named_it(tmp_path, monkeypatch):
    monkeypatch.setattr(network_files, "_WEIGHTS", tmp_path / "packaged")
    with pytest.raises(ModelError, match=r"no flow weights file at .*packaged.*install vs_align again"):
        FILES.located()
    monkeypatch.setenv(FILES.env, str(tmp_path / "named"))
    with pytest.raises(ModelError, match=rf"no flow weights file at .*named: .*{FILES.env}"):
        FILES.located()
    with pytest.raises(ModelError, match=r"no flow weights file at .*given.*: pass the path"):
        FILES.located(tmp_path / "given.safetensors")
    with pytest.raises(ModelError, match="no flow weights file"):
        FILES.located(tmp_path)


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_a_truncated_file(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    refused(saved, "cannot be read as a safetensors file")


def test_a_file_of_something_else(saved):
    saved.write_bytes(b"<!DOCTYPE html>" + bytes(1000))
    refused(saved, "cannot be read as a safetensors file")


def test_a_pytorch_file(net, tmp_path):
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path)
    refused(path, "cannot be read as a safetensors file")


@pytest.mark.parametrize("name", [None, "topiq"])
def test_weights_of_another_network(saved, name):
    refused(rewritten(saved, format=name), "is no flow weights file")


@pytest.mark.parametrize("version", [None, "2", "0", "x\ny" * 50])
def test_weights_of_another_version(saved, version):
    refused(rewritten(saved, version=version), "is of version .*reads version '1'")


@pytest.mark.parametrize(
    "config", [None, "", "{", "[]", "3", '{"depth": 4}', '{"features": "many"}', '{"features": -4}', '{"updates": [1]}']
)
def test_weights_that_do_not_describe_a_network(saved, config):
    refused(rewritten(saved, config=config), "does not describe a network|does not hold the weights")


def test_weights_that_are_not_those_described(saved):
    refused(rewritten(saved, config=json.dumps(AlignNet().config)), "does not hold the weights")
    refused(rewritten(saved, lambda tensors: dict(list(tensors.items())[1:])), "does not hold the weights")
    refused(rewritten(saved, lambda tensors: tensors | {"more": torch.zeros(3)}), "does not hold the weights")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(saved, value):
    def spoilt(tensors):
        name = next(iter(tensors))
        tensors[name].view(-1)[0] = value
        return tensors

    refused(rewritten(saved, spoilt), "not finite")
