"""``vs-align info``."""

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import vapoursynth as vs
from cli_files import run, scene, write

import vs_align
from vs_align import models
from vs_align.cli.commands import info

ROOT = Path(__file__).resolve().parents[1]


def section(text: str, title: str) -> dict[str, str]:
    part = re.search(rf"^{title}\n((?:  .*\n)*)", text, re.MULTILINE)
    assert part, text
    return {line[2:16].strip(): line[17:] for line in part[1].splitlines()}


def test_versions_are_those_that_are_loaded(capsys):
    assert run("info") == 0
    versions = section(capsys.readouterr().out, "versions")
    assert versions["vs_align"].startswith(vs_align.__version__)
    assert versions["Python"].startswith(sys.version.split()[0])
    assert versions["VapourSynth"].startswith(f"R{vs.__version__.release_major}")


def test_base_dependencies_are_enough_and_torch_is_not_loaded():
    code = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"rich", "av", "torch", "matplotlib", "timm", "pyiqa"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
import importlib.util
find = importlib.util.find_spec
hidden = {"rich", "av", "torch", "matplotlib", "timm", "pyiqa", "tensorboard"}
hidden |= {"distributed", "onnxruntime", "ai_edge_litert"}
importlib.util.find_spec = lambda name, *rest: None if name in hidden else find(name, *rest)
from vs_align.cli import main
code = main(["info"])
assert not hidden & {name.split(".")[0] for name in sys.modules}
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    packages = section(done.stdout, "packages")
    assert packages["av"].endswith('pip install "vs_align[cli]"')
    assert packages["rich"].endswith('pip install "vs_align[cli]"')
    assert packages["torch"].endswith('pip install "vs_align[torch]"')
    assert packages["matplotlib"].endswith('pip install "vs_align[plot]"')
    assert packages["pyiqa"].endswith('pip install "vs_align[topiq]"')
    assert packages["distributed"].endswith('pip install "vs_align[batch]"')
    assert packages["onnxruntime"] == packages["ai-edge-litert"] == 'missing (pose); pip install "vs_align[pose]"'


def test_a_plugin_that_is_missing_is_named_with_where_it_is(capsys, monkeypatch):
    class Core:
        num_threads = 1

        def plugins(self):
            return []

    monkeypatch.setattr(info, "vs", type("vs", (), {"core": Core(), "__version__": vs.__version__}))
    assert run("info") == 0
    plugins = section(capsys.readouterr().out, "plugins")
    assert 'pip install "vs_align[source]"' in plugins["BestSource"]
    assert "https://codeberg.org/Line-fr/Vship" in plugins["Vship"]
    assert "vapoursynth-julek-plugin" in plugins["julek"]


def test_models_are_where_the_loader_looks(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv(models.TOPIQ.env, raising=False)
    monkeypatch.setenv(models.CACHE_ENV, str(tmp_path))
    assert run("info") == 0
    found = section(capsys.readouterr().out, "models")
    assert "flow.safetensors" in found["flow"]
    assert found["TOPIQ"].startswith("not here yet") and models.TOPIQ.env in found["TOPIQ"]
    (tmp_path / models.TOPIQ.filename).write_bytes(b"x" * 2_000_000)
    assert run("info") == 0
    assert section(capsys.readouterr().out, "models")["TOPIQ"] == f"{tmp_path / models.TOPIQ.filename}, 2 MB"
    monkeypatch.setenv(models.TOPIQ.env, str(tmp_path / "gone.pth"))
    assert run("info") == 0
    assert section(capsys.readouterr().out, "models")["TOPIQ"].startswith(f"missing: {models.TOPIQ.env} names")


def test_cuda_is_what_the_driver_says(capsys, monkeypatch):
    monkeypatch.setattr(info, "cuda_driver_devices", lambda: 0)
    assert run("info") == 0
    assert section(capsys.readouterr().out, "CUDA")["devices"].startswith("none")
    monkeypatch.setattr(info, "cuda_driver_devices", lambda: 2)
    monkeypatch.setattr(info.importlib.util, "find_spec", lambda name: None)
    assert run("info") == 0
    found = section(capsys.readouterr().out, "CUDA")
    assert found["devices"] == "2" and 'pip install "vs_align[torch]"' in found["PyTorch"]


@pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")
def test_a_file_is_described(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(models.CACHE_ENV, str(tmp_path / "cache"))
    path = write(
        tmp_path / "film.mkv",
        [scene()(n) for n in range(48)],
        rate=Fraction(24000, 1001),
        codec="libx264",
        pix_fmt="yuv420p10le",
        colours=(1, 1, 1, 1),
        sample_aspect_ratio=Fraction(4, 3),
    )
    assert run("info", path) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(path),
        "  size           96x72, pixels 4:3",
        "  format         YUV420P10, progressive",
        "  colours        matrix bt709, transfer bt709, primaries bt709",
        "  rate           23.976 fps (24000/1001)",
        "  length         48 frames, 0:00:02.002",
    ]
