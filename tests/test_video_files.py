"""Files that a function of ours opens itself, in a script that vspipe runs."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vapoursynth as vs

pytest.importorskip("av")
from cli_files import write
from numbered_films import environment

pytestmark = pytest.mark.skipif(not hasattr(vs.core, "bs"), reason="needs BestSource")

SCRIPT = """
from pathlib import Path
from vs_align.analysis.video_files import open_video
from vs_align.checks import Checks

open_video(Checks("vs_align.pose"), Path(PLACE)).clip.set_output()
"""


def test_a_file_is_opened_within_vspipe(tmp_path):
    program = shutil.which("vspipe", path=str(Path(sys.executable).parent)) or shutil.which("vspipe")
    if not program:
        pytest.skip("vspipe is not installed beside this Python")
    pictures = [np.full((48, 64, 3), 40 + 10 * n, np.uint8) for n in range(7)]
    film = write(tmp_path / "film.mp4", pictures, rate=25, codec="libx264")
    (tmp_path / "script.vpy").write_text(SCRIPT.replace("PLACE", repr(str(film))))
    places = {**environment(tmp_path), "VS_ALIGN_CACHE": str(tmp_path / "cache")}
    command = [program, str(tmp_path / "script.vpy"), "-"]
    done = subprocess.run(command, capture_output=True, env=places, timeout=120, check=False)
    if b"VSScript" in done.stderr and done.returncode:
        pytest.skip(f"vspipe does not start with this Python: {done.stderr.decode(errors='replace').strip()}")
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout) == 7 * 48 * 64 * 3 // 2
