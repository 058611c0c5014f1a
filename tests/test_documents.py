"""Every Python block and every command of the README and of docs/ is run; what cannot be is listed with the reason.

Python stands in fences and may use `clip` and `ref`, in step but for three frames, and the files that `FILES` makes.
Commands are indented lines. Those of one document are run in their order in one folder, so that a later one finds what
an earlier one wrote.
"""

import importlib.util
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")
vs = pytest.importorskip("vapoursynth")

from cli_files import scene, write  # noqa: E402
from flash_clips import LAST, LEFT, RIGHT, film  # noqa: E402
from numbered_films import (  # noqa: E402
    FILM,
    SIZE,
    USUAL,
    WHOLE,
    Film,
    environment,
    load_demo,
    luma_of,
    muddled,
    picture,
)

import vs_align  # noqa: E402
from vs_align.cli import main  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HAS_TORCH = importlib.util.find_spec("torch") is not None

needs_source = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")

# Python blocks that need PyTorch, by what they hold.
NEED_TORCH = ("precision=2", "butteraugli")
# Python blocks that are compiled and not run, by what they hold.
BLOCKS_NOT_RUN = {
    'weights="resnet18.safetensors"': "a file of weights that has to be downloaded",
    "vs_align.pose(": "networks that have to be downloaded; tests/test_pose_*.py run it with made ones",
}
# Commands that are not run, by how they begin.
COMMANDS_NOT_RUN = {
    "pip install": "tests/test_packaging.py builds and installs; a download has no place in a test",
    "make": ".ci/run runs demo, test, docs and lint; tests/test_bootstrap.py has what they call",
    "py bootstrap.py": "for Windows; tests/test_bootstrap.py",
    "vs-align train": "needs footage and hours; tests/test_train_*.py run it on a small scale",
    "vs-align pose": "networks that have to be downloaded; tests/test_cli_pose.py runs it with keypoints",
    "vs-align evaluate": "needs a trained network and a data set; tests/test_evaluation.py",
    "torchrun": "several GPUs",
    "dask": "schedulers and workers go on until they are stopped; tests/test_cli_batch.py starts both",
    "vs-align batch pairs.csv --out-dir /shared/results --scheduler": "needs such a scheduler",
    "python benchmarks/": "a benchmark; its figures are in benchmarks/RESULTS.md",
}
RUN = ("vs-align", "python -m vs_align", "vspipe", "mkdir")


# ---------------------------------------------------------------- the files that documents mention


def numbered(path: Path) -> None:
    Film(muddled(40) if path.stem == "clip" else WHOLE).write(path, load_demo())


def releases(path: Path) -> None:
    """Write one of a pair: late.mkv shows at frame n + 7 what good.mkv shows at n; both have sound."""
    late = 7 if path.stem == "late" else 0
    write(path, [scene()(n - late) for n in range(160)], click_at=1.0, codec="libx264")


def speeds(path: Path) -> None:
    """Write one of a film at 24 frames a second and the same frames at 25."""
    write(path, [scene()(n) for n in range(60)], rate=25 if path.stem == "pal" else 24, codec="libx264")


def pairs(path: Path) -> None:
    """Write the list of a batch."""
    path.write_text("clip,ref,name,tr\nlate.mkv,good.mkv,e01,\ngood.mkv,good.mkv,e02,30\n", encoding="utf-8")


