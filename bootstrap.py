"""Set up `.venv` beside this file and run things in it: `python bootstrap.py COMMAND`.

COMMAND is setup, test, test-torch, demo, docs, lint or clean.

Any Python from 3.8 on can start it, on Linux, macOS and Windows; it finds a Python >= 3.12 for `.venv` by itself
(VS_ALIGN_PYTHON names one instead). Only the standard library is used. `make` calls this script and does no more.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = "vs_align.json"
OLDEST = (3, 12)
NEWEST = (3, 14)
WINDOWS = os.name == "nt"
CACHES = (".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "__pycache__")
CLEANED = (".venv", "demo_out", "site", "build", "dist", *CACHES)

# What pip may hear from its caller's environment: how to reach an index. The rest (PIP_TARGET, PIP_USER, ...) says
# where to install and what to skip, and would take the packages past .venv.
PIP_KEPT = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONSTRAINT", "PIP_PRE"),
    *("PIP_CACHE_DIR", "PIP_NO_CACHE_DIR", "PIP_CONFIG_FILE", "PIP_KEYRING_PROVIDER", "PIP_TRUSTED_HOST"),
    *("PIP_PROXY", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES"),
)
DROPPED = (
    *("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONWARNINGS"),
    *("VIRTUAL_ENV", "__PYVENV_LAUNCHER__"),
)

# Run by each candidate. `linkable` is what vspipe needs: it loads Python as a shared library, and on Linux many Pythons
# (Debian's without the libpython3.x package, pyenv's default build) have none.
PROBE = """
import json, os, sys, sysconfig
try:
    import ensurepip, venv
    can_venv = True
except ImportError:
    can_venv = False
names = [str(sysconfig.get_config_var(k)) for k in ("INSTSONAME", "LDLIBRARY")]
dirs = [str(sysconfig.get_config_var(k)) for k in ("LIBPL", "srcdir", "LIBDIR")]
found = any(".so" in n and os.path.isfile(os.path.join(d, n)) for n in names for d in dirs)
print(json.dumps({
    "path": getattr(sys, "_base_executable", "") or sys.executable,
    "version": list(sys.version_info[:3]),
    "cpython": sys.implementation.name == "cpython",
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "can_venv": can_venv,
    "linkable": found or not sys.platform.startswith("linux"),
}))
"""

NETWORK_SIGNS = (
    "getaddrinfo failed",
    "name resolution",
    "Name or service not known",
    "nodename nor servname",
    "NewConnectionError",
    "NameResolutionError",
    "Network is unreachable",
    "ConnectTimeout",
    "ReadTimeout",
    "ProxyError",
    "Connection refused",
    "Connection broken",
    "(from versions: none)",
)


class BootstrapError(Exception):
    """Something the user has to put right; the message is one line."""


def say(text: str) -> None:
    """Print one line of progress to stderr."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


def clean_env(pip: bool = False) -> dict[str, str]:
    """Return the environment for a child process: the caller's, without what would divert Python or pip."""
    env = {k: v for k, v in os.environ.items() if k not in DROPPED and (not k.startswith("PIP_") or k in PIP_KEPT)}
    env["PYTHONNOUSERSITE"] = "1"
    if not pip:
        scripts = str(venv_python(VENV).parent)
        env["VIRTUAL_ENV"] = str(VENV)
        # vspipe finds its Python by running the `vapoursynth` command that comes first on PATH, and notes the answer in
        # the user's configuration folder; that note is about .venv and is kept there.
        env["PATH"] = os.pathsep.join([scripts, env.get("PATH", "")])
        if not WINDOWS:
            env["XDG_CONFIG_HOME"] = str(VENV / "config")
    return env


# ---------------------------------------------------------------- which Python


