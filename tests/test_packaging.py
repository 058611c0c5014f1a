"""What is handed out: the wheel and the sdist, the extras, and the package where it is installed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

pytest.importorskip("hatchling")

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
# Extras for those who work on the package; "all" is for those who use it.
FOR_DEVELOPERS = {"dev", "docs"}
# Import names that differ from the distribution's.
MODULES = {
    "ai-edge-litert": "ai_edge_litert",
    "hatchling": "hatchling.build",
    "mkdocs-material": "material",
    "opencv-python-headless": "cv2",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "vapoursynth-bestsource": None,
    "vsjetengine": "vsengine",
}


def name_of(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower()


def own_extras(requirement: str) -> list[str]:
    """Return the extras of this package that a requirement names."""
    named = re.fullmatch(r"vs_align\[([\w,]+)\]", requirement)
    return named[1].split(",") if named else []


def packages(extra: str) -> set[str]:
    """Return the distributions that an extra brings, those of the extras it names among them."""
    found: set[str] = set()
    for requirement in EXTRAS[extra]:
        others = own_extras(requirement)
        found |= set().union(*map(packages, others)) if others else {name_of(requirement)}
    return found


def built(kind: str, folder: Path) -> Path:
    """Build a distribution without isolation, so without a network."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return built("sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds what the wheel installs, and nothing else."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


# ---------------------------------------------------------------- wheel and sdist


def test_the_wheel_holds_the_package_with_its_weights_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names} == {"vs_align", wheel.name.split("-py3")[0] + ".dist-info"}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vs_align").rglob("*") if path.is_file()}
    files = {name for name in files if "__pycache__" not in name}
    assert {name for name in names if name.startswith("vs_align/")} == files
    weights = {name for name in files if name.startswith("vs_align/weights/")}
    assert "vs_align/weights/flow.safetensors" in weights
    assert "vs_align/py.typed" in names
    assert not [name for name in names if re.search(r"(^|/)(tests?|benchmarks)/|test_\w+\.py$", name)]


