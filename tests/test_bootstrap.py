"""The set-up script: which Python it takes, when it makes .venv anew, what it hands on. No network is used."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
posix = pytest.mark.skipif(os.name == "nt", reason="fake interpreters are shell scripts")


@pytest.fixture
def boot(monkeypatch, tmp_path):
    """bootstrap.py as a module whose repository is an empty folder with a pyproject.toml."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("VS_ALIGN_PYTHON", raising=False)
    root = tmp_path / "a repo é"
    root.mkdir()
    (root / "pyproject.toml").write_text("[project]\n")
    monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(module, "VENV", root / ".venv")
    return module


def fake_python(path: Path, version: str = "3.13.1", **facts) -> Path:
    """Write an executable that answers the probe as a Python with these facts would."""
    info = {
        "path": str(path),
        "version": [int(part) for part in version.split(".")],
        "cpython": True,
        "bits": 64,
        "free_threaded": False,
        "can_venv": True,
        "linkable": True,
        **facts,
    }
    return script(path, f"cat <<'EOF'\n{json.dumps(info)}\nEOF")


def script(path: Path, body: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


# ---------------------------------------------------------------- which Python


def test_probe_tells_the_truth_about_the_running_python(boot):
    info = boot.probe([sys.executable])
    assert tuple(info["version"]) == sys.version_info[:3]
    assert Path(info["path"]).exists()
    assert info["bits"] == 64
    assert boot.suitable(info)


@pytest.mark.parametrize(
    ("version", "facts", "fits"),
    [
        ("3.12.0", {}, True),
        ("3.14.2", {}, True),
        ("3.15.0", {}, True),
        ("3.11.9", {}, False),
        ("2.7.18", {}, False),
        ("4.0.0", {}, True),
        ("3.13.0", {"free_threaded": True}, False),
        ("3.13.0", {"bits": 32}, False),
        ("3.13.0", {"cpython": False}, False),
    ],
)
@posix
def test_only_pythons_that_wheels_exist_for_are_suitable(boot, tmp_path, version, facts, fits):
    assert boot.suitable(boot.probe([str(fake_python(tmp_path / "python", version, **facts))])) is fits


@posix
@pytest.mark.parametrize(
    "body",
    ["echo 'pyenv: python3.13: command not found' >&2; exit 127", "exit 0", "echo hello", "echo 3", "echo '{}'"],
    ids=["failing shim", "silent", "not json", "a number", "nothing in it"],
)
def test_a_candidate_that_does_not_answer_is_passed_over(boot, tmp_path, body):
    shim = script(tmp_path / "shim", body)
    real = fake_python(tmp_path / "real", "3.12.4")
    assert boot.probe([str(shim)]) is None
    assert [info["path"] for info in boot.find_pythons([[str(shim)], [str(real)]])] == [str(real)]


def test_a_missing_candidate_is_passed_over(boot, tmp_path):
    assert boot.probe([str(tmp_path / "nowhere")]) is None


@posix
def test_the_newest_python_with_wheels_comes_first(boot, tmp_path):
    versions = ["3.12.9", "3.15.0", "3.9.1", "3.14.0", "3.13.7"]
    commands = [[str(fake_python(tmp_path / v, v))] for v in versions]
    found = [".".join(map(str, info["version"])) for info in boot.find_pythons(commands)]
    assert found == ["3.14.0", "3.13.7", "3.12.9", "3.15.0"]


@posix
def test_a_python_that_vspipe_can_load_goes_before_a_newer_one(boot, tmp_path):
    static = fake_python(tmp_path / "static", "3.14.0", linkable=False)
    shared = fake_python(tmp_path / "shared", "3.12.0")
    assert boot.find_pythons([[str(static)], [str(shared)]])[0]["path"] == str(shared)


@posix
def test_a_python_without_venv_goes_last(boot, tmp_path):
    without = fake_python(tmp_path / "without", "3.14.0", can_venv=False)
    static = fake_python(tmp_path / "static", "3.12.0", linkable=False)
    assert boot.find_pythons([[str(without)], [str(static)]])[0]["path"] == str(static)


@posix
def test_pythons_on_path_and_in_pyenv_are_candidates(boot, monkeypatch, tmp_path):
    on_path = fake_python(tmp_path / "bin" / "python3.12", "3.12.1")
    in_pyenv = fake_python(tmp_path / "pyenv" / "versions" / "3.13.0" / "bin" / "python3", "3.13.0")
    monkeypatch.setenv("PATH", f"{on_path.parent}{os.pathsep}/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("HOME", str(tmp_path))
    commands = boot.candidates()
    assert [str(on_path)] in commands
    assert [str(in_pyenv)] in commands


@posix
def test_the_windows_launcher_is_asked_for_each_version(boot, monkeypatch, tmp_path):
    launcher = script(tmp_path / "py", "exit 1")
    monkeypatch.setenv("PATH", str(launcher.parent))
    monkeypatch.setattr(boot, "WINDOWS", True)
    assert [c for c in boot.candidates() if c[0] == "py"] == [["py", "-3.14"], ["py", "-3.13"], ["py", "-3.12"]]


def test_no_python_found_says_what_to_install(boot, monkeypatch):
    monkeypatch.setattr(boot, "candidates", list)
    with pytest.raises(boot.BootstrapError, match=r"no Python >= 3\.12 found.*apt install.*brew.*winget"):
        boot.base_pythons()


@posix
def test_the_environment_variable_names_the_python(boot, monkeypatch, tmp_path):
    named = fake_python(tmp_path / "my python", "3.12.0")
    monkeypatch.setenv("VS_ALIGN_PYTHON", str(named))
    assert [info["path"] for info in boot.base_pythons()] == [str(named)]


@posix
@pytest.mark.parametrize(("body", "says"), [("exit 1", "does not run"), (None, r"3\.11\.2.*no VapourSynth wheel")])
def test_a_useless_named_python_is_an_error(boot, monkeypatch, tmp_path, body, says):
    named = script(tmp_path / "p", body) if body else fake_python(tmp_path / "p", "3.11.2")
    monkeypatch.setenv("VS_ALIGN_PYTHON", str(named))
    with pytest.raises(boot.BootstrapError, match=says):
        boot.base_pythons()


# ---------------------------------------------------------------- .venv


def test_nothing_is_done_for_a_finished_venv_that_holds_the_extras(boot):
    made = boot.stamp_for({"dev", "topiq"})
    assert boot.plan(made, boot.stamp_for({"dev"}), python_runs=True) == "ready"


def test_new_extras_or_a_changed_pyproject_install_again(boot):
    made = boot.stamp_for({"dev"})
    assert boot.plan(made, boot.stamp_for({"dev", "topiq"}), python_runs=True) == "install"
    (boot.ROOT / "pyproject.toml").write_text("[project]\nversion = '2'\n")
    assert boot.plan(made, boot.stamp_for({"dev"}), python_runs=True) == "install"


def test_an_unfinished_dead_or_moved_venv_is_made_anew(boot):
    made = boot.stamp_for({"dev"})
    assert boot.plan(None, made, python_runs=True) == "make"
    assert boot.plan(made, made, python_runs=False) == "make"
    assert boot.plan({**made, "root": "/elsewhere"}, made, python_runs=True) == "make"


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"extras": 1}'])
def test_a_damaged_stamp_counts_as_none(boot, tmp_path, text):
    if text is not None:
        (tmp_path / boot.STAMP).write_text(text)
    assert boot.read_stamp(tmp_path) is None


@pytest.fixture
def set_up(boot, monkeypatch):
    """A .venv that is complete with the extra dev; make_venv and pip_install are recorded, not done."""
    calls = []
    boot.VENV.mkdir()
    (boot.VENV / boot.STAMP).write_text(json.dumps(boot.stamp_for({"dev"})))
    monkeypatch.setattr(boot, "python_runs", lambda python: True)
    monkeypatch.setattr(boot, "make_venv", lambda: calls.append("make"))
    monkeypatch.setattr(boot, "pip_install", lambda extras: calls.append(sorted(extras)))
    return calls


def test_extras_add_up_and_are_installed_once(boot, set_up):
    boot.setup({"topiq"})
    boot.setup({"topiq"})
    boot.setup({"dev"})
    assert set_up == [["dev", "topiq"]]


def test_an_interrupted_install_leaves_no_stamp(boot, set_up, monkeypatch):
    def interrupted(extras):
        raise KeyboardInterrupt

    monkeypatch.setattr(boot, "pip_install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        boot.setup({"topiq"})
    assert boot.read_stamp(boot.VENV) is None


def test_a_failed_install_leaves_what_was_there_usable(boot, set_up, monkeypatch):
    def offline(extras):
        raise boot.BootstrapError("no network")

    monkeypatch.setattr(boot, "pip_install", offline)
    with pytest.raises(boot.BootstrapError):
        boot.setup({"topiq"})
    assert boot.read_stamp(boot.VENV) == boot.stamp_for({"dev"})


def test_a_failed_first_install_leaves_no_stamp(boot, set_up, monkeypatch):
    def offline(extras):
        raise boot.BootstrapError("no network")

    (boot.VENV / boot.STAMP).unlink()
    monkeypatch.setattr(boot, "pip_install", offline)
    with pytest.raises(boot.BootstrapError):
        boot.setup({"dev"})
    assert boot.read_stamp(boot.VENV) is None


@posix
def test_a_python_that_cannot_make_a_venv_gives_way_to_the_next(boot, monkeypatch, tmp_path):
    broken = {"path": str(script(tmp_path / "broken", "echo no ensurepip; exit 1")), "version": [3, 14, 0]}
    works = {"path": str(script(tmp_path / "works", 'mkdir "$4"')), "version": [3, 12, 0]}
    facts = {"can_venv": True, "linkable": True}
    monkeypatch.setattr(boot, "base_pythons", lambda: [{**broken, **facts}, {**works, **facts}])
    boot.make_venv()
    assert boot.VENV.is_dir()
    monkeypatch.setattr(boot, "base_pythons", lambda: [{**broken, **facts}, {**broken, **facts, "can_venv": False}])
    with pytest.raises(boot.BootstrapError, match=r"no ensurepip.*apt install python3\.14-venv"):
        boot.make_venv()
    assert not boot.VENV.exists()


@posix
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("Failed to establish a new connection: [Errno -3] Temporary failure in name resolution", "is the network up"),
        ("error: subprocess-exited-with-error", "pip failed"),
    ],
)
def test_a_failing_pip_is_explained(boot, monkeypatch, tmp_path, said, message):
    pip = script(tmp_path / "python", f"echo '{said}'; exit 1")
    monkeypatch.setattr(boot, "venv_python", lambda venv: pip)
    with pytest.raises(boot.BootstrapError, match=message):
        boot.pip_install({"dev"})