def probe(command: list[str]) -> dict | None:
    """Run a candidate and return what it says of itself, or None where it does not run (a shim, a store alias)."""
    try:
        done = subprocess.run(
            [*command, "-I", "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_env(pip=True),
            timeout=30,
            check=False,
        )
        info = json.loads(done.stdout.decode("utf-8", "replace")) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return info if isinstance(info, dict) and "version" in info else None


def candidates() -> list[list[str]]:
    """Return the commands to try: this Python, those on PATH, the Windows launcher's, pyenv's and uv's."""
    minors = range(NEWEST[1], OLDEST[1] - 1, -1)
    found = [[sys.executable]] if sys.executable else []
    for name in [*(f"python3.{m}" for m in minors), "python3", "python"]:
        path = shutil.which(name)
        if path:
            found.append([path])
    if WINDOWS and shutil.which("py"):
        found += [["py", f"-3.{m}"] for m in minors]
    return found + [[str(path)] for path in managed_pythons()]


def managed_pythons() -> list[Path]:
    """Return the Pythons that pyenv, pyenv-win and uv keep outside PATH."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is no home
    pyenv = [Path(os.environ[k]) for k in ("PYENV_ROOT", "PYENV") if os.environ.get(k)]
    pyenv += [home / ".pyenv", home / ".pyenv" / "pyenv-win"]
    uv = [home / ".local" / "share" / "uv" / "python", home / "AppData" / "Roaming" / "uv" / "python"]
    folders = [root / "versions" for root in pyenv] + uv
    paths = []
    for folder in folders:
        for pattern in ("*/python.exe", "*/bin/python3"):
            with contextlib.suppress(OSError):
                paths += sorted(folder.glob(pattern))
    return list(dict.fromkeys(paths))


def suitable(info: dict) -> bool:
    """Say whether the packages' wheels exist for this Python."""
    version = tuple(info["version"][:2])
    return version >= OLDEST and info["cpython"] and info["bits"] == 64 and not info["free_threaded"]


def rank(info: dict) -> tuple:
    """Return a sort key, best last: versions known to have wheels, able to run vspipe, then the newest."""
    known = tuple(info["version"][:2]) <= NEWEST
    return (info["can_venv"], known, info["linkable"], tuple(info["version"]))


def find_pythons(commands: list[list[str]]) -> list[dict]:
    """Return the suitable Pythons among the commands, best first; of equals the earlier command."""
    infos: dict[str, dict] = {}
    for command in commands:
        info = probe(command)
        if info and suitable(info):
            infos.setdefault(info["path"], info)
    return sorted(infos.values(), key=rank, reverse=True)


def named_python(name: str) -> list[dict]:
    """Return the Python that VS_ALIGN_PYTHON names, as `find_pythons` does."""
    info = probe([name])
    if not info:
        raise BootstrapError(f"VS_ALIGN_PYTHON names {name!r}, which does not run as a Python")
    if not suitable(info):
        version = ".".join(map(str, info["version"]))
        raise BootstrapError(
            f"VS_ALIGN_PYTHON names {name!r}, a Python {version} that has no VapourSynth wheel: "
            "it takes a 64-bit, not free-threaded CPython >= 3.12"
        )
    return [info]


def base_pythons() -> list[dict]:
    """Return the Pythons to make .venv with, best first."""
    name = os.environ.get("VS_ALIGN_PYTHON")
    found = named_python(name) if name else find_pythons(candidates())
    if not found:
        raise BootstrapError(
            "no Python >= 3.12 found on PATH, in pyenv or in uv. Install one (Debian, Ubuntu: apt install python3.12 "
            "python3.12-venv; macOS: brew install python@3.13; Windows: winget install Python.Python.3.13; "
            "pyenv install 3.13), or set VS_ALIGN_PYTHON to its path"
        )
    return found


# ---------------------------------------------------------------- .venv


def venv_python(venv: Path) -> Path:
    """Return the path of a virtual environment's Python."""
    return venv / "Scripts" / "python.exe" if WINDOWS else venv / "bin" / "python"


def stamp_for(extras: set[str]) -> dict:
    """Return what .venv's stamp holds when it is complete: where it stands, what it was made from, and with what."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return {"root": str(ROOT), "pyproject": digest, "extras": sorted(extras)}


def read_stamp(venv: Path) -> dict | None:
    """Return .venv's stamp, or None where the last set-up was not finished."""
    try:
        stamp = json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) and isinstance(stamp.get("extras"), list) else None


