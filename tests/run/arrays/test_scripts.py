"""What scripts ask for, and that a shell can read them."""

import os
import subprocess
from pathlib import Path

import pytest

from bigseg.errors import SpecError
from bigseg.run.arrays.plan import Job
from bigseg.run.arrays.schedulers import SCHEDULERS, alive, find_scheduler, largest_array
from bigseg.run.arrays.scripts import (
    Place,
    Wishes,
    chunk,
    job_script,
    parse_minutes,
    submit_script,
    write_scripts,
)

JOBS = (
    Job("01-normalize", steps=("normalize",)),
    Job("02-predict", step="predict", tasks=("0-1", "2-3", "4"), gpu=True),
    Job("03-close-predict", closes="predict", steps=("label", "report"), last=True),
)
WISHES = Wishes(
    minutes=90,
    memory=12,
    cores=4,
    gpus=2,
    directives=("-P ours",),
    gpu_directives=("-q gpu",),
    setup=("module load python",),
    command="bigseg",
)
DIRECTIVES = {
    "slurm": [
        "#SBATCH --job-name=bigseg-predict",
        "#SBATCH --time=01:30:00",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=12G",
        "#SBATCH --open-mode=append",
        "#SBATCH --gres=gpu:2",
        "#SBATCH -P ours",
        "#SBATCH -q gpu",
    ],
    "lsf": [
        "#BSUB -J bigseg-predict",
        "#BSUB -W 1:30",
        "#BSUB -n 4",
        '#BSUB -R "span[hosts=1] rusage[mem=12GB]"',
        '#BSUB -gpu "num=2"',
        "#BSUB -P ours",
        "#BSUB -q gpu",
    ],
    "pbs": [
        "#PBS -N bigseg-predict",
        "#PBS -l walltime=01:30:00",
        "#PBS -l select=1:ncpus=4:mem=12gb:ngpus=2",
        "#PBS -j oe",
        "#PBS -P ours",
        "#PBS -q gpu",
    ],
    "sge": [
        "#$ -S /bin/bash",
        "#$ -N bigseg-predict",
        "#$ -l h_rt=01:30:00",
        "#$ -l mem_free=3G",
        "#$ -pe smp 4",
        "#$ -j y",
        "#$ -l gpu=2",
        "#$ -P ours",
        "#$ -q gpu",
    ],
}


def place(folder: Path, name: str) -> Place:
    return Place(folder / "it's here", "s3://bucket/a run.bigseg", SCHEDULERS[name])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_directives(tmp_path: Path, name: str) -> None:
    script = job_script(place(tmp_path, name), JOBS[1], WISHES).splitlines()
    prefix = SCHEDULERS[name].prefix
    assert script[0] == "#!/usr/bin/env bash"
    assert [line for line in script if line.startswith(prefix)] == DIRECTIVES[name]
    assert script[1 : 1 + len(DIRECTIVES[name])] == DIRECTIVES[name]  # nothing but them before


@pytest.mark.parametrize("name", SCHEDULERS)
def test_no_card_is_asked_for_where_none_is_used(tmp_path: Path, name: str) -> None:
    script = job_script(place(tmp_path, name), JOBS[2], WISHES)
    assert "gpu" not in script
    assert f"{SCHEDULERS[name].prefix} -P ours" in script


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_shell_can_read_all_scripts(tmp_path: Path, name: str) -> None:
    made = write_scripts(place(tmp_path, name), JOBS, WISHES, 2)
    scripts = sorted(made.parent.glob("*.sh"))
    assert [path.name for path in scripts] == [*(f"{job.name}.sh" for job in JOBS), "submit.sh"]
    for path in scripts:
        assert os.access(path, os.X_OK)
        assert "@" not in path.read_text().replace("[@]", "").replace("$@", "")
        subprocess.run(["bash", "-n", path], check=True)
    assert (made.parent / "02-predict.blocks").read_text() == "0-1\n2-3\n4\n"


