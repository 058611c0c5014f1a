"""``vs-align batch``: lists and options that are refused, and whole batches on Dask."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs
from cli_files import read, run, scene, times_ms, write

import vs_align
from vs_align.cli.batch import run as batch_run
from vs_align.cli.batch.made import Made
from vs_align.cli.batch.pairs import read_pairs
from vs_align.cli.batch.pool import Pool
from vs_align.cli.batch.team import Team

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 30
SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)
needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VS_ALIGN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Ten pairs, clip k shows at frame n + k + 1 what its ref shows at n; two that cannot be; their list."""
    folder = tmp_path_factory.mktemp("pairs")
    lines = ["clip,ref,name"]
    for k in range(10):
        paint = scene(seed=k)
        write(folder / f"ref{k}.mkv", [paint(n) for n in range(FRAMES)])
        write(folder / f"clip{k}.mkv", [paint(n - k - 1) for n in range(FRAMES + k + 1)])
        lines.append(f"clip{k}.mkv,ref{k}.mkv,pair{k}")
    (folder / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(5000))
    lines[4:4] = ["noise.mkv,ref0.mkv,noise"]
    lines[9:9] = ["clip0.mkv,missing.mkv,missing"]
    listed(folder, lines)
    return folder


def listed(folder: Path, lines: list[str], name: str = "pairs.csv") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def summary(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def right(out: Path, k: int) -> None:
    found = vs_align.Alignment.load(out / f"pair{k}.json")
    assert np.array_equal(found.frame, np.arange(FRAMES) + k + 1)


def states(out: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, row in summary(out).items():
        found.setdefault(row["state"], []).append(name)
    return found


# ---------------------------------------------------------------- the list, refused before any work


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([""], "is empty"),
        (["clip,ref"], "names no pair"),
        (["clip,other", "a,b"], "has no column ref"),
        (["clip,ref,speed", "a,b,c"], "unknown column 'speed'"),
        (["clip,ref,tr,tr", "a,b,1,2"], "two columns tr"),
        (
            ["clip,ref", "a.mkv,b.mkv", "a.mkv", "c.mkv,", "a.mkv,b.mkv,c"],
            "line 3 has 1 values.*line 4 has no ref.*line 5",
        ),
        (["clip,ref", "a.mkv,b.mkv", "", "a.mkv,b.mkv"], "line 4 repeats line 2"),
        (["clip,ref", "a.mkv,b.mkv", "a.mkv,c.mkv"], "lines 2 and 3 both have the name 'a'"),
        (["clip,ref,name,out", "a,b,x,v.mkv", "a,c,y,V.mkv"], "lines 2 and 3 would both write v.mkv"),
        (["clip,ref,name", "a.mkv,b.mkv,../x"], "line 2 has the name '../x'"),
        (["clip,ref,out", "a.mkv,b.mkv,../x.mkv"], "line 2 has out '../x.mkv'"),
        (["clip,ref,tr", "a.mkv,b.mkv,5", "c.mkv,b.mkv,many"], "line 3: --tr: must be a whole number"),
        (["clip,ref,similarity", "a.mkv,b.mkv,ssim"], "line 2: --similarity"),
        (["clip,ref", '"a.mkv,b.mkv'], "is no CSV file"),
        (["clip,ref", "a,b.mkv,c.mkv"], "line 2 has 3 values for 2 columns .*double quotes"),
        (["clip,ref,name", "a,b,batch"], "line 2 would write batch.json"),
        (["clip,ref,name,out", "a,b,x,Summary.csv"], "line 2 would write summary.csv"),
        (["clip,ref,name", "a,b,con.1", f"a,c,{'x' * 201}"], "line 2 has the name 'con.1'.*line 3 has the name 'xxx"),
        (["clip,ref,out", "a,b,nul/v.mkv"], "line 2 has out 'nul/v.mkv'"),
    ],
)
def test_a_malformed_list_is_refused_with_the_numbers_of_its_lines(lines, says, tmp_path, capsys):
    assert run("batch", listed(tmp_path, lines), "--out-dir", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("vs-align batch: ") and said.err.count("\n") == 1, said.err
    assert re.search(says, said.err), said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty; name a list of pairs"),
        ("clip,ref\nfilm é.mkv,b.mkv\n".encode("cp1252"), r"not in UTF-8 \(line 2\)"),
        pytest.param(
            rb"""clip,ref
C:\films\a.mkv,b.mkv
""",
            r"line 2 has clip 'C:\\films\\a.mkv', a path as Windows",
            marks=needs_posix,
        ),
    ],
)
def test_a_list_from_elsewhere_is_refused_with_what_to_do(content, says, tmp_path, capsys):
    (tmp_path / "pairs.csv").write_bytes(content)
    assert run("batch", tmp_path / "pairs.csv", "--out-dir", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and re.search(says, said.err), said.err


def test_lists_of_spreadsheets_are_read(tmp_path):
    for mark, separator, end in (("", ",", "\n"), ("\ufeff", ";", "\r\n"), ("", "\t", "\n")):
        rows = (["clip", "ref", "tr"], ["a, b; c.mkv", "d.mkv", "5"])
        lines = (separator.join(f'"{value}"' for value in row) + end for row in rows)
        (tmp_path / "pairs.csv").write_bytes((mark + "".join(lines)).encode())
        [pair] = read_pairs(tmp_path / "pairs.csv")
        assert (pair.line, pair.clip, pair.ref) == (2, tmp_path / "a, b; c.mkv", tmp_path / "d.mkv")
        assert (pair.name, dict(pair.options)) == ("a, b; c", {"tr": "5"})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--chunk-frames", "9"], "needs --match window"),
        (["--jobs", "2", "--scheduler", "tcp://127.0.0.1:9"], "leave one out"),
        (["--tr", "0"], "--tr: must be"),
        (["--match", "window", "--geometry", "none"], "leave it out"),
        (["--match", "window", "--clip-rate", "25"], "or neither"),
        (["--render", "--codec", "nonesuch"], "no encoder named nonesuch"),
        (["--scheduler", "nowhere"], "must be an address"),
        (["--crf", "20"], "--crf is for the videos that --render writes; pass both"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, says, pairs, tmp_path, capsys):
    assert run("batch", pairs / "pairs.csv", "--out-dir", tmp_path / "out", *options) == 2
    said = capsys.readouterr()
    assert said.out == "" and re.search(says, said.err), said.err
    assert said.err.startswith("vs-align batch: ") and said.err.count("\n") == 1


def test_files_of_others_are_not_overwritten(pairs, tmp_path, capsys):
    for name in ("summary.csv", "batch.json"):
        out = tmp_path / name.split(".")[0]
        out.mkdir()
        (out / name).write_text("mine")
        assert run("batch", pairs / "pairs.csv", "--out-dir", out) == 2
        assert re.search(rf"{re.escape(name)}.*pass --force", capsys.readouterr().err)
        assert {path.name for path in out.iterdir()} == {name} and (out / name).read_text() == "mine"
    out = tmp_path / "third"
    out.mkdir()
    (out / "pair0.json").write_text("mine")
    one = listed(tmp_path, ["clip,ref,name", f"{pairs}/clip0.mkv,{pairs}/ref0.mkv,pair0"])
    assert run("batch", one, "--out-dir", out) == 2
    assert "pair0 failed" in capsys.readouterr().err and (out / "pair0.json").read_text() == "mine"


def test_a_record_that_is_none_is_put_aside_by_force(pairs, tmp_path):
    one = listed(tmp_path, ["clip,ref,name", f"{pairs}/missing.mkv,{pairs}/ref0.mkv,pair0"])
    out = tmp_path / "out"
    out.mkdir()
    (out / "batch.json").write_text('{"format": "vs_align ba')
    assert run("batch", one, "--out-dir", out) == 2 and not (out / "summary.csv").exists()
    assert run("batch", one, "--out-dir", out, "--force") == 2 and states(out) == {"FAILED": ["pair0"]}


def test_two_batches_do_not_work_in_one_folder(pairs, tmp_path, capsys):
    with batch_run.work_folder(tmp_path):
        assert run("batch", pairs / "pairs.csv", "--out-dir", tmp_path) == 2
    assert "another batch works in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- whole batches


def sending(sent: int, monkeypatch, when) -> list[int]:
    """Send a signal to who is given a task, where ``when`` says so of the task and of how many were given before."""
    given, submit = [], Team.submit

    def watched(team, task, folder, address, wake):
        # Nobody else knows the process of a worker that was started elsewhere.
        pid = team._client.run(os.getpid, workers=[address])[address]
        future = submit(team, task, folder, address, wake)
        if when(task, len(given)):
            os.kill(pid, sent)
        given.append(pid)
        return future

    monkeypatch.setattr(Team, "submit", watched)
    return given


def test_one_pair_is_made_kept_and_made_again_where_something_changed(pairs, tmp_path, capsys):
    paths = [shutil.copy(pairs / name, tmp_path / name) for name in ("clip0.mkv", "ref0.mkv")]
    one = listed(tmp_path, ["clip,ref,name", "clip0.mkv,ref0.mkv,pair0"])
    out = tmp_path / "out"

    def state(*options: object) -> str:
        assert run("batch", one, "--out-dir", out, "--jobs", 1, *options) == 0
        right(out, 0)
        shown = capsys.readouterr().out
        assert re.search(r"^pair0 .* \+1 .* pair0\.json", shown, re.MULTILINE), shown
        return summary(out)["pair0"]["state"]

    assert state() == "made"
    by_analyse = tmp_path / "analyse.json"
    assert run("analyse", *paths, "--json", by_analyse, "-q") == 0
    assert by_analyse.read_bytes() == (out / "pair0.json").read_bytes()
    capsys.readouterr()
    assert state() == "kept"
    assert state("--tr", 9) == "made"
    before = (out / "pair0.json").stat().st_mtime_ns
    # A video is added to what is there.
    assert state("--tr", 9, "--render", "--codec", "ffv1") == "made"
    assert (out / "pair0.json").stat().st_mtime_ns == before
    assert len(read(out / "pair0.mkv")) == FRAMES
    assert state("--tr", 9, "--render", "--codec", "ffv1") == "kept"
    assert {path.name for path in out.iterdir()} == {"pair0.json", "pair0.mkv", "summary.csv", "batch.json"}


@pytest.mark.slow
def test_twelve_pairs_two_bad_files_and_a_killed_worker(pairs, tmp_path, capsys, monkeypatch):
    given = sending(SIGKILL, monkeypatch, lambda task, before: before == 3)
    assert run("batch", pairs / "pairs.csv", "--out-dir", tmp_path / "out", "--jobs", 2) == 2
    said = capsys.readouterr()
    # Eleven that can be begun, one of them twice.
    assert len(given) == 12 and "its worker ended; it is given to another" in said.err
    for k in range(10):
        right(tmp_path / "out", k)
    assert states(tmp_path / "out") == {"made": [f"pair{k}" for k in range(10)], "FAILED": ["noise", "missing"]}
    assert said.err.splitlines()[-1] == "vs-align batch: 2 of 12 pairs failed: noise, missing."
    assert "noise.mkv cannot be decoded" in said.out and "missing.mkv" in summary(tmp_path / "out")["missing"]["reason"]

    # Once more: what is missing and what is broken, and nothing else.
    (tmp_path / "out" / "pair4.json").write_text("{")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("pair?.json")}
    given.clear()
    assert run("batch", pairs / "pairs.csv", "--out-dir", tmp_path / "out", "--jobs", 2) == 2
    changed = [path.stem for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns]
    assert changed == ["pair4"] and len(given) == 2
    right(tmp_path / "out", 4)
    assert states(tmp_path / "out")["made"] == ["pair4"] and len(states(tmp_path / "out")["kept"]) == 9