def plan(stamp: dict | None, wanted: dict, python_runs: bool) -> str:
    """Say what .venv needs: "make" it from nothing, "install" into it, or nothing ("ready").

    A .venv that was moved or copied is made anew: its scripts hold the old place's path.
    """
    if not stamp or not python_runs or stamp.get("root") != wanted["root"]:
        return "make"
    same = stamp.get("pyproject") == wanted["pyproject"] and set(wanted["extras"]) <= set(stamp["extras"])
    return "ready" if same else "install"


def remove(path: Path) -> None:
    """Delete a file, a link or a folder, where there is one."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        try:
            shutil.rmtree(str(path))
        except OSError as error:
            raise BootstrapError(f"cannot remove {path}: {error}") from None


def make_venv() -> None:
    """Make an empty .venv with the best Python that manages it."""
    reasons = []
    for info in base_pythons():
        version, minor = (".".join(map(str, info["version"][:n])) for n in (3, 2))
        remove(VENV)
        say(f"making .venv with Python {version} ({info['path']})")
        done = subprocess.run(
            [info["path"], "-I", "-m", "venv", str(VENV)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_env(pip=True),
            check=False,
        )
        if done.returncode == 0:
            if not info["linkable"]:
                say(f"this Python has no shared library, so vspipe will not run (Debian: libpython{minor})")
            return
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        reasons.append(
            f"Python {version} at {info['path']} cannot make one "
            + (f"({lines[-1]})" if info["can_venv"] and lines else f"(Debian, Ubuntu: apt install python{minor}-venv)")
        )
    remove(VENV)
    raise BootstrapError("no virtual environment: " + "; ".join(reasons))


def pip_install(extras: set[str]) -> None:
    """Install the package, editable, with its extras into .venv."""
    target = f"{ROOT}[{','.join(sorted(extras))}]" if extras else str(ROOT)
    large = extras & {"torch", "topiq", "resnet", "train", "all"}
    size = "torch is large: this can take ten minutes" if large else "about a minute"
    say(f"installing vs_align[{','.join(sorted(extras))}] into .venv ({size})")
    command = [str(venv_python(VENV)), "-I", "-m", "pip", "install", "--quiet", "--no-input", "--no-user"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--editable", target],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=clean_env(pip=True),
        cwd=str(ROOT),
        check=False,
    )
    if done.returncode == 0:
        return
    text = done.stdout.decode("utf-8", "replace")
    print("\n".join(text.strip().splitlines()[-12:]), file=sys.stderr)
    if any(sign in text for sign in NETWORK_SIGNS):
        raise BootstrapError("pip could not reach the package index: is the network up? (HTTPS_PROXY names a proxy)")
    raise BootstrapError("pip failed; what it said is above")


def python_runs(python: Path) -> bool:
    """Say whether .venv's Python still starts: its base may have been removed."""
    return probe([str(python)]) is not None


def setup(extras: set[str]) -> None:
    """Bring .venv to where it holds the package with these extras, doing as little as possible."""
    stamp = read_stamp(VENV)
    wanted = stamp_for(extras)
    todo = plan(stamp, wanted, stamp is not None and python_runs(venv_python(VENV)))
    if todo == "ready":
        return
    if todo == "make":
        make_venv()
        stamp = None
    else:
        wanted = stamp_for(extras | set(stamp["extras"]))
        (VENV / STAMP).unlink()  # an interrupted pip leaves no stamp, and .venv is made anew
    try:
        pip_install(set(wanted["extras"]))
    except BootstrapError:
        if stamp:  # pip gave up by itself and left things as they were
            (VENV / STAMP).write_text(json.dumps(stamp), encoding="utf-8")
        raise
    (VENV / STAMP).write_text(json.dumps(wanted), encoding="utf-8")


