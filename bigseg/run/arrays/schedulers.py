"""What batch systems call things, and what they say about this site and about jobs."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.resources import files as package_files

from bigseg.errors import SpecError

ANSWER = 30.0
"""Seconds that a batch system may take to answer."""


@dataclass(frozen=True)
class Scheduler:
    """A batch system. Its templates say the rest."""

    name: str
    prefix: str
    """How a line of a script begins that speaks to it."""
    index: str
    """Variable that holds the number of an array's task."""
    gpus: str
    """What asks for @GPUS@ graphics cards."""
    usual_array: int
    """Most tasks of an array, where the site says nothing else."""
    limits: tuple[str, ...]
    """Command that shows the site's settings."""
    limit: str
    """Pattern of the setting for the most tasks of an array."""
    spare: int
    """How much smaller an array must be than that setting."""
    queue: tuple[str, ...]
    """Command that lists the user's jobs that have not ended, ids first."""
    cancel: str
    """Command that ends jobs."""

    def template(self, name: str) -> str:
        """Text of a template of this batch system."""
        return template(f"{self.name}/{name}")


SCHEDULERS = {
    one.name: one
    for one in (
        Scheduler(
            name="slurm",
            prefix="#SBATCH",
            index="SLURM_ARRAY_TASK_ID",
            gpus="#SBATCH --gres=gpu:@GPUS@",
            usual_array=1000,
            limits=("scontrol", "show", "config"),
            limit=r"^MaxArraySize\s*=\s*(\d+)",
            spare=1,  # it bounds the index, from 0
            queue=("squeue", "--me", "--noheader", "--format=%F"),
            cancel="scancel",
        ),
        Scheduler(
            name="lsf",
            prefix="#BSUB",
            index="LSB_JOBINDEX",
            gpus='#BSUB -gpu "num=@GPUS@"',
            usual_array=1000,
            limits=("bparams", "-a"),
            limit=r"^\s*MAX_JOB_ARRAY_SIZE\s*=\s*(\d+)",
            spare=0,
            queue=("bjobs", "-noheader", "-o", "jobid"),
            cancel="bkill",
        ),
        Scheduler(
            name="pbs",
            prefix="#PBS",
            index="PBS_ARRAY_INDEX",
            gpus=":ngpus=@GPUS@",
            usual_array=10000,
            limits=("qmgr", "-c", "list server max_array_size"),
            limit=r"^\s*max_array_size\s*=\s*(\d+)",
            spare=0,
            queue=("qstat",),
            cancel="qdel",
        ),
        Scheduler(
            name="sge",
            prefix="#$",
            index="SGE_TASK_ID",
            gpus="#$ -l gpu=@GPUS@",
            usual_array=75000,
            limits=("qconf", "-sconf"),
            limit=r"^max_aj_tasks\s+(\d+)",
            spare=0,
            queue=("qstat",),
            cancel="qdel",
        ),
    )
}


def template(name: str) -> str:
    """Text of a template that comes with bigseg."""
    return (package_files("bigseg.run.arrays") / "templates" / f"{name}.sh").read_text("utf-8")


def find_scheduler(name: str) -> Scheduler:
    """Batch system of a name; SpecError lists those that are known."""
    if name not in SCHEDULERS:
        raise SpecError(
            f"Scheduler '{name}' is unknown; bigseg writes jobs for {', '.join(SCHEDULERS)}."
        )
    return SCHEDULERS[name]


def largest_array(scheduler: Scheduler) -> int:
    """Most tasks of an array: as the site has set it, if this machine can ask."""
    found = re.search(scheduler.limit, _ask(scheduler.limits) or "", re.M)
    size = int(found[1]) - scheduler.spare if found else scheduler.usual_array
    return max(size, 1)


def alive(scheduler: Scheduler, ids: set[str]) -> list[str]:
    """Which of some jobs wait or run; none if this machine cannot ask.

    Parameters
    ----------
    ids
        Numbers of jobs, without what follows them.
    """
    answer = _ask(scheduler.queue) or ""
    listed = {found[1] for found in re.finditer(r"^\s*(\d+)", answer, re.M)}
    return sorted(ids & listed, key=int)


def _ask(command: tuple[str, ...]) -> str | None:
    """What a command of the batch system prints; None if it cannot be run here."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
