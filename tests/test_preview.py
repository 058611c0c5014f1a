"""sample_scripts/preview.py in previewers: headless in vsjetengine, and in vspreview itself where there is one.

`VS_ALIGN_VSPREVIEW` names a Python that has vspreview, and what vs_align needs.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("av")
pytest.importorskip("vsengine")
vs = pytest.importorskip("vapoursynth")
if not hasattr(vs.core, "bs"):
    pytest.skip("needs BestSource", allow_module_level=True)

from numbered_films import PAL, SCRIPTS, WHOLE, Film, load_demo, muddled  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
PREVIEW = SCRIPTS / "preview.py"
VSPREVIEW = os.environ.get("VS_ALIGN_VSPREVIEW")
FRAMES, RELOADS = 40, 20
# The frames that are looked at in one load are 35 MB and more: kept by mistake, they would be 700.
SIZE, MOST_GROWN = (640, 360), 60

LOADER = """
    import gc
    import json
    import sys
    import time
    from types import ModuleType

    import vapoursynth as vs
    from vsengine.policy import GlobalStore, Policy
    from vsengine.vpy import load_script

    clip, ref, preview = sys.argv[1:]

    def load(policy, look):
        # What a previewer does at each reload: an environment of its own, the script, its outputs.
        module = ModuleType("__vapoursynth__")
        module.clip, module.ref = clip, ref
        with policy.new_environment() as environment:
            script = load_script(preview, environment, module=module)
            script.run().result()
            with environment.use():
                outputs = {n: output.clip for n, output in vs.get_outputs().items()}
                found = look(outputs)
                outputs.clear()
            module.__dict__.clear()
        del script, module
        gc.collect()
        return found
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A clip whose frames are out of place, and a ref."""
    folder = tmp_path_factory.mktemp("films")
    demo = load_demo()
    Film(muddled(FRAMES), fps=PAL, size=SIZE).write(folder / "clip.mkv", demo)
    Film(WHOLE, size=SIZE).write(folder / "ref.mkv", demo)
    return folder / "clip.mkv", folder / "ref.mkv"


def run(body: str, files: tuple[Path, Path]) -> str:
    """Run code in a Python of its own, after `LOADER`, and return what it writes."""
    begin = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + textwrap.dedent(LOADER) + textwrap.dedent(body), *map(str, files), str(PREVIEW)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_preview_has_clip_ref_synced_difference_and_scores(files):
    lines = run(
        """
        import numpy as np

        def look(outputs):
            assert sorted(outputs) == [0, 1, 2, 3, 4]
            clip, ref, synced, difference, scores = (outputs[n] for n in range(5))
            for n in (0, 11, 25, 39):
                with synced.get_frame(n) as shown, ref.get_frame(n) as wanted, difference.get_frame(n) as left:
                    same = np.array_equal(shown[0], wanted[0])
                    print(n, same, set(np.unique(left[0]).tolist()) == {128}, shown.props["AlignFrame"])
                with scores.get_frame(n) as drawn, synced.get_frame(n) as plain:
                    assert not np.array_equal(drawn[0], plain[0])
            print([len(node) for node in (clip, ref, synced, difference, scores)])

        with Policy(GlobalStore()) as policy:
            load(policy, look)
        """,
        files,
    ).splitlines()
    assert [line.split()[1:3] for line in lines[:-1]] == 4 * [["True", "True"]]
    assert lines[-1] == str([len(muddled(FRAMES)), *4 * [FRAMES]])
    shows = muddled(FRAMES)
    assert [shows[int(line.split()[3])] for line in lines[:-1]] == [0, 11, 25, 39]


def test_vspreview_is_told_the_names(files):
    out = run(
        """
        from types import SimpleNamespace

        def told(node, index, name):
            print(index, name)
            node.set_output(index)

        sys.modules["vspreview"] = SimpleNamespace(set_output=told)
        with Policy(GlobalStore()) as policy:
            load(policy, lambda outputs: None)
        """,
        files,
    )
    assert out.split() == ["0", "clip", "1", "ref", "2", "synced", "3", "difference", "4", "scores"]


def test_reloads_give_the_same_frames(files):
    first, second, third = run(
        """
        import hashlib

        def look(outputs):
            found = hashlib.sha256()
            for n, node in sorted(outputs.items()):
                for frame in (7, 30, 8):
                    with node.get_frame(frame) as shown:
                        found.update(bytes(shown[0]))
            return found.hexdigest()

        with Policy(GlobalStore()) as policy:
            for _ in range(3):
                print(load(policy, look))
        """,
        files,
    ).splitlines()
    assert first == second == third


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc/self/statm")
def test_twenty_reloads_do_not_grow_memory(files):
    out = run(
        f"""
        import ctypes
        import resource
        from pathlib import Path

        def resident():
            # A core that is done with goes after some rounds of the collector; what malloc keeps for later is no leak.
            for _ in range(4):
                gc.collect()
                time.sleep(0.2)
            libc = ctypes.CDLL(None)
            if hasattr(libc, "malloc_trim"):
                libc.malloc_trim(0)
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

        def look(outputs):
            for node in outputs.values():
                for n in range(10, 30):
                    node.get_frame(n).close()

        with Policy(GlobalStore()) as policy:
            for _ in range(5):
                load(policy, look)
            before = resident()
            for _ in range({RELOADS}):
                load(policy, look)
            print(resident() - before)
        """,
        files,
    )
    print(f"{RELOADS} reloads grew memory by {float(out):.1f} MB")
    assert float(out) < MOST_GROWN


# ---------------------------------------------------------------- vspreview itself

DRIVER = """
    import ctypes
    import gc
    import os
    import resource
    import sys
    import time
    from pathlib import Path

    import vspreview.init as vspreview
    from PyQt6.QtWidgets import QApplication

    clip, ref, preview, warm, reloads = sys.argv[1:]

    def resident():
        for _ in range(4):
            gc.collect()
            QApplication.processEvents()
            time.sleep(0.2)
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    def look(window):
        for n in range(len(window.outputs)):
            window.switch_output(n)
            for frame in range(5, 30, 3):
                window.switch_frame(frame)
                QApplication.processEvents()

    def used(*_):
        # In place of Qt's loop: a user who looks at each output and reloads.
        window = vspreview.main.main_window
        look(window)
        for turn in range(int(warm) + int(reloads)):
            if turn == int(warm):
                before = resident()
            window.reload_script()
            QApplication.processEvents()
            look(window)
        names = ",".join(output.name for output in window.outputs.items)
        print(names, not window.script_exec_failed, resident() - before, flush=True)
        os._exit(0)

    # Qt ends the program at a fault in a paint event, but where there is a hook.
    sys.excepthook = lambda kind, fault, trace: print(fault, file=sys.stderr)
    QApplication.exec = used
    vspreview.main([preview, f"clip={clip}", f"ref={ref}"], True)
"""


def previewed(script: Path, files: tuple[Path, Path], folder: Path) -> tuple[str, bool, float]:
    """Reload a script in vspreview; return its outputs' names, whether it ran, and how much memory grew, in MB."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen", "HOME": str(folder)}
    done = subprocess.run(
        [VSPREVIEW, "-c", textwrap.dedent(DRIVER), *map(str, files), str(script), "5", str(RELOADS)],
        env=env,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs, ran, grown = done.stdout.splitlines()[-1].split()
    return outputs, ran == "True", float(grown)


@pytest.mark.slow
@pytest.mark.skipif(not VSPREVIEW, reason="VS_ALIGN_VSPREVIEW names no Python with vspreview")
def test_vspreview_shows_five_outputs_and_twenty_reloads_do_not_grow_memory(files, tmp_path):
    shutil.copy2(PREVIEW, tmp_path)  # vspreview keeps its notes beside the script
    outputs, ran, grown = previewed(tmp_path / PREVIEW.name, files, tmp_path)
    print(f"{RELOADS} reloads in vspreview grew memory by {grown:.1f} MB")
    assert (outputs, ran) == ("clip,ref,synced,difference,scores", True)
    assert grown < MOST_GROWN