@pytest.mark.slow
def test_a_pair_that_kills_its_workers_fails_and_the_rest_is_made(pairs, tmp_path, capsys, monkeypatch):
    sending(SIGKILL, monkeypatch, lambda task, _: "clip1.mkv" in str(task))
    some = listed(tmp_path, ["clip,ref,name", *(f"{pairs}/clip{k}.mkv,{pairs}/ref{k}.mkv,pair{k}" for k in range(3))])
    assert run("batch", some, "--out-dir", tmp_path / "out", "--jobs", 2) == 2
    assert states(tmp_path / "out") == {"made": ["pair0", "pair2"], "FAILED": ["pair1"]}
    assert "its worker ended, and so had one before" in summary(tmp_path / "out")["pair1"]["reason"]
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def scheduler(tmp_path):
    """A Dask scheduler with two workers on this machine, that nobody starts again."""
    place = tmp_path / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "from distributed.cli.dask_{0} import main; main()"
    common = [sys.executable, "-c"]
    address = ["--scheduler-file", str(place)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment, "cwd": tmp_path}
    begin = [*common, code.format("scheduler"), "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *address]
    worker = [*common, code.format("worker"), *address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
    started = [subprocess.Popen(begin, **quiet)]
    try:
        started += [subprocess.Popen(worker, **quiet) for _ in range(2)]
        while not place.exists():
            time.sleep(0.05)
        yield json.loads(place.read_text())["address"], [each.pid for each in started[1:]]
    finally:
        for each in started:
            each.kill()
            each.wait()


@pytest.mark.slow
def test_twelve_pairs_through_a_scheduler_and_two_workers_one_of_which_dies(
    pairs, scheduler, tmp_path, capsys, monkeypatch
):
    address, workers = scheduler
    given = sending(SIGKILL, monkeypatch, lambda task, before: before == 3)
    assert run("batch", pairs / "pairs.csv", "--out-dir", tmp_path / "out", "--scheduler", address) == 2
    assert set(given) == set(workers) and "it is given to another" in capsys.readouterr().err
    for k in range(10):
        right(tmp_path / "out", k)
    assert states(tmp_path / "out") == {"made": [f"pair{k}" for k in range(10)], "FAILED": ["noise", "missing"]}
    given.clear()
    assert run("batch", pairs / "pairs.csv", "--out-dir", tmp_path / "out", "--scheduler", address) == 2
    # The one that is left has only the file that cannot be decoded to try.
    assert len(given) == 1 and len(states(tmp_path / "out")["kept"]) == 10


@needs_posix
@pytest.mark.slow
def test_a_stopped_worker_holds_nobody_up(pairs, tmp_path, capsys, monkeypatch):
    given = sending(signal.SIGSTOP, monkeypatch, lambda task, before: before == 0)
    monkeypatch.setattr(batch_run, "Pool", lambda *each: Pool(*each, silent_s=3.0))
    some = listed(tmp_path, ["clip,ref,name", *(f"{pairs}/clip{k}.mkv,{pairs}/ref{k}.mkv,pair{k}" for k in range(4))])
    assert run("batch", some, "--out-dir", tmp_path / "out", "--jobs", 2) == 0
    for k in range(4):
        right(tmp_path / "out", k)
    assert "fell silent" in capsys.readouterr().err and len(given) == 5


@pytest.mark.slow
def test_chunks_give_what_the_undivided_film_does_and_only_missing_ones_are_made_again(pairs, tmp_path, monkeypatch):
    paint = scene(seed=1)
    times = [40 * n + (13 if n % 3 else 0) for n in range(FRAMES)]
    varied = write(tmp_path / "varied.mkv", [paint(n) for n in range(FRAMES)], rate=25, times=times)
    one = listed(tmp_path, ["clip,ref,name", f"{pairs}/clip1.mkv,{varied},pair1"])
    # Without loss, and with frames that depend on later ones.
    options = ["--match", "window", "--tr", 4, "--render", "--codec", "libx264", "--crf", 0, "--jobs", 2]
    assert run("batch", one, "--out-dir", tmp_path / "whole", *options) == 0
    whole, parts = (tmp_path / name for name in ("whole", "parts"))
    options += ["--chunk-frames", 7]
    deadly = [28]
    given = sending(SIGKILL, monkeypatch, lambda task, _: getattr(task, "first", None) in deadly)
    assert run("batch", one, "--out-dir", parts, *options) == 2
    # The files are opened, and there are five chunks, the last one twice.
    assert len(given) == 1 + 5 + 1 and states(parts) == {"FAILED": ["pair1"]}
    deadly.clear()
    given.clear()
    assert run("batch", one, "--out-dir", parts, *options) == 0
    # Opened, the last chunk, and all joined.
    assert len(given) == 3
    rows = (whole / "pair1.csv").read_text()
    assert rows == (parts / "pair1.csv").read_text()
    # Clip is two frames late; what lies beyond its end cannot be meant.
    assert [int(row.split(",")[1]) for row in rows.splitlines()[1:]] == [n + 2 for n in range(FRAMES)]
    pictures = [read(folder / "pair1.mkv") for folder in (whole, parts)]
    assert len(pictures[0]) == FRAMES and all(map(np.array_equal, *pictures))
    assert times_ms(whole / "pair1.mkv") == times_ms(parts / "pair1.mkv")
    assert {path.name for path in parts.iterdir()} == {"pair1.csv", "pair1.mkv", "summary.csv", "batch.json"}


def _living(group: int) -> list[str]:
    """The processes of a group that still run; who ended may wait for being counted."""
    psutil = pytest.importorskip("psutil")
    found = []
    for each in psutil.process_iter(["pid", "status", "cmdline"]):
        try:
            if os.getpgid(each.pid) == group and each.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(str(each.info["cmdline"]))
        except ProcessLookupError:
            continue
    return found


@needs_posix
@pytest.mark.slow
def test_ctrl_c_ends_all_within_seconds_and_leaves_nothing_half_written(tmp_path):
    paint = scene((320, 180))
    film = write(tmp_path / "film.mkv", [paint(n) for n in range(150)], codec="libx264")
    listed(tmp_path, ["clip,ref,name,tr", *(f"{film},{film},pair{k},{20 + k}" for k in range(6))])
    # Who runs the tests in the background may have Ctrl-C ignored.
    code = """
import signal, sys
from vs_align.cli import main
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
"""
    out = tmp_path / "out"
    arguments = ["batch", str(tmp_path / "pairs.csv"), "--out-dir", str(out), "--jobs", "2", "--render"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    (tmp_path / "scratch").mkdir()
    pipes["env"] = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, start_new_session=True, **pipes)
    while not list(out.glob(".vs_align-batch/*/pair*")):
        time.sleep(0.02)
        assert process.poll() is None
    began = time.monotonic()
    # As a terminal does: to all processes.
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - began < 20
    assert said[0] == "" and said[1].splitlines()[-1] == "vs-align batch: interrupted." and "Traceback" not in said[1]
    left = {path.name for path in out.iterdir()}
    assert not any(name.startswith(".") for name in left), left
    # What was done by then is whole and will be kept.
    made = Made(out)
    assert all(made.owns(name) for name in left - {"batch.json"})
    deadline = time.monotonic() + 10
    while _living(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _living(process.pid) == []
    assert list((tmp_path / "scratch").iterdir()) == []
