"""Write deploy/{slurm,lsf,pbs,sge}: the scripts that `bigseg jobs` makes, for an example of a run.

`python deploy/generate_jobs.py`; a test keeps the files equal to what this writes.
"""

from __future__ import annotations

from pathlib import Path

from bigseg.run.arrays.plan import Job
from bigseg.run.arrays.schedulers import SCHEDULERS
from bigseg.run.arrays.scripts import Place, Wishes, job_script, submit_script

HERE = Path(__file__).parent
RUN = "/shared/data/brain.zarr.cells.bigseg"
JOBS = (
    Job("01-normalize", steps=("normalize",)),
    Job(
        "02-predict",
        step="predict",
        tasks=tuple(f"{8 * n}-{8 * n + 7}" for n in range(1500)),
        gpu=True,
    ),
    Job("03-close-predict", closes="predict"),
    Job("04-label", step="label", tasks=tuple(f"{8 * n}-{8 * n + 7}" for n in range(600))),
    Job("05-close-label", closes="label", steps=("merge", "publish", "report"), last=True),
)
WISHES = {
    name: Wishes(gpus=1, command="bigseg", directives=(account,), gpu_directives=(queue,))
    for name, account, queue in (
        ("slurm", "--account=ours", "--partition=gpu"),
        ("lsf", "-P ours", "-q gpu"),
        ("pbs", "-A ours", "-q gpu"),
        ("sge", "-P ours", "-q gpu.q"),
    )
}


def scripts() -> dict[Path, str]:
    """Content of each file."""
    made = {}
    for name, scheduler in SCHEDULERS.items():
        place = Place(Path("/shared/data/jobs/1"), RUN, scheduler)
        for job in JOBS[:3]:
            made[HERE / name / f"{job.name}.sh"] = job_script(place, job, WISHES[name])
        made[HERE / name / "submit.sh"] = submit_script(place, JOBS, WISHES[name], 1000)
    return made


if __name__ == "__main__":
    for path, text in scripts().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
