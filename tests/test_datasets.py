"""Data sets: each layout read from small files of the documented form; what is wrong with one named with its line."""

import struct
from pathlib import Path

import pytest

from vs_align.train import datasets
from vs_align.train.datasets import AnnotationError
from vs_align.train.datasets.records import crc32c, sequence_examples

NTU = "S001C00{}P001R002A007_rgb.avi"
GYM = "0LtLS9wROrk_E_002407_002435_A_0003_0005"


def put(path: Path, text: str | bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(name: str, root: Path, split: str = "train") -> str:
    """Load what cannot be; return the one line that says why."""
    with pytest.raises(AnnotationError) as error:
        datasets.load(name, root, split)
    assert "\n" not in str(error.value)
    return str(error.value)


def rows(name: str, root: Path, split: str = "train") -> list[tuple]:
    table = datasets.load(name, root, split)
    assert [row.id for row in table.rows] == list(range(len(table)))
    return [
        (row.name, row.video_file_0, row.video_file_1, row.seq_len_0, row.seq_len_1, row.label_0, row.label_1)
        for row in table.rows
    ]


@pytest.mark.parametrize("name", datasets.NAMES)
def test_a_folder_that_is_not_there(name, tmp_path):
    assert str(tmp_path / "none") in refused(name, tmp_path / "none")


def test_an_unknown_data_set(tmp_path):
    assert "there is no data set 'ucf'" in refused("ucf", tmp_path)


# ---------------------------------------------------------------- a plain folder


def test_a_folder_of_videos(tmp_path):
    one, other = put(tmp_path / "a.mp4"), put(tmp_path / "b" / "c.MKV")
    put(tmp_path / "notes.txt")
    assert rows("folder", tmp_path) == [
        ("a.mp4", one, one, 0, 0, None, None),
        ("b/c.MKV", other, other, 0, 0, None, None),
    ]
    table = datasets.load("folder", tmp_path)
    assert table.videos == (one, other)
    assert not any(row.paired for row in table.rows)


def test_a_folder_without_videos(tmp_path):
    put(tmp_path / "notes.txt")
    assert "holds no videos" in refused("folder", tmp_path)


# ---------------------------------------------------------------- pairs of cameras


def test_ntu_syn(tmp_path):
    for camera, begin in ((1, 0), (2, 17)):
        put(tmp_path / "raw_videos" / NTU.format(camera))
        put(tmp_path / "NTU-SYN/pose/test" / f"{NTU.format(camera)}.json", f'{{"category_id": {begin}}}')
    videos = [tmp_path / "raw_videos" / NTU.format(camera) for camera in (1, 2)]
    assert rows("ntu_syn", tmp_path, "test") == [("S001P001R002A007", *videos, 0, 0, (0,), (17,))]
    assert datasets.load("ntu_syn", tmp_path, "test").rows[0].paired


def test_ntu_syn_that_is_not_whole(tmp_path):
    first = put(tmp_path / "NTU-SYN/pose/test" / f"{NTU.format(1)}.json", '{"category_id": 0}')
    assert "there is no video" in refused("ntu_syn", tmp_path, "test")
    for camera in (1, 2):
        put(tmp_path / "raw_videos" / NTU.format(camera))
    second = first.with_name(f"{NTU.format(2)}.json")
    assert f"there is no file {second}" in refused("ntu_syn", tmp_path, "test")
    put(second, '{\n "category_id": 17,\n "x": }\n')
    assert f"{second}, line 3: this is not JSON" in refused("ntu_syn", tmp_path, "test")
    put(second, "{}")
    assert f"{second}, line 1: there is no category_id" in refused("ntu_syn", tmp_path, "test")
    put(second, '{"category_id": "soon"}')
    assert f"{second}, line 1: category_id must be a whole number" in refused("ntu_syn", tmp_path, "test")
    put(second, '{\n "data": [],\n\n "category_id": -3\n}')
    assert f"{second}, line 4: category_id must be 0 or more, not -3" in refused("ntu_syn", tmp_path, "test")
    put(second.with_name("A.json"))
    assert "A.json is not named as S001C002P001R002A007" in refused("ntu_syn", tmp_path, "test")


@pytest.mark.parametrize(
    ("name", "sequence"), [("panoptic_pose", "171204_pose1"), ("panoptic_multi", "160224_haggling1")]
)
def test_cmu_panoptic(tmp_path, name, sequence):
    videos = [put(tmp_path / sequence / "hdVideos" / f"hd_00_{camera:02d}.mp4") for camera in (0, 3, 12)]
    put(tmp_path / "train.txt", f"{sequence} 03 12\n\n{sequence}\n")
    assert rows(name, tmp_path) == [
        (f"{sequence}_03_12", videos[1], videos[2], 0, 0, (0,), (0,)),
        (f"{sequence}_00_03", videos[0], videos[1], 0, 0, (0,), (0,)),
    ]


def test_cmu_panoptic_that_is_not_whole(tmp_path):
    put(tmp_path / "171204_pose1/hdVideos/hd_00_00.mp4")
    listed = tmp_path / "train.txt"
    assert f"there is no file {listed}" in refused("panoptic_pose", tmp_path)
    for text, says in (
        ("160224_haggling1", "is not a pose sequence"),
        ("171204_pose2 00 01", "there is no folder"),
        ("171204_pose1 00", "write SEQUENCE CAMERA CAMERA"),
        ("171204_pose1 00 x", "a camera must be a whole number"),
        ("171204_pose1 00 01", "there is no video"),
        ("171204_pose1 00 00", "needs two cameras"),
        ("171204_pose1", "needs two cameras"),
    ):
        put(listed, f"\n{text}\n")
        line = refused("panoptic_pose", tmp_path)
        assert line.startswith(f"{listed}, line 2: ") and says in line
    put(listed, "\n")
    assert "lists no sequences" in refused("panoptic_pose", tmp_path)
    put(listed, b"\xff\xfe\x00")
    assert "cannot be read as text" in refused("panoptic_pose", tmp_path)


# ---------------------------------------------------------------- single videos


def test_kinetics(tmp_path):
    put(
        tmp_path / "annotations/val.csv",
        "label,youtube_id,time_start,time_end,split\n"
        'yoga,abc,10,20,val\n"air, drumming",d_e,0,10,val\ngone,xyz,1,2,val\n',
    )
    one = put(tmp_path / "val/yoga/abc_000010_000020.mp4")
    other = put(tmp_path / "val/d_e_000000_000010.webm")
    assert rows("kinetics400", tmp_path, "val") == [
        # Of the classes "air, drumming", "gone" and "yoga": what is not there counts too.
        ("abc_000010_000020", one, one, 0, 0, (2,), (2,)),
        ("d_e_000000_000010", other, other, 0, 0, (0,), (0,)),
    ]


def test_kinetics_of_the_first_edition_says_more(tmp_path):
    put(tmp_path / "annotations/val.csv", "label,youtube_id,time_start,time_end,split,is_cc\nyoga,abc,10,20,val,1\n")
    put(tmp_path / "val/abc_000010_000020.mp4")
    assert len(rows("kinetics400", tmp_path, "val")) == 1
    put(tmp_path / "annotations/val.csv", "label,youtube_id,time_start,time_end,split,is_cc\nyoga,abc,10,20,val\n")
    assert "val.csv, line 2: there must be 6 values" in refused("kinetics400", tmp_path, "val")


def test_kinetics_that_is_not_whole(tmp_path):
    path = tmp_path / "annotations/train.csv"
    assert f"there is no file {path}" in refused("kinetics400", tmp_path)
    head = "label,youtube_id,time_start,time_end,split\n"
    for text, says in (
        ("yoga,abc,10", "there must be 5 values"),
        ("yoga,abc,soon,20,train", "time_start must be a whole number"),
        ("yoga,abc,-1,20,train", "time_start must be 0 or more"),
        ("yoga,abc,20,20,train", "time_end must be after time_start"),
    ):
        put(path, f"{head}\n{text}\n")
        line = refused("kinetics400", tmp_path)
        assert line.startswith(f"{path}, line 3: ") and says in line
    put(path, f"{head}yoga,abc,10,20,train\n")
    assert "names 1 clips and none is in" in refused("kinetics400", tmp_path)


def test_finegym(tmp_path):
    put(tmp_path / "annotations/gym99_train_element_v1.1.txt", f"{GYM} 5\n")
    video = put(tmp_path / "subactions" / f"{GYM}.mp4")
    assert rows("finegym", tmp_path) == [(GYM, video, video, 0, 0, (5,), (5,))]


def test_finegym_that_is_not_whole(tmp_path):
    path = tmp_path / "annotations/gym288_train_element_v1.0.txt"
    path.parent.mkdir()
    assert "there is no file gym99_train_element" in refused("finegym", tmp_path)
    for text, says in (
        (f"{GYM} five", "the class must be"),
        ("word 3", "write ID_E_"),
        (f"{GYM} 5", "there is no video"),
    ):
        put(path, f"\n\n{text}\n")
        line = refused("finegym", tmp_path)
        assert line.startswith(f"{path}, line 3: ") and says in line
    put(path, "")
    assert "names no clips" in refused("finegym", tmp_path)


def test_penn_action(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    (tmp_path / "labels").mkdir()
    for number, (action, train) in enumerate((("squat", 1), ("bowl", -1), ("pullup", 1)), 1):
        savemat(tmp_path / f"labels/{number:04d}.mat", {"action": action, "train": train, "nframes": 2})
        for frame in (1, 2):
            put(tmp_path / f"frames/{number:04d}/{frame:06d}.jpg")
    folders = [tmp_path / f"frames/{number:04d}" for number in (1, 2, 3)]
    assert rows("penn_action", tmp_path) == [
        ("squat/0001", folders[0], folders[0], 2, 2, (2,), (2,)),
        ("pullup/0003", folders[2], folders[2], 2, 2, (1,), (1,)),
    ]
    assert [row[0] for row in rows("penn_action", tmp_path, "val")] == ["bowl/0002"]
    (tmp_path / "frames/0003/000002.jpg").unlink()
    assert "0003.mat: nframes is 2, and there are 1 pictures" in refused("penn_action", tmp_path)
    savemat(tmp_path / "labels/0003.mat", {"action": "pullup", "train": 0, "nframes": 2})
    assert "train must be 1 or -1" in refused("penn_action", tmp_path)
    savemat(tmp_path / "labels/0003.mat", {"action": "pullup"})
    assert "0003.mat lacks action, train or nframes" in refused("penn_action", tmp_path)
    put(tmp_path / "labels/0003.mat", b"no such thing")
    assert "0003.mat is not a MATLAB file" in refused("penn_action", tmp_path)


# ---------------------------------------------------------------- records


def test_crc32c_is_that_of_the_standard():
    # RFC 3720, B.4: 32 bytes of zeros, of ones, and rising.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def varint(value: int) -> bytes:
    made = b""
    while value >= 0x80:
        made, value = made + bytes([value & 0x7F | 0x80]), value >> 7
    return made + bytes([value])


def part(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(values: list) -> bytes:
    if isinstance(values[0], bytes):
        return part(1, b"".join(part(1, value) for value in values))
    return part(3, part(1, b"".join(varint(value % (1 << 64)) for value in values)))


def record(context: dict, lists: dict) -> bytes:
    """Write a record by the format's description."""
    entries = b"".join(part(1, part(1, name.encode()) + part(2, feature(values))) for name, values in context.items())
    more = b"".join(
        part(1, part(1, name.encode()) + part(2, b"".join(part(1, feature([value])) for value in values)))
        for name, values in lists.items()
    )
    content = part(1, entries) + part(2, more)
    head = struct.pack("<Q", len(content))
    value = crc32c(head)
    masked = ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return head + struct.pack("<I", masked) + content + bytes(4)


def test_pouring(tmp_path):
    frames = [b"first", b"second", b"third"]
    context = {"name": [b"milk to/cup"], "len": [3], "label": [-1]}
    whole = record(context, {"video": frames, "frame_labels": [0, 0, 4]})
    path = put(tmp_path / "pouring_train-0-of-1.tfrecord", whole * 2)
    assert next(sequence_examples(path)).context["label"] == [-1]
    found = rows("pouring", tmp_path)
    assert [row[0] for row in found] == ["milk to/cup"] * 2
    assert found[0][1] != found[1][1]
    for _, folder, same, *rest in found:
        assert folder == same
        assert rest == [3, 3, (0, 0, 4), (0, 0, 4)]
        assert [file.read_bytes() for file in sorted(folder.iterdir())] == frames
    # The second time nothing is written.
    (found[0][1] / "00000.jpg").write_bytes(b"kept")
    assert rows("pouring", tmp_path) == found
    assert (found[0][1] / "00000.jpg").read_bytes() == b"kept"


def test_pouring_that_is_not_whole(tmp_path):
    assert "there is no file pouring_train*" in refused("pouring", tmp_path)
    path = tmp_path / "pouring_train.tfrecord"
    context, lists = {"name": [b"a"]}, {"video": [b"1", b"2"], "frame_labels": [0, 1]}
    whole = record(context, lists)
    for content, says in (
        (whole + b"not a record, too", "record 2: this is not a TensorFlow record"),
        (whole + whole[:40], "record 2: the file is cut off"),
        (record(context, {"video": [b"1"]}), "record 1: there is no frame_labels"),
        (record({"x": [1]}, lists), "record 1: there is no name"),
        (record(context, {**lists, "frame_labels": [1]}), "record 1: there are 2 frames and 1 labels"),
    ):
        put(path, content)
        line = refused("pouring", tmp_path)
        assert line.startswith(f"{path}, ") and says in line
    broken = bytearray(whole)
    broken[12:20] = b"\xff" * 8
    put(path, bytes(broken))
    assert "record 1: this is not a SequenceExample" in refused("pouring", tmp_path)
