"""What docs/explanation/security.md says of the code."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import bigseg
from bigseg.errors import SpecError
from bigseg.jobs.segment import segment
from bigseg.run import queues
from bigseg.specs.cluster import Jobs
from bigseg.storage import Options
from tests.worlds import make_image

ROOT = Path(__file__).parents[1]
SECRET = "secret-8d1f02a7"
VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT_KEY")
PICKLES = {"nets/size_model.py"}
"""Modules that read pickles, by readers that refuse to call anything: tests/nets/."""


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, SECRET)


@pytest.mark.usefixtures("secrets")
def test_no_file_of_a_run_holds_a_secret(tmp_path: Path) -> None:
    y, x = np.mgrid[:40, :40]
    disc = (((y - 20) ** 2 + (x - 20) ** 2 < 81) * 180).astype(np.uint8)
    image = make_image(f"{tmp_path}/image.zarr", disc, "yx").image.url
    segment(image, model="nuclei", cluster="serial", keep_scratch=True)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "run.json" for path in written)
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.usefixtures("secrets")
def test_no_job_script_holds_a_secret(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    spec = Jobs(
        kind="slurm",
        jobs=1,
        cores=1,
        memory="1 GB",
        walltime="00:10:00",
        interface="lo",
        logs=str(tmp_path),
    )
    with queues.make_cluster(spec) as cluster:
        assert SECRET not in cluster.job_script()


def test_a_batch_system_s_scheduler_listens_on_its_interface_only(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    spec = Jobs(
        kind="slurm",
        jobs=1,
        cores=1,
        memory="1 GB",
        walltime="00:10:00",
        interface="lo",
        logs=str(tmp_path),
    )
    with queues.make_cluster(spec) as cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
        assert cluster.scheduler.http_server is not None
        assert cluster.dashboard_link.startswith("http://127.0.0.1:")


def test_an_endpoint_with_a_password_is_refused() -> None:
    with pytest.raises(SpecError, match="must hold no credentials"):
        Options(endpoint=f"https://me:{SECRET}@minio.example.org")


def calls() -> Iterator[tuple[str, ast.Call]]:
    """All calls in the package, with the module they are in."""
    folder = Path(bigseg.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield path.relative_to(folder).as_posix(), node


def test_nothing_is_unpickled_or_evaluated() -> None:
    evil = {"eval", "exec", "pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load"}
    evil |= {"yaml.load", "os.system", "joblib.load", "dill.loads", "cloudpickle.loads"}
    found = [(module, ast.unparse(call)) for module, call in calls() if name(call) in evil]
    assert [one for one in found if one[0] not in PICKLES] == []


def test_no_array_is_read_with_its_pickles() -> None:
    allowed = [
        (module, ast.unparse(call))
        for module, call in calls()
        for word in call.keywords
        if word.arg == "allow_pickle" and ast.unparse(word.value) != "False"
    ]
    assert allowed == []


def test_no_command_goes_through_a_shell() -> None:
    shells = [
        (module, ast.unparse(call))
        for module, call in calls()
        for word in call.keywords
        if word.arg == "shell" and ast.unparse(word.value) != "False"
    ]
    assert shells == []


def name(call: ast.Call) -> str:
    return ast.unparse(call.func)


def test_policies_allow_objects_and_nothing_else() -> None:
    folder = ROOT / "deploy" / "policies"
    s3 = json.loads((folder / "s3.json").read_text())
    actions = {
        action
        for statement in s3["Statement"]
        if statement["Effect"] == "Allow"
        for action in np.atleast_1d(statement["Action"]).tolist()
    }
    objects = {"GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload"}
    assert actions == {f"s3:{one}" for one in objects} | {"s3:ListBucket"}
    azure = json.loads((folder / "azure.json").read_text())
    assert azure["Actions"] == []
    assert all("/blobs/" in action for action in azure["DataActions"])
    roles = {one["role"] for one in json.loads((folder / "gcs.json").read_text())["bindings"]}
    assert roles == {"roles/storage.objectViewer", "roles/storage.objectUser"}
