"""The way of one pair through the jobs that it needs, and what of it is there already."""

import shutil
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from ..command import failure
from ..faults import Refusal
from ..files import check_input
from .made import Made, identity, key_of
from .pairs import Pair
from .pool import Job
from .settings import COMPARE, ENCODE, Settings
from .window import Chunk, Join, Probe, chunks
from .work import HERE, Commands, Outcome

__all__ = ["Course", "State"]


class State(StrEnum):
    """How far a pair is."""

    WAITING = "waiting"
    MADE = "made"
    KEPT = "kept"
    FAILED = "FAILED"


class Course:
    """One pair on its way.

    Args:
        pair: the pair.
        settings: what is asked for of it.
        made: the record of what there is.
        folder: of the results.
    """

    def __init__(self, pair: Pair, settings: Settings, made: Made, folder: Path) -> None:
        self.pair, self.state, self.reason, self.seconds = pair, State.WAITING, "", 0.0
        self._settings, self._made, self._folder = settings, made, folder
        self._keys: dict[str, str] = {}
        self._force = False
        self._parts: list[tuple[int, int]] = []
        self._pending: set[str] = set()

    @property
    def table(self) -> str:
        """The name of the file that says which frame is which."""
        return f"{self.pair.name}.csv" if self._settings.window else f"{self.pair.name}.json"

    @property
    def video(self) -> str | None:
        """The name of the video; None: none is asked for."""
        return self.pair.out if self._settings.render else None

    def begin(self, force: bool) -> list[Job]:
        """Return the first jobs; none where all is there, or nothing can be done.

        Args:
            force: whether what is there counts for nothing.
        """
        try:
            for path in (self.pair.clip, self.pair.ref):
                check_input(path)
            inputs = [identity(path) for path in (self.pair.clip, self.pair.ref)]
            weights = self._settings.options.get("weights")
            if weights is not None:
                check_input(Path(weights), "a file of weights")
                inputs.append(identity(Path(weights)))
            self._set_keys(inputs)
            self._force = force
            self._strangers()
        except (Refusal, OSError) as error:
            self._fail(failure(error) or str(error))
            return []
        return self._window_jobs() if self._settings.window else self._path_jobs()

    def _set_keys(self, inputs: Sequence[Mapping[str, object]]) -> None:
        matched = key_of("window" if self._settings.window else "path", inputs, self._settings.chosen(COMPARE))
        shown = key_of(matched, self._settings.chosen(ENCODE), Path(self.pair.out).suffix)
        name = self.pair.name
        self._keys = {f"{name}/table": matched, f"{name}/video": shown}

    def _strangers(self) -> None:
        """Refuse to overwrite what was not made here."""
        for name in filter(None, (self.table, self.video)):
            path = self._folder / name
            if path.exists() and not self._force and not self._made.owns(name):
                raise Refusal(f"{path} is there already and was not made by this batch; pass --force to overwrite it.")
            if any(path.resolve() == source.resolve() for source in (self.pair.clip, self.pair.ref)):
                raise Refusal(f"{path} is read as well; name another out.")

    def _has(self, what: str) -> bool:
        unit = f"{self.pair.name}/{what}"
        return not self._force and self._made.has(unit, self._keys[unit])

    def _path_jobs(self) -> list[Job]:
        """Return the one job that analyses, and renders where that is asked for; of it only what is missing."""
        table, video = self._has("table"), self.video is None or self._has("video")
        if table and video:
            self.state = State.KEPT
            return []
        clip, ref = self.pair.clip, self.pair.ref
        lines = []
        alignment = self._folder / self.table
        if not table:
            alignment = Path(HERE, self.table)
            lines.append(self._settings.analyse(clip, ref, alignment))
        if self.video is not None and not (table and video):
            lines.append(self._settings.encode(clip, ref, alignment, Path(HERE, Path(self.video).name)))
        return [Job(self.pair.name, "path", Commands(lines))]

    def _window_jobs(self) -> list[Job]:
        if self._has("table") and (self.video is None or self._has("video")):
            self.state = State.KEPT
            return []
        encoding = None if self.video is None else self._settings.encoding()
        probe = Probe(self.pair.clip, self.pair.ref, Path(self.pair.out).name, encoding, self._audio())
        return [Job(self.pair.name, "probe", probe)]

    def on(self, job: Job, outcome: Outcome, folder: Path) -> list[Job]:
        """Take what came of a job; return what comes next.

        Args:
            job: the job.
            outcome: what came of it.
            folder: where its files are.
        """
        if job.unit.startswith("chunk") and outcome.reason is None:
            self._take_chunk(job.unit, outcome, folder)
            self._pending.discard(job.unit)
        elif job.unit in ("path", "join"):
            self._take(outcome, folder)
        if outcome.reason is not None:
            self._fail(outcome.reason)
        elif job.unit == "probe":
            self._parts = chunks(int(outcome.facts["frames"]), self._settings.chunk_frames)
            return self._next_chunks()
        elif job.unit.startswith("chunk"):
            return self._joined()
        else:
            self._made.forget(self._made.units(f"{self.pair.name}/chunk "))
            shutil.rmtree(self._folder / f"{self.pair.name}.chunks", ignore_errors=True)
            self.state = State.MADE
        return []

    def _take(self, outcome: Outcome, folder: Path) -> None:
        """Put results where they belong; those that are whole also where a later step failed."""
        for what, name in (("table", self.table), ("video", self.video)):
            if name is not None and Path(name).name in outcome.files:
                held = Path(name).name
                unit = f"{self.pair.name}/{what}"
                self._made.take(unit, self._keys[unit], {name: (folder / held, outcome.files[held])})

    def _take_chunk(self, unit: str, outcome: Outcome, folder: Path) -> None:
        place = self._place(unit)
        moves = {f"{place}/{name}": (folder / name, digest) for name, digest in outcome.files.items()}
        self._made.take(f"{self.pair.name}/{unit}", self._chunk_key(), moves)

    def _chunk_key(self) -> str:
        return self._keys[f"{self.pair.name}/{'table' if self.video is None else 'video'}"]

    def _place(self, unit: str) -> str:
        """Return the folder of a chunk's files, below that of the results."""
        return f"{self.pair.name}.chunks/{unit.removeprefix('chunk ')}"

    def _next_chunks(self) -> list[Job]:
        """Return a job for each chunk that is not there."""
        encoding = None if self.video is None else self._settings.encoding()
        clip, ref, options = self.pair.clip, self.pair.ref, self._settings.chosen(COMPARE)
        ending, key = Path(self.pair.out).suffix, self._chunk_key()
        jobs = [
            Job(self.pair.name, _unit(first, stop), Chunk(clip, ref, first, stop, options, encoding, ending))
            for first, stop in self._parts
            if self._force or not self._made.has(f"{self.pair.name}/{_unit(first, stop)}", key)
        ]
        self._pending = {job.unit for job in jobs}
        return jobs or self._joined()

    def _audio(self) -> Path | None:
        return self.pair.ref if self.video is not None and self._settings.options.get("audio") == "ref" else None

    def _joined(self) -> list[Job]:
        """Return what joins the chunks, once all are there."""
        if self._pending:
            return []
        parts = [(self._folder / self._place(_unit(first, stop)), first) for first, stop in self._parts]
        video = None if self.video is None else Path(self.video).name
        join = Join(self.pair.ref, parts, self.table, video, Path(self.pair.out).suffix, self._audio())
        return [Job(self.pair.name, "join", join)]

    def _fail(self, reason: str) -> None:
        if self.state is not State.FAILED:
            self.state, self.reason = State.FAILED, reason


def _unit(first: int, stop: int) -> str:
    return f"chunk {first:08d}-{stop:08d}"