FILES: dict[str, Callable[[Path], object]] = {
    "clip.mkv": numbered,
    "ref.mkv": numbered,
    "late.mkv": releases,
    "good.mkv": releases,
    "pairs.csv": pairs,
    "pal.mkv": speeds,
    "film.mkv": speeds,
    "left.mp4": lambda path: film(path, LEFT),
    "right.mp4": lambda path: film(path, RIGHT),
    "goal.mp4": lambda path: film(path, LAST),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a function that puts the files a text mentions into a folder; each is made once."""
    made = tmp_path_factory.mktemp("made")

    def put(text: str, folder: Path) -> list[str]:
        text += " late.mkv good.mkv" * ("pairs.csv" in text)
        names = [name for name in FILES if re.search(rf"\b{re.escape(name)}", text)]
        for name in names:
            if not (made / name).exists():
                FILES[name](made / name)
            shutil.copy2(made / name, folder / name)
        return names

    return put


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VS_ALIGN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


# ---------------------------------------------------------------- what the documents hold


def fences(text: str) -> list[tuple[str, int, str]]:
    """Return language, first line and content of each fenced block."""
    blocks = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(block[1], text.count("\n", 0, block.start()) + 2, block[2]) for block in blocks]


def python_blocks() -> list:
    """Return each Python block as a test parameter."""
    found = []
    for document in DOCUMENTS:
        for language, line, code in fences(document.read_text(encoding="utf-8")):
            if language != "python":
                continue
            torch = any(sign in code for sign in NEED_TORCH)
            missing = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")
            marks = [pytest.mark.torch, missing] if torch else []
            found.append(pytest.param(code, document, line, marks=marks, id=f"{name_of(document)}-{line}"))
    return found


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def commands(document: Path) -> list[str]:
    """Return the lines of a document that are commands: indented ones, and those in fences that say sh."""
    starts = (*RUN, *COMMANDS_NOT_RUN)
    text = document.read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    lines += [line for language, _, code in fences(text) if language == "sh" for line in code.splitlines()]
    return [line for line in lines if any(begins(line, start) for start in starts)]


def begins(line: str, start: str) -> bool:
    return line == start or line.startswith(start if start.endswith("/") else f"{start} ")


def not_run(command: str) -> str | None:
    """Return under which entry a command is listed as not run."""
    return next((start for start in COMMANDS_NOT_RUN if begins(command, start)), None)


def test_blocks_are_written_so_that_they_are_found():
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        assert {language for language, _, _ in fences(text)} <= {"python", "sh", "yaml"}, name_of(document)
        outside = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
        python = re.findall(
            r"^ {4,}(?:import |from \w+ import |vs_align\.|\w[\w, ]* = \w+\.\w+\().*", outside, re.MULTILINE
        )
        assert not python, name_of(document)
        # A command that no list knows: lower-case words and an option.
        unknown = re.findall(r"^ {4}(?=[a-z][\w.-]+ .*(?<= )--?\w)(?!.*  )(\S.*)$", outside, re.MULTILINE)
        assert set(unknown) <= set(commands(document)), name_of(document)


def test_yaml_in_the_documents_can_be_read():
    yaml = pytest.importorskip("yaml")
    for document in DOCUMENTS:
        for language, _, text in fences(document.read_text(encoding="utf-8")):
            assert language != "yaml" or isinstance(yaml.safe_load(text), dict)


def test_the_readme_has_both():
    assert any(parameter.values[1].name == "README.md" for parameter in python_blocks())
    assert any(begins(command, "vs-align") for command in commands(ROOT / "README.md"))


def test_nothing_is_listed_that_no_document_has():
    everything = [command for document in DOCUMENTS for command in commands(document)]
    code = "".join(parameter.values[0] for parameter in python_blocks())
    assert {not_run(command) for command in everything} >= set(COMMANDS_NOT_RUN)
    assert [sign for sign in BLOCKS_NOT_RUN if sign not in code] == []
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert [name for name in FILES if name not in text] == []


# ---------------------------------------------------------------- Python


def blocks_clip(numbers: Iterable[int], fps: Fraction = FILM) -> vs.VideoNode:
    """Return a clip of numbered pictures, in memory."""
    lumas = [luma_of(picture(number, SIZE, USUAL)) for number in numbers]
    blank = vs.core.std.BlankClip(None, *SIZE, vs.YUV420P8, len(lumas), fps.numerator, fps.denominator)

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        painted = f.copy()
        np.copyto(np.asarray(painted[0]), lumas[n])
        return painted

    return blank.std.ModifyFrame(blank, paint)


@pytest.mark.parametrize(("code", "document", "line"), python_blocks())
def test_python_in_the_documents_runs(code, document, line, place, tmp_path, monkeypatch):
    compiled = compile("\n" * (line - 1) + code, str(document), "exec")
    if any(sign in code for sign in BLOCKS_NOT_RUN):
        return
    if place(code, tmp_path) and not hasattr(vs.core, "bs"):
        pytest.skip("needs BestSource")
    monkeypatch.chdir(tmp_path)
    names = {"clip": blocks_clip(muddled(40)), "ref": blocks_clip(WHOLE)}
    before = dict(names)
    try:
        exec(compiled, names)
        changed = [value for name, value in names.items() if value is not before.get(name)]
        made = [value for value in changed if isinstance(value, vs.VideoNode)]
        made += [output.clip for output in vs.get_outputs().values()]
    finally:
        vs.clear_outputs()
    found = [value for value in changed if type(value).__module__.startswith("vs_align")]
    assert made or found, "the block makes nothing of ours"
    for node in made:
        node.get_frame(len(node) // 2).close()


# ---------------------------------------------------------------- commands


def clear(folder: Path, kept: Iterable[str]) -> None:
    """Delete what earlier commands wrote, but for what later ones read: alignments and clocks."""
    for path in folder.iterdir():
        if path.is_file() and path.name not in kept and path.suffix not in (".json", ".csv", ".yaml"):
            path.unlink()


def run_in_the_shell(command: str, folder: Path) -> None:
    """Run a command of other programs as it is written."""
    lacking = [words[0] for words in map(shlex.split, command.split("|")) if not which(words[0])]
    if lacking:
        pytest.skip(f"{' and '.join(lacking)} not installed")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def which(program: str) -> str | None:
    return shutil.which(program, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def in_words(command: str) -> list[str]:
    """Return the arguments of one of our commands."""
    words = shlex.split(command)
    return words[3:] if words[0] == "python" else words[1:]


OF_OURS = {
    name_of(document): [line for line in commands(document) if not not_run(line) and not begins(line, "vspipe")]
    for document in DOCUMENTS
}

# Documents whose commands take long, and are much like those of another.
SLOW = ("docs/batch.md", "docs/command-line.md", "docs/uses/cameras.md", "docs/uses/two-releases.md")


def slowly(name: str):
    return pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])


@needs_source
@pytest.mark.parametrize("name", [slowly(name) for name, lines in OF_OURS.items() if lines])
def test_commands_in_the_documents_run(name, place, tmp_path, monkeypatch, capsys):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    kept = place("\n".join(OF_OURS[name]), tmp_path)
    for command in OF_OURS[name]:
        clear(tmp_path, kept)
        if begins(command, "mkdir"):
            Path(command.split()[1]).mkdir()
            continue
        status = main(in_words(command))
        assert status == 0, f"{command}\n{capsys.readouterr().err}"


SHELL = [
    (name_of(document), line) for document in DOCUMENTS for line in commands(document) if begins(line, "vspipe")
]


@needs_source
@pytest.mark.skipif(os.name == "nt", reason="a line for a POSIX shell")
@pytest.mark.parametrize(("name", "command"), SHELL)
def test_vspipe_in_the_documents_runs(name, command, place, tmp_path):
    """script.vpy is the document's first script."""
    text = (ROOT / name).read_text(encoding="utf-8")
    code = next(code for language, _, code in fences(text) if language == "python" and "set_output" in code)
    place(code, tmp_path)
    (tmp_path / "script.vpy").write_text(code, encoding="utf-8")
    run_in_the_shell(command, tmp_path)
    assert (tmp_path / shlex.split(command.replace("|", " "))[-1]).exists() or (tmp_path / "synced.mkv").exists()


# ---------------------------------------------------------------- what has to be said


@pytest.mark.parametrize("name", ["analyse", "flash", "offset", "pose", "spatial", "temporal"])
def test_every_argument_is_in_the_tables(name):
    text = (ROOT / "docs" / "filters.md").read_text(encoding="utf-8")
    section = re.search(rf"^## `vs_align\.{name}`$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    said = set(re.findall(r"`(\w+)`", " ".join(cells)))
    arguments = set(inspect.signature(getattr(vs_align, name)).parameters)
    assert arguments <= said
    call = re.search(rf"vs_align\.{name}\((.*?)\n?\)", section, re.DOTALL)[1]
    shown = set(re.findall(r"(\w+)=", call))
    assert shown <= arguments


def test_the_readme_says_when_to_take_each_measure_mode_and_engine():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind in (vs_align.Similarity, vs_align.Mode, vs_align.Engine, vs_align.FlowEngine):
        assert [member.value for member in kind if f'"{member.value}"' not in text] == []


def test_the_readme_names_every_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands_of_ours = [path.stem for path in (ROOT / "vs_align" / "cli" / "commands").glob("[a-z]*.py")]
    table = re.findall(r"^\| (`vs-align .*?) \|", text, re.MULTILINE)
    assert [name for name in commands_of_ours if not any(re.search(rf"\b{name}\b", row) for row in table)] == []
