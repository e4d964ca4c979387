"""Runs that are broken again and again: how they are started, what they must leave behind."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bigseg import disk, files
from bigseg.run.folder import Run, is_run, open_run
from bigseg.run.ledger import Ledger
from tests.chaos import model
from tests.chaos.zygote import Process, Zygote

Key = tuple[str, int]
"""Step and number of a block."""
KINDS = ("segment", "merge", "track")
NETWORK = ("--model", "tests.chaos.model:flows", "--block", "48,48", "--keep-scratch")


TIMES = ("out.zarr.bigseg/ledger/", "out.zarr.bigseg/report/")
"""What says when and how fast it was made."""


class Broken(AssertionError):
    """A promise is not kept."""


@dataclass
class Tally:
    """What happened, of one kind of victim."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By victim and step."""
    inside: int = 0
    """Kills while a file was being written."""
    resumed: int = 0
    runs: int = 0
    computed: int = 0
    again: int = 0
    """Blocks that were computed again, as they had not been recorded."""
    recorded_again: int = 0
    """Blocks that were computed again although they were recorded: must stay 0."""
    compared: int = 0
    """Recorded blocks whose data were compared with those of the undisturbed run, after a kill."""
    left: int = 0
    """Unfinished files that kills left, which nobody reads, and `sweep` removes after a while."""


@dataclass(frozen=True)
class Reference:
    """An undisturbed run."""

    folder: Path
    wrote: dict[Key, list[str]]
    """Files of each block, relative to the folder."""
    moments: int
    """How often a kill could have come."""


@dataclass
class Place:
    """Where one run is broken: its folder, its log, and the kill that is armed."""

    folder: Path
    zygote: Zygote
    random: random.Random
    tally: Tally
    pause: str = "0"
    """Seconds between records; 0: each block has its own, as blocks do that take long."""
    recorded: set[Key] = field(default_factory=set)
    armed: str | None = None
    apart: Path | None = None
    """Where results lie, if not in the folder."""
    _read: int = 0
    _first: set[Key] = field(default_factory=set)
    _strikes: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()

    @property
    def results(self) -> Path:
        return self.apart or self.folder

    @property
    def output(self) -> Path:
        return self.results / "out.zarr"

    @property
    def run(self) -> str:
        return f"{self.output}.bigseg"

    def start(self, *arguments: str, role: str = "driver", **more: str) -> Process:
        """Begin a command, in which a kill may strike."""
        mine = {
            "BIGSEG_CHAOS": str(self.folder),
            "BIGSEG_CHAOS_ROLE": role,
            "BIGSEG_CHAOS_PAUSE": self.pause,
        }
        return self.zygote.start(*arguments, **mine, **more)

    def arm(
        self, most: int, role: str = "driver", victim: str = "", process: int | None = None
    ) -> None:
        """Let a kill come at one of the next `most` moments of a process, or soon after it."""
        self._strikes += 1
        soon = self.random.random() < 0.3
        kill = {
            "id": f"{self._strikes}",
            "role": role,
            "victim": victim or role,
            "process": process,
            "after": self.random.randrange(most),
            "delay": self.random.uniform(0.001, 0.1) if soon else 0.0,
            "rest": 0.2,
            "hold": False,
        }
        self._put(kill)

    def hold(self, after: int) -> None:
        """Let a process wait at one of its moments, until `go`."""
        self._strikes += 1
        self._put(
            {"id": f"{self._strikes}", "role": "driver", "after": after, "delay": 0, "hold": True}
        )

    def go(self) -> None:
        (self.folder / "go").touch()

    def _put(self, kill: dict[str, Any]) -> None:
        self.armed = str(kill["id"])
        files.put(str(self.folder / "armed"), json.dumps(kill).encode())

    def taken(self) -> bool:
        """Whether the kill that was armed has been carried out, or is about to be."""
        return (self.folder / f"taken-{self.armed}").exists()

    def disarm(self) -> None:
        (self.folder / "armed").unlink(missing_ok=True)
        self.armed = None

    def read_log(self) -> None:
        """Count what processes did since the last time, and hold it against what was recorded."""
        log = self.folder / "log"
        data = log.read_bytes()[self._read :] if log.exists() else b""
        whole = data.rpartition(b"\n")[0]
        self._read += len(whole) + bool(whole)
        for line in whole.split(b"\n") if whole else []:
            self._take(json.loads(line))

    def _take(self, told: dict[str, Any]) -> None:
        tally = self.tally
        if told["event"] == "kill":
            tally.kills[told["victim"], told["step"] or "begin"] += 1
            own = told["victim"] == told["role"]
            tally.inside += own and told["moment"] in ("half written", "not yet named")
        if told["event"] == "start":
            key = (told["step"], told["number"])
            tally.computed += 1
            tally.again += key in self._first
            self._first.add(key)
            if told["recorded"] or key in self.recorded:
                tally.recorded_again += 1
                raise Broken(f"Block {key} was recorded and is computed again; {self.folder}.")

    def look(self, reference: Reference) -> None:
        """Hold all that can be seen now against the undisturbed run."""
        self.read_log()
        if not is_run(self.run):
            return
        run = open_run(self.run)
        recorded = set(_recorded(run))
        if lost := self.recorded - recorded:
            raise Broken(f"The records of the blocks {lost} are lost; {self.folder}.")
        self.recorded = recorded
        for key in recorded:
            for path in reference.wrote.get(key, ()):
                self._compare(path, reference, f"block {key} is recorded")
                self.tally.compared += 1
        for path in _chunks(self.results):
            self._compare(path, reference, "it can be seen")
        if _published(self.output):
            for path in _chunks(reference.folder):
                if path.startswith("out.zarr/"):
                    self._compare(path, reference, "labels are published")

    def _compare(self, path: str, reference: Reference, why: str) -> None:
        expected, found = reference.folder / path, self.results / path
        if not expected.exists():  # removed at the end of a run
            return
        if not found.exists() or found.read_bytes() != expected.read_bytes():
            state = "differs" if found.exists() else "is missing"
            raise Broken(f"{found} {state}, although {why}.")

    def end(self, reference: Reference) -> None:
        """Hold a finished run against the undisturbed one."""
        self.look(reference)
        self.tally.runs += 1
        self.tally.left += disk.sweep(self.output, age=0.0)
        same_tree(self.output, reference.folder / "out.zarr")


