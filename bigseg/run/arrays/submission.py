"""Submissions of a run: a numbered folder each, what was submitted, and what became of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bigseg.errors import BigsegError, OutputExists, SpecError
from bigseg.run.arrays.plan import Job, plan_jobs
from bigseg.run.arrays.schedulers import alive, find_scheduler, largest_array
from bigseg.run.arrays.scripts import Place, Wishes, write_scripts
from bigseg.run.breaker import forget_streaks
from bigseg.run.folder import Run
from bigseg.run.ledger import Ledger
from bigseg.run.share import NAMED, format_numbers, parse_numbers

PLAN, SUBMITTED = "jobs.json", "submitted"
SAID = "Error: "
"""How bigseg begins the sentence with which it ends."""
LOG_END = 4000
"""Bytes at the end of a log that are looked at for a reason."""


class NotSubmitted(BigsegError, RuntimeError):
    """The batch system did not take a job."""


@dataclass(frozen=True)
class FailedTask:
    """A task of the last submission that ended and did not do all its blocks."""

    step: str
    job: str
    """Id in the batch system."""
    task: int
    """Index in the array of that job."""
    blocks: str
    """Those that are not done."""
    reason: str
    log: str

    def text(self) -> str:
        """Say it to a person."""
        blocks = f", block(s) {self.blocks}" if self.blocks else ""
        return (
            f"{self.step}, job {self.job} task {self.task}{blocks}: {self.reason}\n    {self.log}"
        )


@dataclass(frozen=True)
class Submission:
    """Jobs that were written, and perhaps submitted."""

    run: str
    script: str
    """What submits them; empty if nothing is left to do."""
    jobs: tuple[tuple[str, int, int], ...]
    """Name, tasks and blocks of each; no tasks where a job does steps one after the other."""
    failed: tuple[FailedTask, ...]
    """Tasks of the submission before it that failed; these jobs do their blocks again."""
    ids: tuple[str, ...] = ()
    """Of the jobs in the batch system, if they were submitted."""

    def text(self) -> str:
        """Say it to a person."""
        if not self.script:
            return f"{self.run} is finished; there is nothing to submit."
        lines = []
        if self.failed:
            lines += [f"{len(self.failed)} task(s) of the last submission failed:"]
            lines += [f"  {task.text()}" for task in self.failed]
        lines += [f"{'job':<24}{'tasks':>8}{'blocks':>9}"]
        lines += [f"{n:<24}{t or '':>8}{b or '':>9}" for n, t, b in self.jobs]
        if self.ids:
            lines += [f"submitted   {' '.join(self.ids)}"]
            lines += [f"'bigseg status {self.run} --watch 10' shows how far they are."]
        else:
            lines += [f"'{self.script}' submits them."]
        return "\n".join(lines)


def write_submission(
    run: Run,
    folder: Path,
    scheduler: str,
    wishes: Wishes,
    *,
    blocks_per_task: int | None = None,
    max_array: int | None = None,
) -> Submission:
    """Write jobs for what is left of a run into a new folder 1, 2, … in `folder`.

    Raises
    ------
    OutputExists
        If the folder holds something else, or jobs of another run.
    SpecError
        If jobs that were submitted last still wait or run.
    """
    system = find_scheduler(scheduler)
    last = _last(folder, run)
    failed: tuple[FailedTask, ...] = ()
    if last is not None:
        _check_ended(last, run)
        forget_streaks(run)
        failed = tuple(failed_tasks(last, run))
    jobs = plan_jobs(run, blocks_per_task=blocks_per_task, gpus=wishes.uses_gpus)
    if not jobs:
        return Submission(run.url, "", (), ())
    place = Place(_next(folder, last), run.url, system)
    script = write_scripts(place, jobs, wishes, max_array or largest_array(system))
    content = {"run": run.url, "scheduler": scheduler, "jobs": [asdict(job) for job in jobs]}
    (place.folder / PLAN).write_text(json.dumps(content, indent=1))
    return Submission(run.url, str(script), tuple(map(_row, jobs)), failed)


def _row(job: Job) -> tuple[str, int, int]:
    return job.name, len(job.tasks), sum(len(parse_numbers(blocks)) for blocks in job.tasks)


def _last(folder: Path, run: Run) -> Path | None:
    """Folder of the last submission of a run."""
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise OutputExists(f"{folder} is a file; name a folder with --write.")
    known = sorted((path for path in folder.iterdir() if path.name.isdecimal()), key=_number)
    strange = [path.name for path in folder.iterdir() if not path.name.isdecimal()]
    if strange or any(not (path / PLAN).exists() for path in known):
        raise OutputExists(
            f"{folder} holds {strange[0] if strange else known[-1].name}, which 'bigseg jobs' has "
            "not written; name another folder with --write."
        )
    if not known:
        return None
    other = json.loads((known[-1] / PLAN).read_text())["run"]
    if other != run.url:
        raise OutputExists(f"{folder} holds jobs of {other}; name another folder with --write.")
    return known[-1]


def _number(path: Path) -> int:
    return int(path.name)


def _next(folder: Path, last: Path | None) -> Path:
    """Folder for the next submission. One that was written only gives way."""
    if last is None:
        return folder / "1"
    if (last / SUBMITTED).exists():
        return folder / str(_number(last) + 1)
    for path in sorted(last.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    last.rmdir()
    return last


@dataclass(frozen=True)
class _Submitted:
    """A line of what `submit.sh` notes."""

    id: str
    name: str
    first: int
    tasks: int


def _submitted(folder: Path) -> list[_Submitted]:
    path = folder / SUBMITTED
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [line.split() for line in lines]
    return [_Submitted(row[0], row[1], int(row[2]), int(row[3])) for row in rows if len(row) == 4]


def _check_ended(folder: Path, run: Run) -> None:
    """Refuse while jobs wait or run: their blocks would be computed twice."""
    system = find_scheduler(json.loads((folder / PLAN).read_text())["scheduler"])
    numbers = {re.sub(r"\D.*", "", job.id) for job in _submitted(folder)}
    still = alive(system, numbers)
    if still:
        raise SpecError(
            f"Jobs {', '.join(still)} of {folder} still wait or run; 'bigseg status {run.url}' "
            f"shows how far they are, '{system.cancel} {' '.join(still)}' ends them."
        )


def failed_tasks(folder: Path, run: Run) -> Iterator[FailedTask]:
    """Tasks that ended without having done their part of the step at which the run stands.

    Those of later steps could not begin, whatever their batch system made of it.
    """
    step = next((s for s in run.steps if not Ledger.of(run, s).is_finished()), None)
    if step is None:
        return
    jobs = {job["name"]: job for job in json.loads((folder / PLAN).read_text())["jobs"]}
    tally = Ledger.of(run, step).tally(len(step.spec.grid))
    failures = Ledger.of(run, step).failed() if len(tally.failed) else {}
    errors = {number: failures[number]["error"] for number in tally.failed.tolist()}
    for sent in _submitted(folder):
        job = jobs[sent.name]
        if job["step"] == step.name:
            shares = job["tasks"][sent.first : sent.first + sent.tasks]
        elif step.name in job["steps"] or (job["closes"] == step.name and not tally.left.size):
            shares = [format_numbers(tally.left.tolist())]
        else:
            continue
        for index, share in enumerate(shares, 1):
            left = [n for n in parse_numbers(share) if not tally.done[n]] if share else []
            if not left and job["step"]:
                continue
            log = folder / "logs" / f"{sent.name}.{sent.first}+{index}.log"
            reason = next((errors[n] for n in left if n in errors), None) or _ending(log)
            named = format_numbers(left[:NAMED]) + (", …" if len(left) > NAMED else "")
            yield FailedTask(step.name, sent.id, index, named, reason, str(log))


def _ending(log: Path) -> str:
    """What bigseg said last in a log; else its last line, where batch systems say why it ended."""
    if not log.exists():
        return "it was ended before it began"
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - LOG_END, 0))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    said = [line.removeprefix(SAID) for line in lines if line.startswith(SAID)]
    return next((line for line in reversed(said or lines) if line), "it was ended without a word")


def submit(made: Submission) -> Submission:
    """Run `submit.sh`, which notes the ids of the jobs.

    Raises
    ------
    NotSubmitted
        With what the batch system said, and which jobs it has taken already.
    """
    try:
        done = subprocess.run(
            [made.script], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        said = done.stderr.strip() or done.stdout.strip() or "it said nothing"
    except OSError as error:
        raise NotSubmitted(f"{made.script} cannot be run ({error}).") from None
    ids = tuple(job.id for job in _submitted(Path(made.script).parent))
    if done.returncode:
        taken = f"Submitted already: {' '.join(ids)}." if ids else "No job was submitted."
        raise NotSubmitted(f"{made.script} failed: {said.splitlines()[-1].rstrip('.')}. {taken}")
    return replace(made, ids=ids)