def leave_venv() -> int | None:
    """Where .venv's own Python runs this script, run it again with that Python's base, and return the exit status.

    .venv may have to be deleted, which Windows refuses while its Python runs.
    """
    base = getattr(sys, "_base_executable", None)
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    if not inside or not base or Path(base).parent == venv_python(VENV).parent:
        return None
    return subprocess.run([base, str(Path(__file__).resolve()), *sys.argv[1:]], check=False).returncode


# ---------------------------------------------------------------- commands


def run(*arguments: str) -> int:
    """Run .venv's Python in the root with these arguments and return its exit status."""
    return subprocess.run([str(venv_python(VENV)), *arguments], cwd=str(ROOT), env=clean_env(), check=False).returncode


def run_tests(arguments: list[str], torch: bool) -> int:
    """Run the tests of one kind; pytest options that follow may choose otherwise."""
    setup({"dev", "topiq", "train"} if torch else {"dev"})
    return run("-m", "pytest", "-m", "torch" if torch else "not slow and not torch", *arguments)


def run_demo(clip: str, ref: str, tr: str) -> int:
    """Run the demo on two files, or without any on a pair that it makes itself."""
    options = [f"--tr={tr}"] if tr else []
    for option, value in (("--clip", clip), ("--ref", ref)):
        if value:
            # against the caller's folder; the demo runs in the root
            options.append(f"{option}={Path(value).absolute()}")
    installed = (read_stamp(VENV) or {"extras": []})["extras"]
    setup({"dev"} if "dev" in installed else {"source", "av"})  # dev holds both
    return run(str(ROOT / "sample_scripts" / "demo.py"), *options)


def run_lint() -> int:
    """Run ruff, then mypy."""
    setup({"dev"})
    return run("-m", "ruff", "check", ".") or run("-m", "mypy")


def run_docs() -> int:
    """Build the documentation into site/; a link that leads nowhere is an error."""
    setup({"dev", "docs"})
    return run("-m", "mkdocs", "build", "--strict", "--quiet")


def run_clean() -> int:
    """Delete everything that the other commands made."""
    for name in CLEANED:
        remove(ROOT / name)
    for folder in ("vs_align", "tests", "sample_scripts", "benchmarks"):
        for cache in list((ROOT / folder).rglob("__pycache__")):
            remove(cache)
    return 0


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split the command line into the command with its options, and what is left for pytest."""
    parser = argparse.ArgumentParser(prog="bootstrap.py", description="Set up .venv and run vs_align's tests or demo.")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    option = commands.add_parser("setup", help="make .venv").add_argument
    option("--extras", default="dev", help="comma-separated extras of the package (default: dev)")
    commands.add_parser("test", help="run the tests (pytest's options may follow)", add_help=False)
    commands.add_parser("test-torch", help="run the tests that need torch; takes minutes more", add_help=False)
    option = commands.add_parser("demo", help="synchronise two files, or a pair made by code").add_argument
    option("--clip", default="", help="the file whose frames are used")
    option("--ref", default="", help="the file that they are put in step with")
    option("--tr", default="", help="how many frames apart the two may be (20)")
    commands.add_parser("docs", help="build the documentation into site/")
    commands.add_parser("lint", help="run ruff and mypy")
    commands.add_parser("clean", help="delete .venv and everything else made here")
    options, rest = parser.parse_known_args(argv)
    if rest and options.command not in ("test", "test-torch"):
        parser.error("unknown arguments: " + " ".join(rest))
    return options, rest


def dispatch(options: argparse.Namespace, rest: list[str]) -> int:
    """Run the chosen command and return its exit status."""
    if options.command == "setup":
        setup({name.strip() for name in options.extras.split(",") if name.strip()})
        return 0
    if options.command == "demo":
        return run_demo(options.clip, options.ref, options.tr)
    if options.command in ("test", "test-torch"):
        return run_tests(rest, torch=options.command == "test-torch")
    return {"docs": run_docs, "lint": run_lint, "clean": run_clean}[options.command]()


def main(argv: list[str]) -> int:
    """Run one command and return its exit status."""
    options, rest = parse(argv)
    status = leave_venv()
    if status is not None:
        return status
    try:
        return dispatch(options, rest)
    except BootstrapError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