def test_variables_that_divert_python_or_pip_are_not_handed_on(boot, monkeypatch):
    dropped = ["PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_USER", "PIP_NO_DEPS", "PIP_PREFIX", "PIP_REQUIRE_HASHES"]
    for name in [*dropped, "VIRTUAL_ENV", "PIP_INDEX_URL", "PIP_PROXY"]:
        monkeypatch.setenv(name, "x")
    env = boot.clean_env(pip=True)
    assert not set(env) & {*dropped, "VIRTUAL_ENV"}
    assert env["PIP_INDEX_URL"] == env["PIP_PROXY"] == "x"
    inner = boot.clean_env()
    assert inner["VIRTUAL_ENV"] == str(boot.VENV)
    assert inner["PATH"].startswith(str(boot.venv_python(boot.VENV).parent) + os.pathsep)


@pytest.mark.parametrize(("windows", "ends"), [(True, ("Scripts", "python.exe")), (False, ("bin", "python"))])
def test_the_venv_python_is_where_the_system_puts_it(boot, monkeypatch, windows, ends):
    monkeypatch.setattr(boot, "WINDOWS", windows)
    assert boot.venv_python(Path("v")).parts == ("v", *ends)


# ---------------------------------------------------------------- the command line

NAMES = ["a b.mkv", "it's.mkv", 'say "hi".mkv', "a$HOME`x`.mkv", "naïve 日本.mkv", "a=b,c;d&e.mkv", "-dash.mkv"]


