"""Write jobs as scripts of a batch system: readable, to be changed and run by anybody."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from bigseg.errors import SpecError
from bigseg.run.arrays.plan import Job
from bigseg.run.arrays.schedulers import Scheduler, template
from bigseg.storage import current

LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables that say how many threads libraries use."""
SUBMIT = "submit.sh"


@dataclass(frozen=True)
class Wishes:
    """What jobs ask of a site, the same for all of them."""

    minutes: int = 240
    """Longest time of a task."""
    memory: int = 8
    """GB of a task."""
    cores: int = 2
    """Of a task."""
    gpus: int = 0
    """Of a task of a step that can use them."""
    directives: tuple[str, ...] = ()
    """What else is asked of the batch system, as --account=ours."""
    gpu_directives: tuple[str, ...] = ()
    """The same, for jobs that use a graphics card."""
    setup: tuple[str, ...] = ()
    """Lines of shell that come first in a job, as module load …"""
    command: str = ""
    """How bigseg is called; empty: by the Python that is running."""
    at_once: int | None = None
    """Most tasks of an array that run at the same time."""

    @property
    def uses_gpus(self) -> bool:
        """Whether some jobs ask for a graphics card."""
        return bool(self.gpus or self.gpu_directives)

    def check(self) -> None:
        """Refuse what would break a script.

        Raises
        ------
        SpecError
            If a directive is more than a line.
        """
        for line in (*self.directives, *self.gpu_directives):
            if "\n" in line:
                raise SpecError(f"The directive {line!r} must be one line; give each on its own.")


@dataclass(frozen=True)
class Place:
    """Where scripts and logs of one submission are, and what they are about."""

    folder: Path
    """Absolute; compute nodes must see it."""
    run: str
    scheduler: Scheduler


def parse_minutes(text: str) -> int:
    """Minutes of a time given as H:MM, H:MM:00 or minutes.

    >>> parse_minutes("1:30")
    90
    """
    found = re.fullmatch(r"(?:(\d+):)?(\d+)(?::00)?", text.strip())
    minutes = 60 * int(found[1] or 0) + int(found[2]) if found else 0
    if not minutes:
        raise SpecError(f"--time is '{text}'; it must be hours and minutes, as 4:00.")
    return minutes


def write_scripts(place: Place, jobs: Sequence[Job], wishes: Wishes, max_array: int) -> Path:
    """Write scripts, lists of blocks and `submit.sh`, which is returned.

    Parameters
    ----------
    jobs
        In order, each needing the one before it.
    max_array
        Most tasks of an array; more become several arrays.
    """
    wishes.check()
    (place.folder / "logs").mkdir(parents=True)
    for job in jobs:
        _write(place.folder / f"{job.name}.sh", job_script(place, job, wishes))
        if job.is_array:
            (place.folder / f"{job.name}.blocks").write_text("\n".join(job.tasks) + "\n")
    path = place.folder / SUBMIT
    _write(path, submit_script(place, jobs, wishes, max_array))
    return path


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def job_script(place: Place, job: Job, wishes: Wishes) -> str:
    """Script of a job."""
    body = template("blocks") if job.is_array else template("steps")
    values = {
        "JOB": f"bigseg-{job.step or job.name.partition('-')[2]}",
        "NAME": job.name,
        "STEP": job.step,
        "FOLDER": shlex.quote(str(place.folder)),
        "RUN": shlex.quote(place.run),
        "COMMAND": command(wishes),
        "INDEX": place.scheduler.index,
        "ENVIRONMENT": "\n".join([*wishes.setup, _threads(wishes.cores), *_buckets()]),
        "WHAT": _what(job),
        "LINES": "\n".join(_lines(job, place, wishes)),
    }
    return fill(place.scheduler.template("head") + body, _asked(place, job, wishes) | values)


