"""Parts of ``vs-align batch``: the record of what is made, and the account of workers."""

import json
from pathlib import Path

import pytest

pytest.importorskip("av")

from vs_align.cli.batch.made import Made, sha256
from vs_align.cli.batch.pool import Job, Pool
from vs_align.cli.batch.work import OUTCOME, Outcome

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
