"""What Dask's operator is asked for, judged by its schema and by Kubernetes'."""

from pathlib import Path

import pytest

from bigseg.errors import SpecError
from bigseg.run import kubernetes
from bigseg.run.cluster import open_cluster
from bigseg.run.kubernetes import manifest
from bigseg.specs.cluster import Kubernetes, read_cluster
from tests.clusters import PLAIN
from tests.manifests import check_manifest

EXAMPLE = Path(__file__).parents[2] / "examples" / "kubernetes.toml"
SPEC = read_cluster(str(EXAMPLE))


@pytest.mark.parametrize("gpu", [False, True])
def test_manifests_are_valid(gpu: bool) -> None:
    spec = SPEC.gpu_workers if gpu else SPEC.workers
    assert isinstance(spec, Kubernetes)
    check_manifest(manifest(spec, "bigseg-1", gpu=gpu))


def test_workers_have_one_thread_and_as_much_as_the_file_says() -> None:
    spec = SPEC.workers
    assert isinstance(spec, Kubernetes)
    worker = manifest(spec, "a", gpu=False)["spec"]["worker"]
    (container,) = worker["spec"]["containers"]
    assert worker["replicas"] == 20
    assert container["resources"]["limits"] == {"cpu": "2", "memory": str(8 * 2**30)}
    arguments = container["args"]
    assert arguments[arguments.index("--nthreads") + 1] == "1"
    assert arguments[arguments.index("--memory-limit") + 1] == str(8 * 2**30)
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in container["env"]
    assert {"name": "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE", "value": "False"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "bucket"}}]


def test_each_pod_of_the_gpu_group_has_one_gpu_and_no_other_pod_has() -> None:
    spec = SPEC.gpu_workers
    assert isinstance(spec, Kubernetes)
    made = manifest(spec, "a", gpu=True)["spec"]
    (worker,), (scheduler,) = (made[part]["spec"]["containers"] for part in ("worker", "scheduler"))
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in str(scheduler)
    assert "nvidia.com/gpu" not in str(
        manifest(spec, "a", gpu=False)["spec"]["worker"]["spec"]["containers"]
    )


def test_the_scheduler_has_no_secrets_and_is_deleted_when_nobody_uses_it() -> None:
    spec = SPEC.workers
    assert isinstance(spec, Kubernetes)
    made = manifest(spec, "a", gpu=False)["spec"]
    assert "bucket" not in str(made["scheduler"])
    assert made["scheduler"]["spec"]["automountServiceAccountToken"] is False
    assert made["scheduler"]["service"]["type"] == "ClusterIP"
    assert made["idleTimeout"] == 1800


def test_no_container_may_become_more_than_it_is() -> None:
    spec = SPEC.workers
    assert isinstance(spec, Kubernetes)
    made = manifest(spec, "a", gpu=False)["spec"]
    for part in ("scheduler", "worker"):
        (container,) = made[part]["spec"]["containers"]
        assert container["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_dask_kubernetes_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "find_spec", lambda name: None)
    with (
        pytest.raises(
            SpecError, match=r"needs dask-kubernetes: pip install 'bigseg\[kubernetes\]'"
        ),
        open_cluster(str(EXAMPLE)),
    ):
        pass


def test_no_cluster_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_kubernetes")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/nothing")
    monkeypatch.setenv("HOME", str(tmp_path))
    with (
        pytest.raises(SpecError, match=r"does not start workers: .* See that kubectl"),
        open_cluster(str(EXAMPLE)) as groups,
    ):
        groups.of(PLAIN)
