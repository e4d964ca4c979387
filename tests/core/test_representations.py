"""Maps keep their meaning in eight bits, and only what can mean something is packed."""

import numpy as np
import pytest

from bigseg.core.quantise import unpack
from bigseg.core.representations import (
    OUTPUTS,
    THRESHOLDS,
    Name,
    count_classes,
    count_maps,
    fits,
    has_vectors,
    pack,
)


def field(maps: int, ndim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (maps, *(5, 6, 7)[:ndim])).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "outputs", "ndim", "maps"),
    [
        ("flows", 3, 2, 3),
        ("flows", 3, 3, 4),
        ("flows", 4, 2, 3),
        ("flows", 5, 2, 4),
        ("flows", 6, 3, 5),
        ("hover", 3, 2, 3),
        ("borders", 2, 2, 1),
        ("borders", 3, 3, 2),
    ],
)
def test_as_many_maps_are_packed_as_are_counted(
    name: Name, outputs: int, ndim: int, maps: int
) -> None:
    assert count_maps(name, outputs, ndim) == maps
    more = ndim - 2 if has_vectors(name) else 0  # of 2D outputs a third axis of flow is made
    packed = pack(name, field(outputs + more, ndim), ndim)
    assert packed.shape == (maps, *(5, 6, 7)[:ndim])
    assert packed.dtype == np.int8


@pytest.mark.parametrize(
    ("name", "outputs", "fit"),
    [
        ("flows", 2, False),
        ("flows", 3, True),
        ("flows", 9, True),
        ("hover", 3, True),
        ("hover", 4, False),
        ("borders", 1, False),
        ("borders", 2, True),
        ("borders", 3, True),
        ("borders", 4, False),
        ("labels", 0, True),
    ],
)
def test_outputs_must_fit(name: Name, outputs: int, fit: bool) -> None:
    assert fits(name, outputs) is fit


def test_only_flows_have_classes_and_one_class_is_none() -> None:
    assert [count_classes("flows", n) for n in (3, 4, 5, 6)] == [0, 0, 2, 3]
    assert count_classes("borders", 3) == count_classes("hover", 3) == 0


def test_every_representation_has_a_threshold_and_a_number_of_outputs() -> None:
    assert THRESHOLDS.keys() == OUTPUTS.keys()


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_largest_logit_is_the_class(ndim: int) -> None:
    maps = field(ndim + 1 + 3, ndim)
    packed = pack("flows", maps, ndim)
    np.testing.assert_array_equal(packed[-1], maps[-3:].argmax(0))
    _, logits = unpack(packed[: ndim + 1])
    np.testing.assert_allclose(logits, maps[ndim], atol=1 / 32)


def test_nothing_is_kept_of_clear_background() -> None:
    maps = field(6, 2)
    maps[2] = -5
    maps[5] = 9
    assert not pack("flows", maps, 2).any()


def test_hover_maps_are_vectors_of_planes() -> None:
    maps = field(3, 2)
    vectors, logits = unpack(pack("hover", maps, 2))
    np.testing.assert_allclose(vectors, maps[:2], atol=0.005)
    np.testing.assert_allclose(logits, maps[2], atol=1 / 32)


def test_infinite_logits_are_as_sure_as_can_be() -> None:
    maps = np.zeros((3, 1, 2), np.float32)
    maps[2] = [[np.inf, -np.inf]]
    packed = pack("flows", maps, 2)
    _, logits = unpack(packed)
    assert logits[0, 0] > 7.9
    assert packed[2, 0, 1] == 0


@pytest.mark.parametrize(
    ("name", "outputs", "ndim"),
    [("flows", 3, 3), ("flows", 5, 2), ("hover", 3, 2), ("borders", 3, 2)],
)
def test_exact_maps_are_those_of_the_network(name: Name, outputs: int, ndim: int) -> None:
    maps = field(outputs + ndim - 2, ndim)
    packed = pack(name, maps, ndim, exact=True)
    assert packed.dtype == np.float32
    assert len(packed) == count_maps(name, outputs, ndim)
    if name == "borders":
        np.testing.assert_array_equal(packed[0], maps[1] - maps[0])
        np.testing.assert_array_equal(packed[1], maps[2])
    else:
        np.testing.assert_array_equal(packed[: ndim + 1], maps[: ndim + 1])
    if outputs == 5:
        np.testing.assert_array_equal(packed[-1], maps[-2:].argmax(0))
