"""Parts of ``vs-align batch``: the record of what is made, and the account of workers."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import vapoursynth as vs

pytest.importorskip("av")

import av
from cli_files import scene, write

from vs_align.cli.batch.course import State
from vs_align.cli.batch.made import Made, sha256
from vs_align.cli.batch.pool import Job, Pool
from vs_align.cli.batch.run import Batch
from vs_align.cli.batch.summary import shown
from vs_align.cli.batch.window import Join
from vs_align.cli.batch.work import OUTCOME, Outcome
from vs_align.cli.console import Console, Level

# ---------------------------------------------------------------- the record


def test_what_is_whole_and_of_the_same_is_there_and_nothing_else_is(tmp_path):
    def take(made: Made) -> None:
        (tmp_path / "new").write_text("result")
        made.take("a/table", "key", {"a.json": (tmp_path / "new", sha256(tmp_path / "new"))})

    take(Made(tmp_path))
    assert (tmp_path / "a.json").read_text() == "result" and not (tmp_path / "new").exists()
    made = Made(tmp_path)
    assert made.has("a/table", "key") and made.owns("a.json")
    assert not made.has("a/table", "other") and not made.has("b/table", "key") and not made.owns("b.json")
    for content in ("resul", "rESULT", ""):
        (tmp_path / "a.json").write_text(content)
        assert not Made(tmp_path).has("a/table", "key")
    (tmp_path / "a.json").unlink()
    assert not Made(tmp_path).has("a/table", "key")


# ---------------------------------------------------------------- chunks put together


@pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")
@pytest.mark.parametrize("times", [None, [0, 40, 120, 160, 240, 300]])
def test_joined_pictures_last_until_the_next_and_no_longer(times, tmp_path):
    pictures = [scene()(n) for n in range(6)]
    ref = write(tmp_path / "ref.mkv", pictures, rate=25, times=times)
    parts = []
    for first in (0, 3):
        folder = tmp_path / f"{first}"
        folder.mkdir()
        write(folder / "part.mkv", pictures[first : first + 3], rate=25, codec="libx264")
        (folder / "rows.csv").write_text("")
        parts.append((folder, first))
    Join(ref, parts, "a.csv", "a.mkv", ".mkv", None).run(tmp_path, Console(Level.QUIET))
    with av.open(str(tmp_path / "a.mkv")) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    lasting = [[round(1000 * float(n * p.time_base)) for n in (p.pts, p.duration)] for p in packets]
    wanted = times or [40 * n for n in range(6)]
    after = [*wanted[1:], 2 * wanted[5] - wanted[4]]
    assert sorted(lasting) == [[at, end - at] for at, end in zip(wanted, after, strict=True)]


# ---------------------------------------------------------------- what is said


def test_what_every_chunk_notes_is_said_once_for_each_pair(tmp_path, capsys):
    courses = [
        SimpleNamespace(pair=SimpleNamespace(name=name), state=State.WAITING, on=lambda *_: []) for name in ("a", "b")
    ]
    batch = Batch(courses, tmp_path, Console(Level.USUAL))
    for n, name in enumerate("aabba"):
        folder = tmp_path / f"{n}"
        outcome = Outcome(facts={}, files={}, notes=["film.mkv is odd.", f"{folder}/x.mkv: done."])
        batch._done(Job(name, f"chunk {n}", None), outcome, folder)
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("pairs: ")]
    notes = ["film.mkv is odd.", f"...{os.sep}x.mkv: done."]
    assert [line.replace("/", os.sep) for line in lines] == [f"{name}: {note}" for name in "ab" for note in notes]


def test_the_table_stands_in_columns_whatever_names_are_written_in():
    empty = dict.fromkeys(
        ("state", "matched", "offset_frames", "speed", "passages", "confidence", "video", "reason"), ""
    )
    rows = [{**empty, "name": name, "table": "result"} for name in ("film", "e\u0301te\u0301", "\u6620\u753b")]
    # In letters; in columns all are the same.
    head, *places = (line.index("result") for line in shown(rows).splitlines())
    assert [place - head for place in places] == [0, 2, -2]


def test_what_cannot_be_kept_is_said_with_its_place(tmp_path):
    reasons = []

    def on(job: Job, outcome: Outcome, folder: Path) -> list[Job]:
        reasons.append(outcome.reason)
        if outcome.reason is None:
            (tmp_path / "new").write_text("result")
            (tmp_path / "new").replace(tmp_path / "there")
        return []

    (tmp_path / "there").mkdir()
    course = SimpleNamespace(pair=SimpleNamespace(name="a"), state=State.WAITING, on=on)
    batch = Batch([course], tmp_path, Console(Level.QUIET))
    batch._done(Job("a", "path", None), Outcome(facts={}, files={}, notes=[]), tmp_path)
    assert reasons[1].startswith(f"its result cannot be kept as {tmp_path / 'there'} (")


# ---------------------------------------------------------------- the account of workers


class Staff:
    """Workers without Dask. ``fate`` says what becomes of each task given: "done", "dies" or "stops"."""

    def __init__(self, number: int, fate, returns: bool = True) -> None:
        self._fate, self._returns, self._next = fate, returns, number
        self._seen = {f"worker{n}": 0.0 for n in range(number)}
        self._stopped: set[str] = set()
        self.ended: list[str] = []

    def alive(self) -> dict[str, float]:
        self._seen = {name: seen + (name not in self._stopped) for name, seen in self._seen.items()}
        return dict(self._seen)

    def submit(self, task, folder, address, wake):
        fate = self._fate(task, address)
        if fate == "done":
            (folder / OUTCOME).write_text(json.dumps({"facts": {"by": address}, "files": {}, "notes": []}))
            wake()
        elif fate == "dies":
            del self._seen[address]
            if self._returns:
                self._seen[f"worker{self._next}"] = 0.0
                self._next += 1
        else:
            self._stopped.add(address)
        return Given()

    def end(self, address: str) -> None:
        self.ended.append(address)


class Given:
    """What a worker of these was given."""

    def fault(self) -> None:
        return None

    def ended(self) -> bool:
        return False

    def cancel(self) -> None:
        pass


def pooled(tmp_path: Path, staff: Staff, tasks: str, **more) -> tuple[dict[str, Outcome], list[str]]:
    found: dict[str, Outcome] = {}
    notes: list[str] = []

    def done(job: Job, outcome: Outcome, folder: Path) -> list[Job]:
        assert job.pair not in found
        found[job.pair] = outcome
        return []

    pool = Pool(staff, tmp_path, done, notes.append, **more)
    pool.run([Job(name, "path", name) for name in tasks])
    assert list(tmp_path.iterdir()) == []
    return found, notes


def test_a_job_whose_worker_dies_is_given_to_another(tmp_path):
    seen = []

    def fate(task: str, _: str) -> str:
        seen.append(task)
        return "dies" if seen == ["a", "b"][: len(seen)] and task == "b" else "done"

    found, notes = pooled(tmp_path, Staff(2, fate), "abcd")
    assert all(outcome.reason is None for outcome in found.values()) and len(found) == 4
    assert seen.count("b") == 2 and len(notes) == 1 and notes[0].startswith("b: its worker ended")


def test_a_job_that_costs_two_workers_fails_and_no_other(tmp_path):
    found, _ = pooled(tmp_path, Staff(2, lambda task, _: "dies" if task == "b" else "done"), "abcd")
    assert {name for name, outcome in found.items() if outcome.reason} == {"b"} and len(found) == 4
    assert "its worker ended, and so had one before" in found["b"].reason


def test_a_silent_worker_holds_nobody_up(tmp_path):
    staff = Staff(2, lambda task, address: "stops" if address == "worker1" else "done")
    found, notes = pooled(tmp_path, staff, "abcdef", silent_s=0.6)
    assert len(found) == 6 and all(outcome.facts == {"by": "worker0"} for outcome in found.values())
    assert staff.ended == ["worker1"] and "fell silent" in notes[0]


def test_where_no_worker_is_left_all_that_is_left_fails(tmp_path):
    staff = Staff(1, lambda task, _: "dies" if task == "c" else "done", returns=False)
    found, _ = pooled(tmp_path, staff, "abcd", patience_s=0.6)
    assert [found[name].reason for name in "abcd"] == [None, None, "no worker is left", "no worker is left"]