def _asked(place: Place, job: Job, wishes: Wishes) -> dict[str, str]:
    """What the head of a script asks for."""
    scheduler = place.scheduler
    gpus = scheduler.gpus.replace("@GPUS@", str(wishes.gpus)) if job.gpu and wishes.gpus else ""
    more = [*wishes.directives, *(wishes.gpu_directives if job.gpu else ())]
    lines = [f"{scheduler.prefix} {directive}" for directive in more]
    if gpus.startswith(scheduler.prefix):  # else it is a part of another line
        lines.insert(0, gpus)
    hours, minutes = divmod(wishes.minutes, 60)
    return {
        "TIME": f"{hours:02}:{minutes:02}:00",
        "HOURS": str(hours),
        "MINUTES": f"{minutes:02}",
        "CORES": str(wishes.cores),
        "SLOTS": f"#$ -pe smp {wishes.cores}" if wishes.cores > 1 else "",
        "MEMORY": str(wishes.memory),
        "MEMORY_OF_CORE": str(ceil(wishes.memory / wishes.cores)),
        "GPU_PART": "" if gpus.startswith(scheduler.prefix) else gpus,
        "DIRECTIVES": "\n".join(lines),
    }


def _threads(cores: int) -> str:
    settings = [f"{name}={cores}" for name in LIBRARIES]
    return f"export {' '.join(settings)} OMP_WAIT_POLICY=passive"


def _buckets() -> list[str]:
    """How jobs reach buckets, if this process was told; credentials are never written."""
    said = current().environment()
    return [f"export {name}={shlex.quote(value)}" for name, value in said.items()]


def command(wishes: Wishes) -> str:
    """How scripts call bigseg: as the user says, or by the Python that is running, in full."""
    return wishes.command or f"{shlex.quote(sys.executable)} -m bigseg"


def _what(job: Job) -> str:
    parts = [f"Close {job.closes}." if job.closes else ""]
    parts.append(f"Do {', '.join(job.steps)}." if job.steps else "")
    return " ".join(part for part in parts if part) or "Close the run."


def _lines(job: Job, place: Place, wishes: Wishes) -> list[str]:
    """Commands of a job that does steps one after the other."""
    bigseg, run = command(wishes), shlex.quote(place.run)
    lines = [f"{bigseg} finish {run} --stage {job.closes}"] if job.closes else []
    if job.last:  # the steps that are left are what this would do, and it tidies up, too
        return [*lines, f"{bigseg} run {run} --cluster serial"]
    if job.steps:
        lines += [
            f"for step in {' '.join(job.steps)}; do",
            f'  {bigseg} block {run} --stage "$step" --finish',
            "done",
        ]
    return lines


def submit_script(place: Place, jobs: Sequence[Job], wishes: Wishes, max_array: int) -> str:
    """Script that submits all jobs in order."""
    at_once = ""
    if wishes.at_once is not None:
        at_once = f"-tc {wishes.at_once}" if place.scheduler.name == "sge" else f"%{wishes.at_once}"
    function = fill(place.scheduler.template("submit"), {"AT_ONCE": at_once})
    lines: list[str] = []
    for number, job in enumerate(jobs):
        lines += ["", f"# {_said(job)}"]
        needed = f" $job_{number}" if number else ""
        chunks = [(0, 1)] if not job.is_array else chunk(len(job.tasks), max_array)
        for i, (first, tasks) in enumerate(chunks):
            sign = "+=" if i else "="
            space = " " if i else ""
            lines.append(
                f'job_{number + 1}{sign}"{space}$(submit {job.name} {first} {tasks}{needed})"'
            )
    values = {
        "RUN_TEXT": place.run,
        "SCHEDULER": place.scheduler.name.upper(),
        "SUBMIT": function,
        "JOBS": "\n".join(lines).strip(),
    }
    return fill(template(SUBMIT.removesuffix(".sh")), values)


def _said(job: Job) -> str:
    return f"{job.step}: {len(job.tasks)} task(s)" if job.is_array else _what(job)


def chunk(tasks: int, most: int) -> list[tuple[int, int]]:
    """Arrays of at most `most` tasks: how many come before each, and its tasks.

    >>> chunk(5, 2)
    [(0, 2), (2, 2), (4, 1)]
    """
    return [(first, min(most, tasks - first)) for first in range(0, tasks, most)]


def fill(text: str, values: dict[str, str]) -> str:
    """Put values into the @PLACES@ of a template; a line that holds only an empty one goes."""
    lines = []
    for line in text.splitlines():
        filled = re.sub(r"@([A-Z_]+)@", lambda found: values.get(found[1], found[0]), line)
        if filled or not line:
            lines.append(filled)
    return "\n".join(lines) + "\n"
