"""A worker for each GPU of this machine, by dask-cuda."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import dask as dask_library
from distributed import Client

from bigseg.errors import SpecError
from bigseg.run.dask import CONFIG, dask
from bigseg.run.environment import environment, restored
from bigseg.run.execute import Group
from bigseg.run.machine import cores, worker_memory
from bigseg.specs.cluster import Cuda, to_bytes


def check() -> None:
    """Refuse where dask-cuda is missing."""
    if find_spec("dask_cuda") is None:
        raise SpecError(
            "Workers for the GPUs of this machine need dask-cuda: pip install 'bigseg[cuda12]', or "
            "'bigseg[cuda13]', by the version of the driver."
        )


@contextmanager
def open_gpus(spec: Cuda) -> Iterator[Group]:
    """Single-threaded processes on localhost, each of which sees one GPU."""
    from dask_cuda import LocalCUDACluster
    from dask_cuda.utils import get_n_gpus

    try:
        devices = spec.devices or tuple(range(get_n_gpus()))
    except Exception as error:  # the driver's library speaks for itself, in types of its own
        raise SpecError(f"No GPU of this machine can be used ({error}).") from None
    if not devices:
        raise SpecError("This machine has no GPU; leave [gpu_workers] out.")
    count = len(devices)
    limit = to_bytes(spec.memory) if spec.memory else worker_memory(count)
    share = max(cores() // count, 1)
    given = environment(share)
    config = {**CONFIG, "distributed.nanny.pre-spawn-environ": given}
    with restored(given), dask_library.config.set(config):
        cluster = LocalCUDACluster(
            CUDA_VISIBLE_DEVICES=list(devices),
            threads_per_worker=1,
            host="127.0.0.1",
            protocol="tcp",
            dashboard_address="127.0.0.1:0",
            memory_limit=limit,
            silence_logs=logging.CRITICAL,
        )
        about = f"{count} GPU(s), a worker with {share} thread(s) and {limit / 1e9:.1f} GB for each"
        with cluster, Client(cluster, set_as_default=False) as client:
            yield Group(dask(client, count), count, about=about)