def test_the_wheel_is_small_and_pure(wheel):
    assert wheel.stat().st_size < 20e6
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_sdist_builds_the_same_wheel_and_holds_what_the_readme_links_to(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (again,) = (tmp_path / "again").iterdir()
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
    links = re.findall(r"\]\((?!\w+:|#)([^)#]+)", (source / "README.md").read_text(encoding="utf-8"))
    assert links and [link for link in links if not (source / link).exists()] == []


def test_the_metadata_is_what_the_index_takes(wheel, sdist):
    pytest.importorskip("twine")
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_metadata_says_what_pyproject_says(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode("utf-8"))
    assert metadata["Name"] == "vs_align"
    assert set(metadata.get_all("Provides-Extra")) == set(EXTRAS)
    base = {name_of(line) for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    assert base == {name_of(requirement) for requirement in PROJECT["dependencies"]}


def test_the_version_is_said_once():
    import vs_align

    assert vs_align.__version__ == PROJECT["version"]
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert PROJECT["version"] in log


# ---------------------------------------------------------------- extras


def test_all_is_the_sum_of_the_extras_for_users():
    named = [extra for requirement in EXTRAS["all"] for extra in own_extras(requirement)]
    assert sorted(named) == sorted(set(EXTRAS) - FOR_DEVELOPERS - {"all"})
    assert all(own_extras(requirement) for requirement in EXTRAS["all"])


def test_extras_that_name_extras_name_some_that_are_there():
    for extra, requirements in EXTRAS.items():
        for requirement in requirements:
            assert set(own_extras(requirement)) <= set(EXTRAS), (extra, requirement)
            assert name_of(requirement) != "vs_align" or own_extras(requirement), (extra, requirement)


def test_one_package_has_one_lower_bound_or_a_reason_for_two():
    bounds: dict[str, set[str]] = {}
    for requirements in EXTRAS.values():
        for requirement in requirements:
            if not own_extras(requirement):
                bounds.setdefault(name_of(requirement), set()).add(requirement)
    # cli encodes with what came with 15; the distributed training loop needs 2.3 of torch.
    assert {name for name, found in bounds.items() if len(found) > 1} <= {"av", "torch"}


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_what_an_extra_brings_can_be_imported_where_it_is_installed(extra):
    for package in sorted(packages(extra)):
        module = MODULES.get(package, package.replace("-", "_"))
        if module is None:
            continue
        top = module.split(".")[0]
        if importlib.util.find_spec(top) is not None:
            assert importlib.util.find_spec(module) is not None, (package, module)


def test_the_readme_lists_every_extra():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| extra |") :]
    listed = re.findall(r"^\| `(\w+)` \|", table[: table.index("\n\n")], re.MULTILINE)
    assert sorted(listed) == sorted(EXTRAS)


# ---------------------------------------------------------------- installed


def alone(code: str, installed: Path, blocked: set[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code against the installed package, in which some modules cannot be imported."""
    block = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {sorted(blocked)!r} else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
    env = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-c", block + code], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def optional_modules() -> set[str]:
    """Return what the extras bring and the base does not, by import names."""
    found = {MODULES.get(name, name.replace("-", "_")) for extra in EXTRAS for name in packages(extra)}
    # BestSource is a plugin; what it is asked for is not in this script.
    base = {MODULES.get(name, name) for name in map(name_of, PROJECT["dependencies"])}
    return {name.split(".")[0] for name in found if name} - base


DEMO = """
import sys
sys.path.insert(0, SCRIPTS)
import demo_scene
import numpy as np
import vapoursynth as vs
import vs_align
assert vs_align.__file__.startswith(INSTALLED), vs_align.__file__

def in_memory(frames):
    height, width = frames[0].shape[:2]
    blank = vs.core.std.BlankClip(None, width, height, vs.RGB24, len(frames), 24, 1)
    def fill(n, f):
        filled = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(filled[plane]), frames[n][..., 2 - plane])
        return filled
    return blank.std.ModifyFrame(blank, fill)

import itertools
first = list(itertools.islice(demo_scene.paint_first(), 40))
rng = np.random.default_rng(1)
shown = [max(0, n - 3) for n in range(43)]
clip = in_memory([demo_scene.second_look(first[n], rng) for n in shown])
ref = in_memory(first)
small = [node.resize.Bicubic(320, 180, format=vs.GRAY8, matrix_s="709") for node in (clip, ref)]
synced = vs_align.temporal(*small, out=clip, similarity="structure")
aligned = vs_align.spatial(synced, ref)
unaligned = synced.resize.Bicubic(ref.width, ref.height)
right = 0
for n in range(4, 36, 4):
    with synced.get_frame(n) as frame:
        right += shown[frame.props["AlignFrame"]] == n
with aligned.get_frame(20) as new, unaligned.get_frame(20) as old, ref.get_frame(20) as wanted:
    def off(frame):
        return float(np.abs(np.asarray(frame[1]).astype(float) - np.asarray(wanted[1])).mean())
    print(right, off(old), off(new), new.props["AlignResidual"])
found = vs_align.analyse(*small)
print(found.offset_frames, sorted(name for name in sys.modules if "." not in name and name in OPTIONAL))
"""


def test_the_base_dependencies_alone_do_what_the_demo_does(installed, tmp_path):
    optional = optional_modules()
    values = {"SCRIPTS": str(ROOT / "sample_scripts"), "INSTALLED": str(installed), "OPTIONAL": sorted(optional)}
    code = "".join(f"{name} = {value!r}\n" for name, value in values.items()) + DEMO
    done = alone(code, installed, optional, tmp_path)
    assert done.returncode == 0, done.stderr
    numbers, rest = done.stdout.splitlines()
    right, before, after, residual = map(float, numbers.split())
    assert right == 8
    assert after < before and residual < 0.2
    assert rest == "3 []"


@pytest.mark.parametrize(
    ("call", "extra"),
    [
        ("vs_align.temporal(clip, clip, precision=3)", "topiq"),
        ("vs_align.temporal(clip, clip, similarity='resnet')", "resnet"),
        ("vs_align.spatial(clip, clip, engine='flow')", "torch"),
        ("vs_align.analyse(clip, clip).plot_offset('plot.png')", "plot"),
    ],
)
def test_what_is_missing_is_one_line_that_names_the_extra(call, extra, installed, tmp_path):
    code = f"""
import vapoursynth as vs
import vs_align
clip = vs.core.std.BlankClip(format=vs.RGB24, width=64, height=48, length=3)
try:
    {call}
except RuntimeError as error:
    print(error)
"""
    done = alone(code, installed, optional_modules(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and f"[{extra}]" in done.stdout, done.stdout


def test_the_command_without_its_extra_says_so(installed, tmp_path):
    code = "from vs_align.cli import main\nsys.exit(main(['analyse', 'a.mkv', 'b.mkv']))"
    done = alone(code, installed, optional_modules(), tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vs-align") and done.stderr.count("\n") == 1, done.stderr


SCRIPT = '''
"""A script that uses most of the package, as someone who checks types writes it."""

from pathlib import Path

import vapoursynth as vs
from vs_align import Alignment, FlashSync, Similarity, analyse, flash, spatial, temporal


def synced(clip: vs.VideoNode, ref: vs.VideoNode) -> vs.VideoNode:
    in_step = temporal(clip, ref, tr=40, similarity=Similarity.STRUCTURE, mode="dtw")
    return spatial(in_step, ref, precision=4, stabilize=2)


def found(clip: vs.VideoNode, ref: vs.VideoNode, path: Path) -> float:
    alignment: Alignment = analyse(clip, ref, clip_rate="24000/1001", ref_rate=25)
    alignment.save(path)
    return float(alignment.frame[0]) + len(alignment.segments)


def cameras(files: list[str]) -> list[vs.VideoNode]:
    clocks: FlashSync = flash(files, base="left")
    drift: float = clocks.clocks["left"].drift
    return list(clocks.clips()) if drift else []
'''
WRONG = "\n\nreveal: int = temporal(1, tr='x')\n"


@pytest.mark.slow
def test_a_users_script_is_type_checked_against_the_installed_package(installed, tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "right.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(SCRIPT + WRONG, encoding="utf-8")
    # The frame server's own module has no types; what lies in site-packages is not reported, as mypy does there.
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\n"
        "[mypy-vapoursynth]\nignore_missing_imports = True\n"
        "[mypy-vs_align.*]\nfollow_imports = silent\n",
        encoding="utf-8",
    )
    place = tmp_path / "site"
    shutil.copytree(installed, place)

    def check(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), name],
            cwd=tmp_path,
            env={**os.environ, "MYPYPATH": str(place)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = check("right.py")
    assert done.returncode == 0, done.stdout + done.stderr
    done = check("wrong.py")
    assert done.returncode == 1 and "arg-type" in done.stdout, done.stdout + done.stderr