@pytest.mark.parametrize("name", NAMES)
def test_file_names_reach_the_demo_unchanged(boot, monkeypatch, tmp_path, name):
    ran = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(boot, "setup", lambda extras: None)
    monkeypatch.setattr(boot, "run", lambda *arguments: ran.append(arguments) or 0)
    assert boot.main(["demo", f"--clip={name}", f"--ref={name}"]) == 0
    assert ran[0][1:] == (f"--clip={tmp_path / name}", f"--ref={tmp_path / name}")


@posix
@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("name", NAMES)
def test_file_names_pass_through_make(tmp_path, name):
    """A stand-in for the Python that make starts writes down what it was given."""
    seen = tmp_path / "seen"
    python = script(tmp_path / "python", f'[ "$1" = -c ] && exit 0\nprintf "%s\\n" "$@" > "{seen}"')
    shutil.copy(ROOT / "Makefile", tmp_path)
    env = {**os.environ, "VS_ALIGN_PYTHON": str(python)}
    for name_of in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # set where make runs these tests
        env.pop(name_of, None)
    subprocess.run(["make", "demo", f"CLIP={name}", f"REF=r {name}", "TR=7"], cwd=tmp_path, env=env, check=True)
    assert seen.read_text().splitlines() == ["bootstrap.py", "demo", f"--clip={name}", f"--ref=r {name}", "--tr=7"]


