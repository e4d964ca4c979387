"""What all tests here share: one process that starts commands, and the undisturbed runs."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.chaos.chaos import Chaos
from tests.chaos.world import Reference, World
from tests.chaos.zygote import Zygote
from tests.contracts.stores import Store, store

SEED = 5


@pytest.fixture(scope="session")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    folder = tmp_path_factory.mktemp("chaos")
    with Zygote(folder) as zygote:
        yield Chaos(World.make(folder, zygote), random.Random(SEED))


@pytest.fixture(scope="session")
def world(chaos: Chaos) -> World:
    return chaos.world


@pytest.fixture(scope="session")
def reference(chaos: Chaos) -> Reference:
    return chaos.reference("segment")


@pytest.fixture(scope="module")  # its server checks the credentials of all servers of a process
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store("s3", tmp_path_factory.mktemp("s3")) as served:
        yield served
