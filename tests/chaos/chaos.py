"""Kill bigseg at random moments, again and again, and count what it costs.

    python -m tests.chaos.chaos --kills 200 --seed 1

Drivers, tasks of job arrays, workers and schedulers are killed with `kill -9` at moments that the
seed decides, over all steps, also while they write. Whatever was killed is started again by the
same command, until its run is finished; that must then be an undisturbed one to the last byte.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.dask_chaos import dask_run, local_run
from tests.chaos.world import Broken, Place, Reference, Tally, World, steps_of
from tests.chaos.zygote import Process, Zygote

KILLED = -9
PER_RUN = 10
"""Kills that one run suffers, about."""


@dataclass
class Chaos:
    """A world, its undisturbed runs, and what has been broken so far."""

    world: World
    random: random.Random
    tallies: dict[str, Tally] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)
    count: int = 0

    def reference(self, kind: str) -> Reference:
        if kind not in self.references:
            self.references[kind] = self.world.reference(kind)
        return self.references[kind]

    def place(self, name: str) -> Place:
        """Room for another run."""
        self.count += 1
        tally = self.tallies.setdefault(name, Tally())
        folder = self.world.folder / f"run-{self.count}"
        pause = self.random.choice(["0", "0", "1"])
        return Place(folder, self.world.zygote, self.random, tally, pause)

    def kills(self, name: str) -> int:
        return self.tallies.get(name, Tally()).kills.total()


def break_driver(
    chaos: Chaos, name: str, wanted: int, *, kind: str = "segment", how: tuple[str, ...]
) -> None:
    """Kill the driver of runs that it computes itself."""
    reference = chaos.reference(kind)
    while chaos.kills(name) < wanted:
        place = chaos.place(name)
        command = (*chaos.world.command(kind, place), *how)
        while True:
            if chaos.kills(name) < wanted:
                place.arm(max(2 * reference.moments // PER_RUN, 2))
            process = place.start(*command)
            code = process.wait()
            place.disarm()
            place.look(reference)
            if code == 0:
                break
            _must_be_killed(process, code)
            place.tally.resumed += 1
            if chaos.random.random() < 0.3 and Path(place.run, "run.json").exists():
                command = ("run", place.run, *how)
        place.end(reference)


def break_tasks(chaos: Chaos, name: str, wanted: int) -> None:
    """Kill tasks of job arrays, two of which compute each step side by side."""
    reference = chaos.reference("segment")
    while chaos.kills(name) < wanted:
        place = chaos.place(name)
        command = chaos.world.command("segment", place)
        _again(chaos, place, reference, name, wanted, [(*command, "--prepare")])
        for step, blocks in steps_of(place.run):
            both = ("block", place.run, "--stage", step)
            if blocks == 1:
                _again(chaos, place, reference, name, wanted, [(*both, "--finish")])
                continue
            share = [(*both, "--task", str(task), "--tasks", "2") for task in (1, 2)]
            _again(chaos, place, reference, name, wanted, share)
            close = ("finish", place.run, "--stage", step)
            _again(chaos, place, reference, name, wanted, [close])
        place.end(reference)


def _again(
    chaos: Chaos,
    place: Place,
    reference: Reference,
    name: str,
    wanted: int,
    commands: list[tuple[str, ...]],
) -> None:
    """Give commands side by side, and those that are killed once more."""
    while commands:
        if chaos.kills(name) < wanted and chaos.random.random() < 0.6:
            place.arm(max(reference.moments // 2 // PER_RUN, 2), role="task")
        running = [(command, place.start(*command, role="task")) for command in commands]
        codes = [process.wait() for _, process in running]
        place.disarm()
        place.look(reference)
        commands = []
        for code, (command, process) in zip(codes, running, strict=True):
            if code != 0:
                _must_be_killed(process, code)
                place.tally.resumed += 1
                commands.append(command)


def break_cluster(chaos: Chaos, name: str, wanted: int, do: Callable[..., None] = dask_run) -> None:
    """Kill workers and driver of a Dask cluster, and the scheduler where it is its own process."""
    reference = chaos.reference("segment")
    while chaos.kills(name) < wanted:
        place = chaos.place(name)
        most = max(reference.moments // PER_RUN, 2)
        command = chaos.world.command("segment", place)
        do(place, reference, command, lambda: chaos.kills(name) < wanted, most)
        place.end(reference)


def _must_be_killed(process: Process, code: int) -> None:
    if code != KILLED:
        raise Broken(f"A command ended with exit code {code}: {process.said()}")


LEGEND = """
kills     sent with kill -9; 'in write': by a process to itself, while a file was half written
resumed   commands that were given again; workers and schedulers were started again besides
blocks    computed in all; 'again': once more, as a kill came before they were recorded;
          'twice': although they had been recorded
