"""Size models of the published form are read without running what a pickle asks for."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg.errors import NotFound, WeightsError
from bigseg.nets.size_model import read_size_model

RNG = np.random.default_rng(0)
PUBLISHED: dict[str, Any] = {
    "A": RNG.normal(size=8),
    "smean": RNG.normal(size=8).astype(np.float32),
    "diam_mean": 30.0,
    "ymean": np.float64(0.2),
}


def saved(folder: Path, values: Any) -> str:
    np.save(folder / "size.npy", values, allow_pickle=True)
    return str(folder / "size.npy")


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_diameters_are_those_of_the_linear_map(tmp_path: Path) -> None:
    model = read_size_model(saved(tmp_path, PUBLISHED))
    styles = RNG.normal(size=(3, 8)).astype(np.float32)
    logs = (styles - PUBLISHED["smean"]) @ PUBLISHED["A"] + 0.2
    np.testing.assert_allclose(model.diameters(styles), np.maximum(30 * np.exp(logs), 5))


def test_no_diameter_is_below_five(tmp_path: Path) -> None:
    model = read_size_model(saved(tmp_path, {**PUBLISHED, "ymean": -20}))
    assert model.diameters(np.zeros((1, 8), np.float32)).tolist() == [5.0]


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_every_protocol_of_pickle_is_read(tmp_path: Path, protocol: int) -> None:
    np.lib.format.write_array_header_1_0(
        stream := (tmp_path / "size.npy").open("wb"),
        {"descr": "|O", "fortran_order": False, "shape": ()},
    )
    pickle.dump(np.array(PUBLISHED, object), stream, protocol=protocol)
    stream.close()
    model = read_size_model(str(tmp_path / "size.npy"))
    np.testing.assert_array_equal(model.slope, PUBLISHED["A"])
    assert (model.diameter, model.offset) == (30.0, 0.2)


@pytest.mark.parametrize("where", ["A", "more"])
def test_code_in_the_pickle_is_not_run(tmp_path: Path, where: str) -> None:
    canary = tmp_path / "canary"
    url = saved(tmp_path, {**PUBLISHED, where: Canary(canary)})
    with pytest.raises(WeightsError, match=r"builtins.exec, .* may hold code, which is not run"):
        read_size_model(url)
    assert not canary.exists()
    np.load(url, allow_pickle=True)  # the canary is alive
    assert canary.exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"holds an array \(3,\) of float64, not a dict"),
        ([1, 2], r"holds an array \(2,\)"),
        ({"A": np.zeros(3)}, "lacks 'smean'"),
        ({**PUBLISHED, "smean": np.zeros(7)}, r"A has shape \(8,\), smean \(7,\)"),
        ({**PUBLISHED, "ymean": np.nan}, "not finite"),
    ],
)
def test_what_is_no_size_model_is_refused(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        read_size_model(saved(tmp_path, values))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"not numpy at all"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "size.npy").write_bytes(content)
    with pytest.raises(WeightsError, match=r"size.npy is not a size model"):
        read_size_model(str(tmp_path / "size.npy"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no size model at .*nothing.npy"):
        read_size_model(str(tmp_path / "nothing.npy"))


def test_a_size_model_of_another_network_is_refused(tmp_path: Path) -> None:
    model = read_size_model(saved(tmp_path, PUBLISHED))
    with pytest.raises(WeightsError, match=r"made for styles of 8 numbers, .* gives 4"):
        model.diameters(np.zeros((1, 4), np.float32))
