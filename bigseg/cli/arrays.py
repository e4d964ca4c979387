"""Commands for runs without Dask: blocks of a step, its end, and jobs of batch systems."""

# ruff: noqa: PLR0913 - the parameters of a command are its options

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from bigseg.cli.options import Debug, Json, Quiet, RunFolder, examples, say

STEP = typer.Option(metavar="STEP", help="Step of the run, as 'bigseg status' lists them.")
ASK, SHARES = "What a job asks for", "How blocks are shared out"


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        "jobs",
        epilog=examples(
            "bigseg segment embryo.zarr --model nuclei --prepare",
            "bigseg jobs embryo.zarr.cells.bigseg --scheduler slurm --write jobs --submit",
            "bigseg jobs embryo.zarr.cells.bigseg --scheduler lsf --write jobs --time 8:00",
            "bigseg status embryo.zarr.cells.bigseg --watch 10",
        ),
    )(jobs)
    app.command(
        "block",
        epilog=examples(
            "bigseg block embryo.zarr.cells.bigseg --stage label --index 17",
            "bigseg block embryo.zarr.cells.bigseg --stage label --index 0-1-2-3 --debug",
            "bigseg block embryo.zarr.cells.bigseg --stage label --blocks 3,17,20-25",
            "bigseg block embryo.zarr.cells.bigseg --stage label --task 2 --tasks 16",
        ),
    )(block)
    app.command(
        "finish",
        epilog=examples("bigseg finish embryo.zarr.cells.bigseg --stage label"),
    )(finish)


