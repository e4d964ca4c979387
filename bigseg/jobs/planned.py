"""A plan as it is told: what each step of a run would do, and what that takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class StepPlan:
    """What one step would do."""

    step: str
    blocks: int
    block: tuple[int, ...]
    """(t, z, y, x)."""
    skipped: int
    """Blocks where nothing is looked for, about."""
    memory: int
    """Bytes of a worker."""
    gets: int
    """Requests for stored objects, tables among them."""
    puts: int
    """The same; at most, as what is empty is not stored, and quick blocks share a record."""
    read: int
    """Bytes, as they are stored; before compression where nobody knows how much that is."""
    written: int
    hours: float | None
    """Of processors; None without a calibration."""
    gpu_hours: float | None


@dataclass(frozen=True)
class Plan:
    """What a run would do, and what it would cost."""

    run: str
    result: str
    """URL of what would be made."""
    steps: tuple[StepPlan, ...]
    workers: int
    worker_bytes: int
    """Memory of one worker in the step that needs most."""
    image: int | None
    """Bytes of what is looked at, as they are stored; None where it is not one image."""
    amplification: float | None
    """Bytes read of the image by the steps that show it to a network, by its own."""
    sizes: dict[str, int]
    """Bytes before compression, by what is stored."""
    stored: dict[str, int]
    """Bytes that are expected on disk; empty without a calibration."""
    cpu_hours: float | None
    gpu_hours: float | None
    wall_hours: float | None
    """With so many workers like this machine."""
    calibration: dict[str, Any] | None
    """Samples, their edges and the seconds they took."""
    untold: str = ""
    """Why there is no calibration, where none can be made."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        steps = [asdict(step) | {"block": list(step.block)} for step in self.steps]
        totals = {
            "read": sum(s.read for s in self.steps),
            "written": sum(s.written for s in self.steps),
            "gets": sum(s.gets for s in self.steps),
            "puts": sum(s.puts for s in self.steps),
            "blocks": sum(s.blocks for s in self.steps),
        }
        return asdict(self) | {"steps": steps, "totals": totals}

    def text(self) -> str:
        """Say it to a person."""
        head = ("step", "blocks", "memory", "reads", "writes", "GETs", "PUTs", "hours")
        lines = ["{:<18}{:>9}{:>10}{:>10}{:>10}{:>9}{:>9}{:>10}  block (t, z, y, x)".format(*head)]
        for step in self.steps:
            lines.append(
                f"{step.step:<18}{step.blocks:>9}{_bytes(step.memory):>10}{_bytes(step.read):>10}"
                f"{_bytes(step.written):>10}{step.gets:>9}{step.puts:>9}{_hours(step):>10}  "
                f"{', '.join(map(str, step.block))}" + _skipped(step)
            )
        lines += ["", *self._totals(), f"result      {self.result}", f"run folder  {self.run}"]
        return "\n".join(lines)

    def _totals(self) -> list[str]:
        lines = [
            f"memory      {_bytes(self.worker_bytes)} for each of {self.workers} worker(s)",
        ]
        if self.image is not None and self.amplification is not None:
            lines.append(
                f"input       {_bytes(self.image)} as it is stored; each byte is read "
                f"{self.amplification:.2f} times"
            )
        for name, raw in self.sizes.items():
            kept = f", {_bytes(self.stored[name])} compressed" if name in self.stored else ""
            lines.append(f"{name:<12}{_bytes(raw)} before compression{kept}")
        if self.calibration is None or self.wall_hours is None:
            why = self.untold or "not known without a calibration, which --calibrate asks for"
            return [*lines, f"time        {why}"]
        gpu = f", {_time(self.gpu_hours)} of GPUs" if self.gpu_hours else ""
        lines.append(
            f"time        {_time(self.cpu_hours)} of processors{gpu}; {_time(self.wall_hours)} "
            f"with {self.workers} worker(s) like this machine"
        )
        edges = " × ".join(map(str, self.calibration["sample"]))
        lines.append(
            f"calibrated  on {self.calibration['samples']} samples of {edges} voxels, in "
            f"{self.calibration['seconds']:.0f} s"
        )
        return lines


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count / 1e3:.0f} kB" if count else "–"


def _time(hours: float | None) -> str:
    seconds = (hours or 0.0) * 3600
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _hours(step: StepPlan) -> str:
    return "–" if step.hours is None else _time(step.gpu_hours or step.hours)


def _skipped(step: StepPlan) -> str:
    return f"  ({step.skipped} skipped)" if step.skipped else ""
