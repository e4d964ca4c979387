"""What several tests need: a bucket server on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.slurm import missing, slurm


@pytest.fixture(scope="session")
def new_bucket() -> Iterator[Callable[[str], str]]:
    """Make buckets, by name, on an S3 server on this machine.

    One server serves all tests: connections are kept between them and lead to it.
    """
    server_module = pytest.importorskip("moto.server")
    import boto3

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()

    def make(name: str) -> str:
        client = boto3.client("s3")
        client.create_bucket(Bucket=name)
        client.close()
        return f"s3://{name}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        yield make
    server.stop()


@pytest.fixture(scope="session")
def slurm_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The one SLURM of all tests, a real one: the environment in which its commands find it."""
    if reason := missing():
        pytest.skip(reason)
    with slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment
