"""Parts of shards are read in few requests, and are what zarr alone would read."""

from collections.abc import Iterator
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg import files
from bigseg.io import shards
from bigseg.io.shards import join
from bigseg.io.store import open_array, open_store
from bigseg.opened import remembering
from tests.contracts.flaky import Proxy, proxy
from tests.contracts.stores import store

SHAPE, SHARD, CHUNK = (64, 64, 96), (32, 64, 64), (8, 8, 8)
DATA = np.random.default_rng(0).integers(0, 2**16, SHAPE, np.uint16)
SHARDS = 4


def box(*spans: tuple[int, int]) -> tuple[slice, ...]:
    return tuple(slice(*span) for span in spans)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Proxy]]:
    """A bucket and who counts its requests."""
    with (
        store("s3", tmp_path_factory.mktemp("s3")) as served,
        proxy(str(served.endpoint)) as between,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("BIGSEG_ENDPOINT", between.address)
        yield served.url, between


@pytest.fixture
def image(
    counted: tuple[str, Proxy], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """An array of shards that count as large, as 256 MiB do where requests cost 8 MiB."""
    monkeypatch.setattr(shards, "REQUEST", prod(SHARD) * 2 // 32)
    monkeypatch.setattr(shards, "END", 0)
    url = f"{counted[0]}/{request.node.name}"
    write(url, DATA)
    return url


def write(url: str, data: np.ndarray, shard: Any = SHARD) -> None:
    made = zarr.create_array(
        open_store(url, read_only=False), shape=data.shape, chunks=CHUNK, shards=shard,
        dtype=data.dtype, overwrite=True,
    )  # fmt: skip
    made[:] = data


def gets(url: str, counted: tuple[str, Proxy], *boxes: tuple[slice, ...]) -> list[int]:
    """GETs of shards for each of some boxes that are read one after the other."""
    array, found = open_array(url), []
    for one in boxes:
        counted[1].begin()
        np.testing.assert_array_equal(array[one], DATA[one])
        assert not counted[1].total("HEAD")
        found.append(counted[1].total("GET", "/c/"))
    return found


def test_a_whole_shard_is_one_request(image: str, counted: tuple[str, Proxy]) -> None:
    assert gets(image, counted, box((0, 32), (0, 64), (0, 64)), box((0, 64), (0, 64), (0, 96))) == [
        1,
        SHARDS,
    ]


def test_an_index_is_read_once_and_chunks_together(image: str, counted: tuple[str, Proxy]) -> None:
    corner, next_to_it = box((0, 16), (0, 16), (0, 16)), box((0, 16), (16, 32), (0, 16))
    assert gets(image, counted, corner, corner, next_to_it) == [2, 1, 1]


def test_blocks_of_a_step_share_indexes_and_the_next_step_looks_anew(
    image: str, counted: tuple[str, Proxy]
) -> None:
    corner = box((0, 16), (0, 16), (0, 16))
    found = []
    for step in ("label", "label", "write"):
        with remembering(step):
            found += gets(image, counted, corner)
    assert found == [2, 1, 2]


def test_what_lies_far_apart_in_a_shard_is_not_read_through(
    image: str, counted: tuple[str, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = box((0, 8), (0, 64), (0, 8))
    few = gets(image, counted, rows, rows)[1]
    assert few > 1
    monkeypatch.setattr(shards, "REQUEST", prod(SHARD))  # requests are dear
    assert gets(image, counted, rows, rows) == [2, 1]


def test_a_halo_reads_each_shard_with_one_request_more_at_most(
    image: str, counted: tuple[str, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "REQUEST", prod(SHARD))
    block = box((24, 40), (0, 64), (56, 72))
    first, later = gets(image, counted, block, block)
    assert first <= 2 * SHARDS
    assert later == SHARDS


def test_small_shards_are_read_whole_with_their_index(
    image: str, counted: tuple[str, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    corner, other = box((0, 1), (0, 1), (0, 1)), box((31, 32), (63, 64), (63, 64))
    monkeypatch.setattr(shards, "REQUEST", prod(SHARD) * 2)
    assert gets(image, counted, corner) == [1]
    monkeypatch.setattr(shards, "REQUEST", 0)
    monkeypatch.setattr(shards, "END", prod(SHARD) * 4)  # compressed they may be small
    assert gets(image, counted, corner, other) == [1, 1]


def test_nearly_all_of_a_shard_is_read_with_one_request(
    image: str, counted: tuple[str, Proxy]
) -> None:
    assert gets(image, counted, box((0, 32), (0, 64), (2, 64))) == [1], "all chunks"
    assert gets(image, counted, box((0, 31), (0, 64), (0, 64))) == [1]


def test_what_is_written_anew_is_read_anew(image: str, counted: tuple[str, Proxy]) -> None:
    array, corner = open_array(image), box((0, 9), (0, 9), (0, 9))
    np.testing.assert_array_equal(array[corner], DATA[corner])
    write(image, DATA // 512)
    np.testing.assert_array_equal(array[corner], DATA[corner] // 512)
    open_array(image)[corner]
    made = zarr.open_array(open_store(image, read_only=False), mode="r+")
    made[:] = 0
    assert not array[corner].any(), "a shard that is empty is not stored"


def test_selections_that_are_no_boxes_are_read_as_ever(image: str) -> None:
    array = open_array(image)
    np.testing.assert_array_equal(array[5, :, 7], DATA[5, :, 7])
    np.testing.assert_array_equal(array[::3, 1:60:7, -5:], DATA[::3, 1:60:7, -5:])
    rows = np.array([1, 40, 50])
    np.testing.assert_array_equal(array.oindex[rows, :, rows], DATA[np.ix_(rows, range(64), rows)])
    np.testing.assert_array_equal(array.vindex[rows, rows, rows], DATA[rows, rows, rows])


def test_an_index_elsewhere_is_left_to_zarr(counted: tuple[str, Proxy]) -> None:
    url = f"{counted[0]}/start"
    write(url, DATA, {"shape": SHARD, "index_location": "start"})
    corner = box((0, 9), (0, 9), (0, 9))
    np.testing.assert_array_equal(open_array(url)[corner], DATA[corner])


@pytest.mark.parametrize("left", [10, 2000])
def test_a_shard_that_breaks_off_is_no_data(
    image: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "END", 4000)
    place = f"{image}/c/0/0/0"
    files.put(place, files.get(place)[:-left])
    with pytest.raises((RuntimeError, ValueError, EOFError)):
        open_array(image)[box((0, 9), (0, 9), (0, 9))]


@given(
    st.sets(st.integers(0, 40), min_size=1, max_size=12),
    st.integers(0, 10),
)
@settings(deadline=None)
def test_spans_are_joined_across_short_gaps_only(starts: set[int], gap: int) -> None:
    spans = [(10 * start, 10 * start + 5) for start in starts]
    joined = join(spans, gap)
    assert all(any(a <= start and stop <= b for a, b in joined) for start, stop in spans)
    assert all(later[0] - one[1] > gap for one, later in pairwise(joined))
    assert {end for one in joined for end in one} <= {end for one in spans for end in one}