def _recorded(run: Run) -> Iterator[Key]:
    for step in run.steps:
        ledger = Ledger.of(run, step)
        yield from (
            (step.name, int(n)) for n in ledger.tally(len(step.spec.grid)).done.nonzero()[0]
        )


def _chunks(folder: Path) -> list[str]:
    """Stored pieces of arrays that a reader could see, relative to a folder."""
    paths = [path for path in files.tree(str(folder)) if "/c/" in path]
    return [path for path in paths if path.startswith("out.zarr")]


def _published(labels: Path) -> bool:
    group = labels / "zarr.json"
    return group.exists() and "multiscales" in group.read_text()


def same_tree(one: Path, other: Path) -> None:
    """Refuse two folders that differ in anything that can be seen: levels, tables, metadata."""
    found, expected = (
        sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())
        for top in (one, other)
    )
    if found != expected:
        raise Broken(f"{one} and {other} hold different files: {set(found) ^ set(expected)}.")
    for path in found:
        if (one / path).read_bytes() != (other / path).read_bytes():
            raise Broken(f"{one / path} differs from that of the undisturbed run.")


@dataclass(frozen=True)
class World:
    """What is segmented, merged and tracked, and the undisturbed runs."""

    folder: Path
    zygote: Zygote

    @classmethod
    def make(cls, folder: Path, zygote: Zygote) -> World:
        model.make_series(str(folder / "image.zarr"))
        model.make_tiles(folder / "tiles")
        model.make_masks(folder / "masks")
        return cls(folder, zygote)

    def command(self, kind: str, place: Place) -> tuple[str, ...]:
        """How a run is begun, and continued."""
        output = str(place.output)
        if kind == "segment":
            return ("segment", str(self.folder / "image.zarr"), output, *NETWORK)
        if kind == "merge":
            tiles = str(self.folder / "tiles" / "tile_y{y}_x{x}.tif")
            return ("merge", tiles, output, "--block", "48,48")
        return ("track", str(self.folder / "masks"), output)

    def reference(self, kind: str) -> Reference:
        """Make an undisturbed run, and note what each block writes."""
        place = Place(self.folder / f"reference-{kind}", self.zygote, random.Random(0), Tally())
        command = (*self.command(kind, place), "--cluster", "serial")
        process = place.start(*command, BIGSEG_CHAOS_WRITES="1")
        if process.wait() != 0:
            raise RuntimeError(f"The undisturbed run failed: {process.said()}")
        wrote: dict[Key, list[str]] = {}
        moments = 0
        for line in (place.folder / "log").read_text().splitlines():
            told = json.loads(line)
            moments += 3 if told["event"] == "write" else 1
            if told["event"] == "write" and told["number"] is not None:
                path = files.relative(told["path"], str(place.folder))
                if not path.startswith(TIMES):
                    wrote.setdefault((told["step"], told["number"]), []).append(path)
        return Reference(place.folder, wrote, moments)


def wait_until(ready: Any, what: str, patience: float = 120.0) -> None:
    end = time.monotonic() + patience
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"Waited {patience:.0f} s for {what}.")
        time.sleep(0.01)


def steps_of(url: str) -> Sequence[tuple[str, int]]:
    return [(step.name, len(step.spec.grid)) for step in open_run(url).steps]
