"""One driver at a time: the second is refused, and takes over when the first has been killed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bigseg import files
from bigseg.run.lease import lease_url
from tests.chaos import model
from tests.chaos.dask_chaos import Cluster
from tests.chaos.world import NETWORK, Place, Reference, Tally, World, wait_until
from tests.contracts.stores import Store


@pytest.fixture
def place(world: World, tmp_path: Path) -> Place:
    folder = world.folder / tmp_path.name  # as far from the image as that of the reference
    return Place(folder, world.zygote, random.Random(0), Tally())


@pytest.mark.parametrize(
    ("where", "machine"),
    [
        ("disk", "here"),
        pytest.param("disk", "elsewhere", marks=pytest.mark.slow),
        pytest.param("bucket", "here", marks=pytest.mark.slow),
        ("bucket", "elsewhere"),
    ],
)
def test_a_second_driver_is_refused_and_takes_over_from_the_dead(
    world: World, reference: Reference, place: Place, bucket: Store, where: str, machine: str
) -> None:
    output = str(place.output) if where == "disk" else f"{bucket.url}/{machine}/out.zarr"
    image = str(world.folder / "image.zarr")
    if where == "bucket":
        image = model.make_series(f"{bucket.url}/{machine}/image.zarr")
    command = ("segment", image, output, *NETWORK, "--cluster", "serial")
    more = {**bucket.environment, "BIGSEG_ENDPOINT": str(bucket.endpoint), "BIGSEG_CHAOS_BEAT": "1"}
    place.hold(reference.moments // 5)
    elsewhere = {"BIGSEG_CHAOS_MACHINE": "node7"} if machine == "elsewhere" else {}
    first = place.start(*command, **more, **elsewhere)
    wait_until(lambda: place.taken() or first.poll() is not None, "the first driver")
    lease = lease_url(f"{output}.bigseg")
    assert files.exists(lease), first.said()

    second = place.start(*command, **more)
    assert second.wait() == 1, second.said()
    assert f"drives the run at {output}.bigseg already" in second.said()
    assert "If it dies, this command continues its work." in second.said()
    assert "Traceback" not in second.said()

    first.kill()
    assert first.wait() == -9
    assert files.exists(lease)
    third = place.start(*command, **more)
    assert third.wait() == 0, third.said()
    assert not files.exists(lease)
    place.read_log()
    assert place.tally.recorded_again == 0
    assert_same_labels(output, str(reference.folder / "out.zarr"))


def assert_same_labels(one: str, other: str) -> None:
    """All objects that are stored, to the last byte; but zarr.json of the group names the run."""
    found, expected = files.tree(one), files.tree(other)
    assert found == expected
    for path in found:
        if path != "zarr.json":
            assert files.get(f"{one}/{path}") == files.get(f"{other}/{path}"), path


def test_a_killed_scheduler_is_told_of_in_a_sentence(
    world: World, reference: Reference, place: Place
) -> None:
    command = world.command("segment", place)
    cluster = Cluster(place)
    try:
        cluster.mend()
        wait_until(cluster.ready, "the workers")
        assert cluster.scheduler is not None
        place.arm(1, "worker", "scheduler", cluster.scheduler.pid)
        driver = place.start(*command, "--cluster", cluster.address)
        assert driver.wait() == 1
    finally:
        cluster.close()
    assert "Traceback" not in driver.said(), driver.said()
    assert "Error: The connection to the Dask scheduler is lost" in driver.said()
    again = place.start(*command, "--cluster", "serial")
    assert again.wait() == 0, again.said()
    place.end(reference)