compared  recorded blocks whose data were those of the undisturbed run, right after a kill
left      unfinished files beside the results, which no reader takes for data; they were swept

Every run ended as the undisturbed one, to the last byte of labels, tables and metadata.
"""
Way = Callable[[Chaos, int], None]
WAYS: dict[str, tuple[int, Way]] = {
    "driver, serial": (
        25, lambda c, n: break_driver(c, "driver, serial", n, how=("--cluster", "serial"))
    ),
    "driver, threads": (
        20,
        lambda c, n: break_driver(
            c, "driver, threads", n, how=("--cluster", "threads", "--workers", "2")
        ),
    ),
    "job array": (20, lambda c, n: break_tasks(c, "job array", n)),
    "cluster": (15, lambda c, n: break_cluster(c, "cluster", n)),
    "local workers": (10, lambda c, n: break_cluster(c, "local workers", n, local_run)),
    "merge": (
        5,
        lambda c, n: break_driver(c, "merge", n, kind="merge", how=("--cluster", "serial")),
    ),
    "track": (
        5,
        lambda c, n: break_driver(c, "track", n, kind="track", how=("--cluster", "serial")),
    ),
}  # fmt: skip
"""Ways to break runs, and how many of 100 kills each gets."""


def table(tallies: dict[str, Tally]) -> str:
    """What happened, as text."""
    head = (
        "", "kills", "in write", "resumed", "runs", "blocks", "again", "twice", "compared", "left"
    )  # fmt: skip
    rows = [
        (
            name, t.kills.total(), t.inside, t.resumed, t.runs, t.computed, t.again,
            t.recorded_again, t.compared, t.left,
        )
        for name, t in tallies.items()
    ]  # fmt: skip
    sums = [sum(int(row[i]) for row in rows) for i in range(1, len(head))]
    lines = ["".join(f"{cell:>10}" if i else f"{cell:<17}" for i, cell in enumerate(row))
             for row in (head, *rows, ("all", *sums))]  # fmt: skip
    victims: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    for tally in tallies.values():
        for (victim, step), count in tally.kills.items():
            victims[victim] += count
            steps[step] += count
    lines += ["", "killed  " + ", ".join(f"{n} {v}s" for v, n in victims.most_common())]
    lines += ["during  " + ", ".join(f"{step} {n}" for step, n in steps.most_common())]
    return "\n".join(lines)


def main() -> int:
    """Run the long version."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="how many at least (200)")
    parser.add_argument("--seed", type=int, default=None, help="decides when; default: random")
    parser.add_argument("--only", help="one way: " + "; ".join(WAYS))
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**6)
    say = sys.stdout.write
    say(f"seed {seed}; the same: python -m tests.chaos.chaos --kills {asked.kills} --seed {seed}\n")
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with Zygote(folder) as zygote:
        chaos = Chaos(World.make(folder, zygote), random.Random(seed))
        ways = {asked.only: (100, WAYS[asked.only][1])} if asked.only else WAYS
        try:
            for name, (percent, way) in ways.items():
                way(chaos, -(-asked.kills * percent // 100))
                say(f"{name}: {chaos.kills(name)} kills, {time.monotonic() - started:.0f} s\n")
                sys.stdout.flush()
        except (Broken, TimeoutError) as broken:
            say(f"BROKEN: {broken}\n{table(chaos.tallies)}\nAll is kept in {folder}.\n")
            return 1
    say(f"\n{table(chaos.tallies)}\n")
    say(LEGEND)
    import shutil

    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
