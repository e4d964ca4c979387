"""One group of workers, for tests that do not care which steps it is for."""

from collections.abc import Iterator
from contextlib import contextmanager

from bigseg.run.cluster import open_cluster
from bigseg.run.execute import Group
from bigseg.run.folder import make_steps
from tests.run.fake_stage import Spec

PLAIN, NETWORK = make_steps(
    [
        ("plain", "tests.run.fake_stage", Spec(folder="")),
        ("network", "tests.run.fake_stage", Spec(folder="", network=True)),
    ]
)
"""A step for workers without a GPU, and one for those with."""


@contextmanager
def open_group(
    name: str | None = None, workers: int | None = None, most: int | None = None
) -> Iterator[Group]:
    with open_cluster(name, workers, most) as groups:
        yield groups.of(PLAIN)
