"""Track many series side by side, on one cluster: each is a run of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import asdict, dataclass
from functools import partial
from threading import Event
from typing import Any

from bigseg import events
from bigseg.errors import BigsegError
from bigseg.events import Listener, ignore
from bigseg.jobs import track
from bigseg.jobs.begin import Interrupted, Prepared
from bigseg.jobs.plan import plan_tracking
from bigseg.jobs.planned import Plan
from bigseg.jobs.track import Tracked
from bigseg.jobs.track_series import specifications
from bigseg.run.cluster import open_cluster
from bigseg.run.execute import Groups
from bigseg.run.left_out import holes
from bigseg.run.shared import Shared
from bigseg.specs import cluster as asked
from bigseg.specs.cluster import read_cluster
from bigseg.specs.track import TrackSpec

SIDE_BY_SIDE = 16
"""Series that are driven at the same time; short steps of some fill what others leave idle."""


@dataclass(frozen=True)
class Ended:
    """How one series ended."""

    series: str
    """URL of its labels, or of its image."""
    run: str
    result: Tracked | None = None
    error: str = ""
    """Why there is no result."""
    left_out: int = 0
    """Blocks that were left out of it."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = None if self.result is None else asdict(self.result)
        return {**asdict(self), "result": found}


@dataclass(frozen=True)
class Batch:
    """How all series ended, in the order in which they were given."""

    series: tuple[Ended, ...]

    @property
    def failed(self) -> tuple[Ended, ...]:
        """Series without a result."""
        return tuple(one for one in self.series if one.result is None)

    @property
    def incomplete(self) -> bool:
        """Whether blocks were left out of a result."""
        return any(one.left_out for one in self.series)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"series": [one.as_dict() for one in self.series], "failed": len(self.failed)}

    def text(self) -> str:
        """Say it to a person."""
        title = f"{'tracks':>9}{'lineages':>10}{'divisions':>11}{'seconds':>9}  result"
        lines = [title, *(_line(one) for one in self.series)]
        done = len(self.series) - len(self.failed)
        lines.append(f"{done} of {len(self.series)} series are tracked.")
        lines += [f"{one.series}: {one.error}" for one in self.failed]
        return "\n".join(lines)


def _line(one: Ended) -> str:
    found = one.result
    if found is None:
        return f"{'failed':>9}{'':>30}  {one.series}"
    holed = f"  ({one.left_out} blocks left out)" if one.left_out else ""
    return (
        f"{found.tracks:>9}{found.lineages:>10}{found.divisions:>11}{found.seconds:>9.1f}  "
        f"{found.labels}{holed}"
    )


def track_many(
    series: Sequence[str | Mapping[str, Any]],
    output: str | None = None,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listeners: Callable[[str], Listener] = lambda _: ignore,
    **settings: Any,
) -> Batch:
    """Track many series side by side on one cluster, each as `bigseg.track` would.

    Parameters
    ----------
    series
        Labels (or images, with `model`), patterns that match several, or settings of single series:
        mappings with `labels`, and perhaps `output`, `image`, `voxel_size` or any other field of
        `bigseg.TrackSpec`.
    output
        Folder of all results; None: each beside its labels.
    cluster, workers, overwrite
        See `bigseg.track`. Series that are finished already are not done again.
    listeners
        Makes what is told how a series goes, given its name.
    settings
        Of all series; what a series says itself comes first.

    Returns
    -------
    Batch
        How each series ended. One that fails does not stop the others.

    Raises
    ------
    BigsegError
        Before anything is written, if a setting is wrong or the cluster cannot be opened.
    Interrupted
        On Ctrl-C; the same call continues all series.
    """
    specs = specifications(series, output, settings)
    return execute(
        specs, cluster=cluster, workers=workers, overwrite=overwrite, listeners=listeners
    )


def execute(
    specs: Sequence[TrackSpec],
    *,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listeners: Callable[[str], Listener] = lambda _: ignore,
) -> Batch:
    """Do what specifications say; see `track_many`."""
    stop = Event()
    pool = ThreadPoolExecutor(_side_by_side(cluster, len(specs)), "bigseg-series")
    try:
        with open_cluster(cluster, workers, listen=listeners("cluster")) as opened:
            one = partial(_one, groups=Shared(opened), overwrite=overwrite, stop=stop)
            ended = [
                pool.submit(copy_context().run, one, spec, listener=listeners(_called(spec)))
                for spec in specs
            ]
            _wait(ended, stop)
    except KeyboardInterrupt:
        raise Interrupted("Interrupted. The same command continues all series.") from None
    finally:
        pool.shutdown(cancel_futures=True)
    return Batch(tuple(future.result() for future in ended))


def _side_by_side(cluster: str | None, count: int) -> int:
    """Series that are driven at the same time: one where this process computes itself."""
    here = isinstance(read_cluster(cluster).workers, asked.Serial | asked.Threads)
    return 1 if here else max(min(count, SIDE_BY_SIDE), 1)


def _wait(ended: Iterable[Future[Ended]], stop: Event) -> None:
    """Wait for all; on Ctrl-C tell them to stop."""
    try:
        for future in as_completed(ended):
            future.result()
    except BaseException:
        stop.set()
        raise


def _called(spec: TrackSpec) -> str:
    return spec.target.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr")


def _one(
    spec: TrackSpec, *, groups: Groups, overwrite: bool, stop: Event, listener: Listener
) -> Ended:
    """Track one series; what is wrong with it is its own affair."""

    def listen(event: events.Event) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        listener(event)

    run = spec.run
    try:
        found = None if overwrite else track.finished(spec)
        found = found or track.execute(spec, overwrite=overwrite, listener=listen, groups=groups)
        return Ended(spec.labels, found.run, found, left_out=len(holes(found.run)))
    except BigsegError as error:
        return Ended(spec.labels, run, error=str(error))
    except Exception as error:  # whatever it is, the others go on
        what = f"{type(error).__name__}: {error} (unexpected; --debug, for it alone, shows where)."
        return Ended(spec.labels, run, error=what)


def prepare(specs: Sequence[TrackSpec], *, overwrite: bool = False) -> list[dict[str, Any]]:
    """Check all series and write the run folder of each; what is wrong with one is its `error`."""
    return [_ready(spec, lambda s: track.prepare(s, overwrite=overwrite)) for spec in specs]


def look_ahead(specs: Sequence[TrackSpec], *, overwrite: bool = False) -> list[dict[str, Any]]:
    """Check all series and say what would be done; nothing is written."""
    return [_ready(spec, plan_tracking) for spec in specs]


def _ready(spec: TrackSpec, make: Callable[[TrackSpec], Prepared | Plan]) -> dict[str, Any]:
    try:
        made = make(spec)
    except BigsegError as error:
        return {"series": spec.labels, "error": str(error)}
    return {"series": spec.labels, "error": "", **made.as_dict(), "text": made.text()}
