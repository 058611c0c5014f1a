"""similarity="embedding" with torch: the frame network's twin, and networks that see frames in sequence."""

from pathlib import Path

import numpy as np
import pytest
from helpers import drawn, held, moving, one_line, retime, values

torch = pytest.importorskip("torch")

import vs_align  # noqa: E402
from vs_align.similarity.embedding import files, sequence_net  # noqa: E402
from vs_align.similarity.embedding.frame_net import FrameNet  # noqa: E402
from vs_align.similarity.embedding.framing import IDENTITY, INPUT  # noqa: E402
from vs_align.similarity.embedding.networks import open_network  # noqa: E402
from vs_align.similarity.embedding.numpy_net import FrameSizes, NumpyNet, shapes  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("sizes", [FrameSizes(), FrameSizes(3, 5, 4, 7, 9)])
def test_the_twins_agree(sizes: FrameSizes) -> None:
    torch.manual_seed(0)
    net = FrameNet(sizes).eval()
    tensors = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    assert {name: tensor.shape for name, tensor in tensors.items()} == shapes(sizes)
    pictures = np.random.default_rng(0).normal(0, 1, (3, *INPUT[::-1])).astype(np.float32)
    with torch.no_grad():
        made = net(torch.from_numpy(pictures)).numpy()
    assert NumpyNet(tensors)(pictures) == pytest.approx(made, abs=1e-4)
    # The same for each picture, whatever is beside it.
    assert NumpyNet(tensors)(pictures[1:2])[0] == pytest.approx(made[1], abs=1e-4)


def test_the_packaged_network_and_its_twin_agree() -> None:
    tensors, _ = files.read_frame_net(files.FILES.own)
    sizes = FrameSizes(*(files.FILES.header(files.FILES.own).config[name] for name in FrameSizes._fields))
    net = FrameNet(sizes).eval()
    net.load_state_dict({name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in tensors.items()})
    pictures = np.random.default_rng(0).normal(0, 1, (2, *INPUT[::-1])).astype(np.float32)
    with torch.no_grad():
        made = net(torch.from_numpy(pictures)).numpy()
    assert NumpyNet(tensors)(pictures) == pytest.approx(made, abs=1e-4)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A small network of random weights that sees 8 frames in sequence."""
    torch.manual_seed(0)
    sizes = sequence_net.SequenceSizes(
        backbone="small", size=32, cells=2, hidden=32, width=16, layers=1, heads=2, feedforward=32, embedding=16,
        length=8,
    )  # fmt: skip
    path = tmp_path / "actions.safetensors"
    sequence_net.save(path, sequence_net.SequenceNet(sizes, trained="all"))
    return path


def test_a_network_that_sees_sequences_serves_in_its_place(trained: Path) -> None:
    ref = held(drawn(moving(64, 48), 30))
    clip = retime(ref, [*range(4, 30)])
    result = vs_align.temporal(clip, ref, tr=6, similarity="embedding", model=trained, device="cpu")
    frames = values(result)
    # Where the frames around are the same in both clips, so are the embeddings.
    assert frames[8:26] == list(range(4, 22))
    assert values(result, "AlignScore")[8:26] == [0.0] * 18
    again = vs_align.temporal(clip, ref, tr=6, similarity="embedding", model=str(trained), device="cpu")
    scores = values(result, "AlignScore")
    for n in (29, 3, 17, 4, 0):
        props = again.get_frame(n).props
        assert (props["AlignFrame"], props["AlignScore"]) == (frames[n], scores[n])


def test_an_embedding_in_sequence_is_the_networks_own(trained: Path) -> None:
    network = open_network(trained, "cpu")
    assert (network.reach, network.length, network.framed) == (4, 16, False)
    ref = held(drawn(moving(64, 48), 9))
    prepared = network.prepared(ref)
    around = [network.picture(prepared.get_frame(n)) for n in range(9)]
    made = network.embeddings(around, 4, [IDENTITY, IDENTITY])
    net = sequence_net.load(trained)
    frames = np.stack([np.stack([np.asarray(prepared.get_frame(n)[p]) for p in range(3)]) for n in range(9)])
    with torch.no_grad():
        whole = net(torch.from_numpy(frames).clip(0, 1)[None] * 255, torch.ones(1, 9, dtype=torch.bool))[0, 4].numpy()
    assert made[0] == pytest.approx(whole, abs=1e-4)
    assert np.array_equal(made[0], made[1])


def test_a_sequence_network_of_another_architecture_is_refused(trained: Path) -> None:
    from safetensors.torch import load_file, save_file

    metadata = {
        "format": files.FILES.format,
        "kind": files.SEQUENCE,
        "version": files.FILES.version,
        "config": '{"backbone": "small"}',
    }
    save_file(load_file(trained), trained, metadata)
    clip = held(drawn(moving(), 2))
    with pytest.raises(RuntimeError) as error:
        vs_align.temporal(clip, clip, similarity="embedding", model=trained)
    one_line("vs_align.temporal", error, "does not hold the weights of the network")
