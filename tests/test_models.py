"""Weights: every way to find them, every way to fail, and a right cache afterwards."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import http.server
import io
import logging
import os
import pathlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vs_align import models
from vs_align.models import TOPIQ, Model, ModelError

CONTENT = bytes(range(256)) * 1024
SHORT = 1.0


class Server(http.server.ThreadingHTTPServer):
    """A loopback server that answers as `mode` says and counts the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = "good"
        self.requests = 0
        self.released = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        mode = self.server.mode
        if mode == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        if mode != "no length":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if mode == "wrong":
            self.wfile.write(bytes(len(CONTENT)))
        elif mode in {"cut off", "hang"}:
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
            if mode == "hang":
                self.server.released.wait(30)
        else:
            self.wfile.write(CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VS_ALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VS_ALIGN_TOPIQ", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def model(server: Server, cache: Path) -> Model:
    url = f"http://127.0.0.1:{server.server_address[1]}/weights.pth"
    return dataclasses.replace(TOPIQ, url=url, sha256=hashlib.sha256(CONTENT).hexdigest()[:8])


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def fails(model: Model, timeout_s: float = 30) -> str:
    """Return the one line that the failing call says."""
    with pytest.raises(ModelError) as caught:
        models.locate(model, timeout_s=timeout_s)
    line = str(caught.value)
    assert "\n" not in line
    assert not line.startswith("vs_align")
    return line


def test_topiq_carries_the_hash_that_its_file_name_announces() -> None:
    assert TOPIQ.url.endswith(TOPIQ.filename)
    assert TOPIQ.filename == f"cfanet_fr_kadid_res50-{TOPIQ.sha256}.pth"


def test_downloads_once_then_uses_the_cache(server: Server, model: Model, cache: Path) -> None:
    first = models.locate(model)
    assert first == cache / model.filename
    assert first.read_bytes() == CONTENT
    assert models.locate(model) == first
    assert server.requests == 1
    assert names(cache) == [model.filename]


def test_downloads_without_content_length(server: Server, model: Model) -> None:
    server.mode = "no length"
    assert models.locate(model).read_bytes() == CONTENT


def test_default_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VS_ALIGN_CACHE", raising=False)
    monkeypatch.setattr(models.platformdirs, "user_cache_dir", lambda name, **_: f"/somewhere/{name}")
    assert models.cache_folder() == Path("/somewhere/vs_align")


def test_argument_wins_over_environment_and_neither_is_hashed(
    server: Server, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, named = tmp_path / "mine.pth", tmp_path / "named.pth"
    mine.write_bytes(b"mine")
    named.write_bytes(b"named")
    monkeypatch.setenv(model.env, str(named))
    assert models.locate(model, mine) == mine
    assert models.locate(model, str(mine)) == mine
    assert models.locate(model) == named
    assert server.requests == 0


def test_missing_local_file(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no TOPIQ weights file at .*absent\.pth: pass the path"):
        models.locate(model, tmp_path / "absent.pth")


def test_missing_file_in_the_environment_variable(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(model.env, "absent.pth")
    assert f"unset the environment variable {model.env}" in fails(model)


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("wrong", "wrong hash"),
        ("cut off", f"cut off after {len(CONTENT) // 2} of {len(CONTENT)} bytes"),
        ("missing", "404"),
        ("hang", "timed out"),
    ],
)
def test_failed_download_leaves_nothing_and_can_be_mended(
    server: Server, model: Model, cache: Path, mode: str, says: str
) -> None:
    server.mode = mode
    line = fails(model, SHORT)
    assert says in line
    assert model.env in line
    assert model.url in line
    assert names(cache) == []
    server.mode = "good"
    assert models.locate(model).read_bytes() == CONTENT


def test_refused_connection(server: Server, model: Model, cache: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_address[1]
    line = fails(dataclasses.replace(model, url=f"http://127.0.0.1:{port}/weights.pth"))
    assert "check the network" in line
    assert names(cache) == []
    assert models.locate(model).read_bytes() == CONTENT


def test_wrong_cached_file_is_downloaded_again(server: Server, model: Model, cache: Path) -> None:
    cache.mkdir()
    (cache / model.filename).write_bytes(CONTENT[:-1])
    assert models.locate(model).read_bytes() == CONTENT
    assert server.requests == 1
    assert names(cache) == [model.filename]


def test_wrong_cached_file_is_downloaded_again_only_once(server: Server, model: Model, cache: Path) -> None:
    server.mode = "wrong"
    cache.mkdir()
    (cache / model.filename).write_bytes(b"old")
    assert "wrong hash" in fails(model)
    assert server.requests == 1
    assert names(cache) == [model.filename]


def test_hash_is_checked_on_every_call(server: Server, model: Model) -> None:
    path = models.locate(model)
    path.write_bytes(b"changed behind our back")
    assert models.locate(model).read_bytes() == CONTENT
    assert server.requests == 2


def test_file_in_place_of_the_cache_folder(server: Server, model: Model, cache: Path) -> None:
    cache.write_bytes(b"not a folder")
    line = fails(model)
    assert str(cache) in line
    assert "VS_ALIGN_CACHE" in line
    assert model.env in line
    assert cache.read_bytes() == b"not a folder"
    assert server.requests == 0
    cache.unlink()
    assert models.locate(model).read_bytes() == CONTENT


@pytest.mark.parametrize("call", ["open", "mkdir", "replace"])
def test_read_only_cache_folder(
    server: Server, model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    original = getattr(pathlib.Path, call)

    def refuse(self: Path, *args: object, **keywords: object) -> object:
        if call == "open" and args == ("rb",):
            return original(self, *args, **keywords)
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, call, refuse)
        line = fails(model)
    assert str(cache) in line
    assert "Permission denied" in line
    assert "VS_ALIGN_CACHE" in line
    assert names(cache) == []
    assert models.locate(model).read_bytes() == CONTENT


def test_full_disk(model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = pathlib.Path.open

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_full(self: Path, mode: str = "r") -> object:
        file = original(self, mode)
        if mode != "xb":
            return file
        file.close()
        return Full()

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "open", open_full)
        assert os.strerror(errno.ENOSPC) in fails(model)
    assert names(cache) == []
    assert models.locate(model).read_bytes() == CONTENT


def test_read_only_cache_that_holds_the_file_serves_it(
    server: Server, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.locate(model)

    def refuse(self: Path, *args: object, **keywords: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    for call in ("mkdir", "replace", "unlink"):
        monkeypatch.setattr(pathlib.Path, call, refuse)
    assert models.locate(model) == path


def test_interrupted_download_leaves_nothing(model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(models, "_read_chunk", interrupt)
        with pytest.raises(KeyboardInterrupt):
            models.locate(model)
    assert names(cache) == []
    assert models.locate(model).read_bytes() == CONTENT


def test_two_threads_at_once_download_once(server: Server, model: Model, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(models.locate, [model] * 4))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert server.requests == 1
    assert names(cache) == [model.filename]


def test_two_processes_at_once_leave_a_right_file(
    server: Server, model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoLock:
        """Two processes share no lock."""

        def __enter__(self) -> None:
            pass

        def __exit__(self, *fault: object) -> None:
            pass

    monkeypatch.setattr(models, "_locating", NoLock())
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(models.locate, [model] * 4))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert names(cache) == [model.filename]


def test_other_process_holding_the_file_on_windows(
    server: Server, model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_was_first(self: Path, target: Path) -> None:
        target.write_bytes(CONTENT)
        raise PermissionError(errno.EACCES, "Access is denied")

    monkeypatch.setattr(pathlib.Path, "replace", other_was_first)
    assert models.locate(model).read_bytes() == CONTENT
    assert names(cache) == [model.filename]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_on_a_terminal(
    model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with caplog.at_level(logging.INFO, "vs_align"):
        models.locate(model)
    drawn = terminal.getvalue()
    assert drawn.endswith("#]\n")
    assert drawn.count("\n") == 1
    assert not caplog.records
    assert capsys.readouterr().out == ""


def test_one_log_line_elsewhere(
    model: Model, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "vs_align"):
        models.locate(model)
    assert [record.getMessage() for record in caplog.records] == [
        f"downloading the TOPIQ weights (0 MB) from {model.url}"
    ]
    assert capsys.readouterr() == ("", "")


def test_no_progress_asked_for_and_no_console(
    model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with caplog.at_level(logging.INFO, "vs_align"):
        path = models.locate(model, progress=False)
        assert not caplog.records
        path.unlink()
        models.locate(model)
        assert len(caplog.records) == 1


@pytest.mark.torch
class TestLoad:
    @pytest.fixture
    def state(self) -> dict[str, object]:
        torch = pytest.importorskip("torch")
        return {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones((), dtype=torch.int64)}

    def same(self, left: dict[str, object], right: dict[str, object]) -> bool:
        torch = pytest.importorskip("torch")
        return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)

    @pytest.mark.parametrize("wrap", [None, "params", "state_dict"])
    def test_pytorch_file(self, state: dict[str, object], tmp_path: Path, wrap: str | None) -> None:
        torch = pytest.importorskip("torch")
        path = tmp_path / "weights.pth"
        torch.save({wrap: state} if wrap else state, path)
        assert self.same(models.load_state_dict(path), state)

    def test_names_of_parallel_training(self, state: dict[str, object]) -> None:
        assert self.same(models.state_dict_of({f"module.{name}": value for name, value in state.items()}), state)

    def test_safetensors_file(self, state: dict[str, object], tmp_path: Path) -> None:
        safetensors = pytest.importorskip("safetensors.torch")
        path = tmp_path / "weights.safetensors"
        safetensors.save_file(state, path)
        assert self.same(models.load_state_dict(path), state)

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    @pytest.mark.parametrize("content", [b"", b"<html>404</html>\n", bytes(range(256)) * 9, "half", None])
    def test_file_that_is_not_weights(
        self, state: dict[str, object], tmp_path: Path, suffix: str, content: bytes | str | None
    ) -> None:
        torch = pytest.importorskip("torch")
        path = tmp_path / f"weights{suffix}"
        if content == "half":
            torch.save(state, path)
            content = path.read_bytes()[: path.stat().st_size // 2]
        if isinstance(content, bytes):
            path.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            models.load_state_dict(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"params": {"a": "b"}}])
    def test_other_contents(self, tmp_path: Path, content: object) -> None:
        torch = pytest.importorskip("torch")
        path = tmp_path / "weights.pth"
        torch.save(content, path)
        with pytest.raises(ModelError, match="holds no weights"):
            models.load_state_dict(path)

    def test_code_in_the_file_is_not_run(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        path, trace = tmp_path / "weights.pth", tmp_path / "trace"
        torch.save({"a": Bomb(str(trace))}, path)
        with pytest.raises(ModelError):
            models.load_state_dict(path)
        assert not trace.exists()


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)
