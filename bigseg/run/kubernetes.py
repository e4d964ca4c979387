"""Pods as workers, by the operator of dask-kubernetes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

import dask as dask_library
from distributed import Client
from distributed.core import Status

from bigseg.errors import SpecError
from bigseg.run.dask import CONFIG, OF_WORKERS, dask
from bigseg.run.environment import environment, variables
from bigseg.run.execute import Group
from bigseg.specs.cluster import Kubernetes, to_bytes, to_seconds

IDLE = 1800
"""Seconds without work until the operator deletes what a driver that died has left."""
LOCKED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the containers may not do."""


def check() -> None:
    """Refuse where dask-kubernetes is missing."""
    if find_spec("dask_kubernetes") is None:
        raise SpecError(
            "kind 'kubernetes' needs dask-kubernetes: pip install 'bigseg[kubernetes]'."
        )


@contextmanager
def open_pods(spec: Kubernetes, *, gpu: bool) -> Iterator[Group]:
    """Let the operator make a scheduler and workers; they are deleted at the end."""
    from dask_kubernetes.operator import KubeCluster

    patience = to_seconds(spec.patience)
    name = f"bigseg-{'gpu-' * gpu}{uuid.uuid4().hex[:8]}"
    with dask_library.config.set(CONFIG):
        try:
            cluster = KubeCluster(
                custom_cluster_spec=manifest(spec, name, gpu=gpu),
                namespace=spec.namespace,
                shutdown_on_close=True,
                resource_timeout=patience,
                quiet=True,
            )
        except Exception as error:  # of the client, the proxy, the API or the operator
            _delete(name)
            said = " ".join(str(error).split()) or type(error).__name__
            raise SpecError(
                f"Kubernetes does not start workers: {said.rstrip('.')}. See that kubectl "
                "reaches the cluster and that Dask's operator runs in it, see deploy/README.md."
            ) from None
        about = (
            f"{spec.workers} pod(s){' with a GPU' * gpu} × {spec.cores} thread(s), "
            f"{to_bytes(spec.memory) / 1e9:.1f} GB each"
        )
        with cluster, Client(cluster, set_as_default=False) as client:
            execute = dask(client, spec.workers, patience=patience)
            yield Group(execute, spec.workers, about=about)


def _delete(name: str) -> None:
    """Delete what could not be started; it would stay until the operator finds it idle."""
    from dask_kubernetes.operator import KubeCluster

    for half in [one for one in KubeCluster._instances if one.name == name]:
        with suppress(Exception):  # there may be nobody who can be told to
            half.close(timeout=30)
        half.status = Status.closed


def manifest(spec: Kubernetes, name: str, *, gpu: bool) -> dict[str, Any]:
    """The `DaskCluster` resource that the operator turns into pods."""
    pod: dict[str, Any] = {"automountServiceAccountToken": bool(spec.service_account)}
    if spec.service_account:
        pod["serviceAccountName"] = spec.service_account
    if spec.node_selector:
        pod["nodeSelector"] = spec.node_selector
    scheduler = {"automountServiceAccountToken": False, "containers": [_scheduler(spec)]}
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": name},
        "spec": {
            "idleTimeout": IDLE,
            "scheduler": {"spec": scheduler, "service": _service(name)},
            "worker": {
                "replicas": spec.workers,
                "spec": {**pod, "containers": [_worker(spec, gpu)]},
            },
        },
    }


def _scheduler(spec: Kubernetes) -> dict[str, Any]:
    config = {**CONFIG, "distributed.scheduler.no-workers-timeout": to_seconds(spec.patience)}
    # The operator asks the scheduler's API when it has been idle, and how it is.
    health = {"httpGet": {"port": "http-dashboard", "path": "/health"}}
    return {
        "name": "scheduler",
        "image": spec.image,
        "args": ["dask", "scheduler"],
        "env": _pairs(variables(config)),
        "resources": {name: {"cpu": "1", "memory": "2Gi"} for name in ("requests", "limits")},
        "ports": [
            {"name": "tcp-comm", "containerPort": 8786, "protocol": "TCP"},
            {"name": "http-dashboard", "containerPort": 8787, "protocol": "TCP"},
        ],
        "readinessProbe": {**health, "periodSeconds": 5, "timeoutSeconds": 10},
        "livenessProbe": {**health, "initialDelaySeconds": 60, "periodSeconds": 20},
        "securityContext": LOCKED,
    }


def _worker(spec: Kubernetes, gpu: bool) -> dict[str, Any]:
    memory = str(to_bytes(spec.memory))
    limits = {"cpu": str(spec.cores), "memory": memory} | ({spec.gpu: "1"} if gpu else {})
    options = f"--name $(DASK_WORKER_NAME) --nthreads 1 --memory-limit {memory} --no-dashboard"
    return {
        "name": "worker",
        "image": spec.image,
        "args": ["dask", "worker", *options.split()],
        "env": _pairs(environment(spec.cores) | variables(OF_WORKERS) | spec.env),
        "envFrom": [{"secretRef": {"name": name}} for name in spec.secrets],
        "resources": {"requests": limits, "limits": limits},
        "securityContext": LOCKED,
    }


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _service(name: str) -> dict[str, Any]:
    ports = {"tcp-comm": 8786, "http-dashboard": 8787}
    return {
        "type": "ClusterIP",
        "selector": {"dask.org/cluster-name": name, "dask.org/component": "scheduler"},
        "ports": [
            {"name": one, "protocol": "TCP", "port": port, "targetPort": one}
            for one, port in ports.items()
        ],
    }
