"""Commands about a run: continue it, see how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from bigseg.cli.options import (
    Cluster,
    Debug,
    Json,
    Quiet,
    RunFolder,
    SkipFailed,
    Workers,
    end,
    examples,
    follow,
    say,
)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        "run",
        epilog=examples(
            "bigseg run embryo.zarr.cells.bigseg",
            "bigseg run embryo.zarr.cells.bigseg --workers 2",
        ),
    )(continue_run)
    app.command(
        "status",
        epilog=examples(
            "bigseg status embryo.zarr.cells.bigseg",
            "bigseg status embryo.zarr.cells.bigseg --watch 10",
        ),
    )(status)


def continue_run(
    run: RunFolder,
    workers: Workers = None,
    cluster: Cluster = None,
    skip_failed: SkipFailed = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Continue a run that was interrupted or had failures.

    Blocks that are done are not computed again. Settings are those it was started with.
    """
    from bigseg import files
    from bigseg.jobs import maps as em_pipeline
    from bigseg.jobs import restore as restoration
    from bigseg.jobs import segment as pipeline
    from bigseg.jobs import tiles as merging
    from bigseg.jobs import track as tracking
    from bigseg.run.folder import open_run

    found = open_run(files.absolute(run))
    resume: Callable[..., Any] = pipeline.resume
    if restoration.is_restoration(found):
        resume = restoration.resume
    elif merging.is_merging(found):
        resume = merging.resume
    elif em_pipeline.is_em(found):
        resume = em_pipeline.resume
    elif tracking.is_tracking(found):
        resume = tracking.resume
    with follow(quiet=quiet, as_json=as_json, skip_failed=skip_failed) as listener:
        result = resume(run, cluster=cluster, workers=workers, listener=listener)
    end(result, quiet=quiet, as_json=as_json)


def status(
    run: RunFolder,
    watch: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="Show it again and again, until all is done."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show how far a run is: blocks done, failed and left, rate, time left, and why blocks failed.

    A step of a job array that has stopped, as the same error met block after block, says so.

    It reads the run's ledger only, so it may be asked at any time, from any machine, whoever
    computes: Dask, a job array, or both.
    """
    import time

    from bigseg.run import status as progress

    while True:
        steps, failures = progress.status(run), progress.failed_blocks(run)
        found = {
            "run": run,
            "steps": [asdict(step) for step in steps],
            "failed": [asdict(failure) for failure in failures],
        }
        say(found, progress.status_text(steps, failures), quiet=quiet, as_json=as_json)
        if watch is None or all(step.finished for step in steps):
            return
        time.sleep(watch)
        say({}, "", quiet=quiet or as_json)