@pytest.mark.parametrize(
    ("command", "marker", "extras"),
    [("test", "not slow and not torch", {"dev"}), ("test-torch", "torch", {"dev", "topiq", "train"})],
)
def test_pytest_options_follow_the_marker(boot, monkeypatch, command, marker, extras):
    asked, ran = [], []
    monkeypatch.setattr(boot, "setup", asked.append)
    monkeypatch.setattr(boot, "run", lambda *arguments: ran.append(arguments) or 5)
    assert boot.main([command, "-k", "a or b", "-x"]) == 5
    assert asked == [extras]
    assert ran == [("-m", "pytest", "-m", marker, "-k", "a or b", "-x")]


def test_one_line_tells_of_an_error(boot, monkeypatch, capsys):
    monkeypatch.setattr(boot, "candidates", list)
    assert boot.main(["setup"]) == 1
    out = capsys.readouterr()
    assert out.out == ""
    assert len(out.err.splitlines()) == 1


def test_clean_deletes_what_was_made_and_nothing_else(boot):
    (boot.ROOT / ".venv" / "lib").mkdir(parents=True)
    (boot.ROOT / "demo_out").mkdir()
    (boot.ROOT / "tests" / "__pycache__").mkdir(parents=True)
    (boot.ROOT / "tests" / "keep.py").write_text("")
    assert boot.main(["clean"]) == 0
    left = sorted(str(path.relative_to(boot.ROOT)) for path in boot.ROOT.rglob("*"))
    assert left == ["pyproject.toml", "tests", str(Path("tests") / "keep.py")]


def test_an_old_python_can_start_it():
    paths = [shutil.which(name) for name in ("python3.8", "python3.9", "python3.10", "python3.11", "python3")]
    check = ["-c", "import sys; sys.exit(not (3, 8) <= sys.version_info < (3, 12))"]
    old = [p for p in paths if p and subprocess.run([p, *check], capture_output=True, check=False).returncode == 0]
    if not old:
        pytest.skip("no Python 3.8 to 3.11 here")
    done = subprocess.run([old[0], str(ROOT / "bootstrap.py"), "--help"], capture_output=True, check=True, text=True)
    assert "setup" in done.stdout


@pytest.mark.parametrize(
    ("installed", "extras"), [(None, {"source", "av"}), ({"dev"}, {"dev"}), ({"av"}, {"source", "av"})]
)
def test_the_demo_installs_nothing_more_after_the_tests(boot, monkeypatch, installed, extras):
    asked = []
    monkeypatch.setattr(boot, "read_stamp", lambda venv: installed and boot.stamp_for(installed))
    monkeypatch.setattr(boot, "setup", asked.append)
    monkeypatch.setattr(boot, "run", lambda *arguments: 0)
    boot.main(["demo"])
    assert asked == [extras]