def block(
    run: RunFolder,
    stage: Annotated[str, STEP],
    index: Annotated[
        str | None, typer.Option(metavar="N|T-Z-Y-X", help="One block: its number, or its index.")
    ] = None,
    blocks: Annotated[
        str | None, typer.Option(metavar="LIST", help="Some blocks, by number, as 3,17,20-25.")
    ] = None,
    task: Annotated[
        int | None,
        typer.Option(metavar="I", help="A share of the blocks: this one, counted from 1, …"),
    ] = None,
    tasks: Annotated[int | None, typer.Option(metavar="N", help="… of so many shares.")] = None,
    close: Annotated[
        bool, typer.Option("--finish", help="Close the step then, as 'bigseg finish' does.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compute blocks of a step in this process, without Dask: in jobs, or to look into a failure.

    It does what a worker would do, writes the blocks and records them; without --index, --blocks or
    --task, all blocks of the step. Those that are done are left alone. A block that fails is tried
    again at the end, then named; the others are done all the same. Earlier steps must be finished.
    """
    from bigseg.run import share
    from bigseg.run.folder import open_run
    from bigseg.run.worker import Outcome

    if sum(option is not None for option in (index, blocks, task)) > 1:
        raise typer.BadParameter("--index, --blocks and --task exclude each other; give one")
    if (task is None) != (tasks is None):
        raise typer.BadParameter("--task and --tasks belong together; give both")
    if index is not None:
        _one_block(run, stage, index, quiet=quiet, as_json=as_json)
        if close:
            share.finish_step(run, stage)
        return
    if blocks is not None:
        numbers = share.parse_numbers(blocks)
    else:
        many = len(open_run(run).step(stage).spec.grid)
        numbers = list(share.share(many, task or 1, tasks or 1))

    def tell(outcome: Outcome) -> None:
        if not (quiet or as_json):
            sys.stderr.write(f"{outcome.text()}\n")

    counts = share.run_share(run, stage, numbers, tell)
    if close:
        share.finish_step(run, stage)
    text = f"{counts['done']} block(s) of step '{stage}' are done"
    text += f", {counts['skipped']} were done already." if counts["skipped"] else "."
    say({"step": stage, "blocks": len(numbers), **counts}, text, quiet=quiet, as_json=as_json)


def _one_block(run: str, stage: str, index: str, *, quiet: bool, as_json: bool) -> None:
    """Compute a block once, as who asks for it wants to see what happens."""
    from bigseg.errors import BlocksFailed
    from bigseg.run.worker import run_block

    outcome = run_block(run, stage, index)
    if outcome.status == "failed":
        raise BlocksFailed(stage, {outcome.block: outcome.error}, run)
    say(asdict(outcome), outcome.text(), quiet=quiet, as_json=as_json)


def finish(
    run: RunFolder,
    stage: Annotated[str, STEP],
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Close a step whose blocks have been computed with 'bigseg block', so that the next can begin.

    It refuses if blocks are missing, and says which. A step that is closed stays as it is.
    """
    from bigseg.run.share import finish_step

    closed = finish_step(run, stage)
    text = f"Step '{stage}' is finished." if closed else f"Step '{stage}' was finished already."
    say({"step": stage, "finished": True, "before": not closed}, text, quiet=quiet, as_json=as_json)


def jobs(
    run: RunFolder,
    scheduler: Annotated[
        str, typer.Option(metavar="slurm|lsf|pbs|sge", help="Batch system that takes the jobs.")
    ],
    write: Annotated[
        str,
        typer.Option(
            metavar="DIR", help="Folder for scripts and logs, which compute nodes see, too."
        ),
    ],
    submit: Annotated[
        bool, typer.Option("--submit", help="Submit them, as DIR/N/submit.sh does.")
    ] = False,
    time: Annotated[
        str, typer.Option(metavar="H:MM", help="Longest time of a task.", rich_help_panel=ASK)
    ] = "4:00",
    memory: Annotated[
        int, typer.Option(min=1, metavar="GB", help="Memory of a task.", rich_help_panel=ASK)
    ] = 8,
    cores: Annotated[int, typer.Option(min=1, help="Cores of a task.", rich_help_panel=ASK)] = 2,
    gpus: Annotated[
        int,
        typer.Option(
            min=0, help="Graphics cards of a task of a step that can use them.", rich_help_panel=ASK
        ),
    ] = 0,
    directives: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="What else each job asks of the batch system, as '--account=ours'; more than once "
            "for several lines.",
            rich_help_panel=ASK,
        ),
    ] = None,
    gpu_directives: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="The same for steps that can use a graphics card, as '--partition=gpu'.",
            rich_help_panel=ASK,
        ),
    ] = None,
    setup: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LINE",
            help="Line of shell that comes first in each job, as 'module load …'.",
            rich_help_panel=ASK,
        ),
    ] = None,
    command: Annotated[
        str,
        typer.Option(
            help="How jobs call bigseg, as 'apptainer exec bigseg.sif bigseg'.",
            show_default="the Python that is running",
            rich_help_panel=ASK,
        ),
    ] = "",
    blocks_per_task: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Blocks that a task computes, one after the other.",
            show_default="about ten minutes of them, or by their number",
            rich_help_panel=SHARES,
        ),
    ] = None,
    max_array: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most tasks of an array; more become several arrays.",
            show_default="the site's limit",
            rich_help_panel=SHARES,
        ),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most tasks of an array that run at the same time.",
            show_default="as many as the site lets",
            rich_help_panel=SHARES,
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write what is left of a run as jobs of a batch system, and submit them if asked.

    A step's blocks are an array of tasks; a small job then closes the step. The same command, given
    again when the jobs have ended, names the tasks that failed and does only what is missing. The
    run is made with 'bigseg segment … --prepare'.
    """
    from pathlib import Path

    from bigseg import files
    from bigseg.run.arrays import submission
    from bigseg.run.arrays.scripts import Wishes, parse_minutes
    from bigseg.run.folder import open_run

    wishes = Wishes(
        minutes=parse_minutes(time),
        memory=memory,
        cores=cores,
        gpus=gpus,
        directives=tuple(directives or ()),
        gpu_directives=tuple(gpu_directives or ()),
        setup=tuple(setup or ()),
        command=command,
        at_once=at_once,
    )
    made = submission.write_submission(
        open_run(files.absolute(run)),
        Path(files.absolute(write)),
        scheduler,
        wishes,
        blocks_per_task=blocks_per_task,
        max_array=max_array,
    )
    if submit and made.script:
        made = submission.submit(made)
    say(asdict(made), made.text(), quiet=quiet, as_json=as_json)