def test_commands_of_jobs(tmp_path: Path) -> None:
    first, _, last = (job_script(place(tmp_path, "slurm"), job, WISHES) for job in JOBS)
    assert first.endswith(
        "for step in normalize; do\n"
        "  bigseg block 's3://bucket/a run.bigseg' --stage \"$step\" --finish\n"
        "done\n"
    )
    assert last.endswith(
        "bigseg finish 's3://bucket/a run.bigseg' --stage predict\n"
        "bigseg run 's3://bucket/a run.bigseg' --cluster serial\n"
    )
    assert "module load python\nexport OMP_NUM_THREADS=4" in last


def test_jobs_reach_buckets_as_who_wrote_them_and_hold_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGSEG_ENDPOINT", "http://store:9000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    for job in JOBS:
        script = job_script(place(tmp_path, "slurm"), job, WISHES)
        assert "\nexport BIGSEG_ENDPOINT=http://store:9000\n" in script
        assert "canary" not in script


def test_arrays_are_no_longer_than_the_site_allows(tmp_path: Path) -> None:
    assert chunk(5, 2) == [(0, 2), (2, 2), (4, 1)]
    script = submit_script(place(tmp_path, "slurm"), JOBS, WISHES, 2)
    assert 'job_2="$(submit 02-predict 0 2 $job_1)"' in script
    assert 'job_2+=" $(submit 02-predict 2 1 $job_1)"' in script
    assert 'job_3="$(submit 03-close-predict 0 1 $job_2)"' in script


@pytest.mark.parametrize(("text", "minutes"), [("4:00", 240), ("0:30:00", 30), ("45", 45)])
def test_times(text: str, minutes: int) -> None:
    assert parse_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "0", "1h", "4:0:30", "-1"])
def test_no_times(text: str) -> None:
    with pytest.raises(SpecError, match="it must be hours and minutes, as 4:00"):
        parse_minutes(text)


def test_a_directive_is_one_line() -> None:
    with pytest.raises(SpecError, match="must be one line; give each on its own"):
        Wishes(directives=("-q a\nrm -rf /",)).check()


def test_unknown_batch_systems() -> None:
    with pytest.raises(SpecError, match="'condor' is unknown; bigseg writes jobs for slurm, lsf"):
        find_scheduler("condor")


ANSWERS = {
    "slurm": ("scontrol", "MaxArraySize            = 4001\n", 4000),
    "lsf": ("bparams", "    MAX_JOB_ARRAY_SIZE = 50\n", 50),
    "pbs": ("qmgr", "Server head\n    max_array_size = 60\n", 60),
    "sge": ("qconf", "max_aj_instances 2000\nmax_aj_tasks                 70\n", 70),
}
QUEUES = {
    "slurm": ("squeue", "17\n17\n4\n"),
    "lsf": ("bjobs", "17\n4\n"),
    "pbs": ("qstat", "Job id  Name\n------  ----\n17[].head  me\n4.head  me\n"),
    "sge": ("qstat", "job-ID prior\n-----\n     17 0.5 me\n      4 0.5 me\n"),
}


def tool(folder: Path, name: str, answer: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\ncat <<'END'\n{answer}END\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_site_says_how_long_arrays_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command, answer, size = ANSWERS[name]
    tool(tmp_path, command, answer)
    assert largest_array(SCHEDULERS[name]) == size
    tool(tmp_path, command, "who knows\n")
    assert largest_array(SCHEDULERS[name]) == SCHEDULERS[name].usual_array
    (tmp_path / command).write_text("#!/bin/sh\nexit 1\n")
    assert largest_array(SCHEDULERS[name]) == SCHEDULERS[name].usual_array


@pytest.mark.parametrize("name", SCHEDULERS)
def test_which_jobs_are_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tool(tmp_path, *QUEUES[name])
    assert alive(SCHEDULERS[name], {"3", "4", "17"}) == ["4", "17"]
