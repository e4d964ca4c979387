"""Files of weights are read whole, without PyTorch, and nothing in them is run."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from bigseg import files
from bigseg.errors import NotFound, WeightsError
from bigseg.nets.tensors import read_shapes, read_tensors

SAVERS = {"pt": torch.save, "safetensors": save_file}
DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


def state(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    numbers = (torch.arange(6) % 2 if dtype is torch.bool else torch.arange(6) - 2).to(dtype)
    return {"a.weight": numbers.reshape(2, 3), "a.bias": numbers[:1].clone(), "n": numbers.sum()}


def same(found: dict[str, np.ndarray], expected: dict[str, torch.Tensor]) -> bool:
    widened = {k: v.float() if v.dtype is torch.bfloat16 else v for k, v in expected.items()}
    return found.keys() == widened.keys() and all(
        np.array_equal(found[k], v.numpy()) and found[k].dtype == v.numpy().dtype
        for k, v in widened.items()
    )


@pytest.fixture(params=SAVERS)
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], str]:
    def write(content: Any) -> str:
        path = tmp_path / f"net.{request.param}"
        SAVERS[request.param](content, path)
        return str(path)

    return write


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_kind_of_number_comes_back(save: Callable[[Any], str], dtype: torch.dtype) -> None:
    url = save(state(dtype))
    assert same(read_tensors(url), state(dtype))
    assert read_shapes(url) == {"a.weight": (2, 3), "a.bias": (1,), "n": ()}


def test_only_the_tensors_that_are_named_are_read(save: Callable[[Any], str]) -> None:
    assert list(read_tensors(save(state()), ["a.bias", "missing"])) == ["a.bias"]


def test_pytorch_is_not_imported(save: Callable[[Any], str]) -> None:
    code = (
        "import sys; from bigseg.nets.tensors import *; read_shapes(sys.argv[1]); "
        "read_tensors(sys.argv[1]); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, save(state())], check=True)


def test_files_elsewhere_are_read(save: Callable[[Any], str]) -> None:
    content = Path(save(state())).read_bytes()
    fsspec.filesystem("memory").pipe_file("/weights/net", content)
    assert same(read_tensors("memory://weights/net"), state())
    assert read_shapes("memory://weights/net")["a.weight"] == (2, 3)
    with pytest.raises(NotFound, match="memory://weights/none is not there"):
        read_shapes("memory://weights/none")


def test_the_original_stays_when_an_array_is_written_to(save: Callable[[Any], str]) -> None:
    url = save(state())
    read_tensors(url)["a.weight"][:] = 7
    assert same(read_tensors(url), state())


@settings(deadline=None, max_examples=25)
@given(
    start=st.integers(0, 3),
    step=st.integers(1, 3),
    turn=st.booleans(),
    rows=st.integers(0, 4),
)
def test_views_of_one_storage_keep_their_elements(
    start: int, step: int, turn: bool, rows: int
) -> None:
    base = torch.arange(48.0).reshape(6, 8)
    views = {"cut": base[start : start + rows, ::step], "base": base, "row": base[3].expand(2, 8)}
    views["cut"] = views["cut"].T if turn else views["cut"]
    fs = fsspec.filesystem("memory")
    with fs.open("/views.pt", "wb") as file:
        torch.save(views, file)
    assert same(read_tensors("memory://views.pt"), views)


def test_parameters_and_modules_keep_their_names(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    torch.save(net.state_dict(), tmp_path / "module.pt")
    torch.save(OrderedDict(net.named_parameters()), tmp_path / "parameters.pt")
    assert same(read_tensors(str(tmp_path / "module.pt")), net.state_dict())
    parameters = {k: v.detach() for k, v in net.named_parameters()}
    assert same(read_tensors(str(tmp_path / "parameters.pt")), parameters)


@pytest.mark.parametrize("key", ["model_state", "state_dict", "model", "model_state_dict"])
def test_the_state_dict_of_a_training_checkpoint_is_found(tmp_path: Path, key: str) -> None:
    optimizer = torch.optim.AdamW([torch.zeros(2, requires_grad=True)])
    checkpoint = {
        "epoch": 3,
        "optimizer_state": optimizer.state_dict(),
        "optimizer": optimizer,
        "arguments": Namespace(rate=0.1, path=Path("x"), when={1, 2}, kind=np.float32(2)),
        key: OrderedDict(state()),
    }
    torch.save(checkpoint, tmp_path / "net.pt")
    assert same(read_tensors(str(tmp_path / "net.pt")), state())


def test_names_from_inside_data_parallel_are_those_of_the_network(tmp_path: Path) -> None:
    net = torch.nn.Linear(2, 3)
    torch.save(torch.nn.DataParallel(net).state_dict(), tmp_path / "net.pt")
    assert same(read_tensors(str(tmp_path / "net.pt")), net.state_dict())


class Canary:
    """Makes a file when it is unpickled by anything that runs what a pickle names."""

    def __init__(self, path: Path, how: str) -> None:
        self.call: tuple[Any, ...] = {
            "system": (os.system, (f"touch {path}",)),
            "mkdir": (os.mkdir, (str(path),)),
            "eval": (eval, (f"__import__('os').mkdir({str(path)!r})",)),
        }[how]

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("how", ["system", "mkdir", "eval"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, how: str) -> None:
    canary, url = tmp_path / "canary", str(tmp_path / "net.pt")
    torch.save({"state_dict": state(), "more": [Canary(canary, how)]}, url)
    assert same(read_tensors(url), state())
    torch.save(Canary(canary, how), url)
    with pytest.raises(WeightsError, match=r"holds a pickled object \(.*\), which is never loaded"):
        read_tensors(url)
    assert not canary.exists()
    torch.load(url, weights_only=False)
    assert canary.exists(), "the canary does not sing"


def archive(path: Path, described: bytes, **parts: bytes) -> str:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("net/data.pkl", described)
        for name, content in parts.items():
            made.writestr(f"net/data/{name}", content)
    return str(path)


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch canary'\ntR.",  # REDUCE
        b"(S'touch canary'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch canary'\no.",  # OBJ
        b"\x80\x02cos\nsystem\nS'touch canary'\n\x85\x81.",  # NEWOBJ
        b"cos\nsystem\nS'touch canary'\nb.",  # BUILD on what is named
        b"ccollections\nOrderedDict\n(N}S'clear'\ncos\nsystem\nstb.",  # BUILD with slots
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN(S'touch canary'\ntNtR.",
        b"\x82\x01.",  # EXT1
    ],
)
def test_no_instruction_of_a_pickle_runs_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    called: list[str] = []
    monkeypatch.setattr(os, "system", called.append)
    with pytest.raises(WeightsError):
        read_tensors(archive(tmp_path / "net.pt", program))
    assert called == []
    assert not (tmp_path / "canary").exists()
    assert OrderedDict(a=1).clear is not os.system


def view(key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """A pickle of {'x': tensor} on six float32, written by hand."""
    return (
        b"(dS'x'\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\n"
        + f"S'{key}'\nS'cpu'\nI6\ntQ".encode()
        + b"".join(pickle.dumps(part, 0)[:-1] for part in (offset, shape, strides))
        + b"I00\nNtRs."
    )


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (view("0", 1, (2, 3), (3, 1)), "'x' reaches beyond its numbers"),
        (view("0", 0, (2, 3), (1 << 40, 1)), "'x' reaches beyond its numbers"),
        (view("0", 5, (2, 3), (-3, 1)), "'x' has a negative shape, offset or stride"),
        (view("0", 0, (-2, 3), (3, 1)), "'x' has a negative shape, offset or stride"),
        (view("9", 0, (2, 3), (3, 1)), "it lacks the numbers of storage '9'"),
        (view("0", 0, (2, 3), (1,)), "is not a file of weights or is damaged"),
    ],
)
def test_tensors_that_reach_beyond_their_file_are_refused(
    tmp_path: Path, described: bytes, message: str
) -> None:
    url = archive(tmp_path / "net.pt", described, **{"0": bytes(24)})
    with pytest.raises(WeightsError, match=message):
        read_tensors(url)


def test_numbers_written_by_hand_come_back(tmp_path: Path) -> None:
    numbers = np.arange(6, dtype=np.float32).tobytes()
    url = archive(tmp_path / "net.pt", view("0", 0, (3, 2), (1, 3)), **{"0": numbers})
    np.testing.assert_array_equal(read_tensors(url)["x"], [[0, 3], [1, 4], [2, 5]])


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    numbers = np.arange(6, dtype=">f4").tobytes()
    archive(path, view("0", 0, (6,), (1,)), **{"0": numbers})
    with zipfile.ZipFile(path, "a") as made:
        made.writestr("net/byteorder", "big")
    np.testing.assert_array_equal(read_tensors(str(path))["x"], np.arange(6))


@pytest.mark.parametrize("kept", [0, 5, 9, 100, -400, -40, -1])
def test_truncated_files_are_refused(save: Callable[[Any], str], kept: int) -> None:
    url = save(state())
    files.put(url, files.get(url)[:kept])
    with pytest.raises(WeightsError, match=r"truncated|is empty|is not a file of weights"):
        read_shapes(url)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n<!DOCTYPE html><html>sign in</html>", "is a web page, not weights; download the file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "only points to a file in Git LFS"),
        (b"", "is empty"),
        (b"no weights, but long enough to look at", "is not a file of weights; expected"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "is not a file of weights; expected"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "net").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_tensors(str(tmp_path / "net"))


def test_a_folder_or_nothing_is_refused(tmp_path: Path) -> None:
    for url in (str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(NotFound, match="is not there or is a folder"):
            read_shapes(url)


def test_what_pytorch_saved_long_ago_is_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"convert it once: torch.save\(torch.load\(OLD"):
        read_shapes(str(tmp_path / "old.pt"))


def test_other_zip_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", x=np.zeros(3))
    with pytest.raises(WeightsError, match=r"not one that torch\.save wrote"):
        read_shapes(str(tmp_path / "arrays.npz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.nn.Linear(2, 2), r"pickled object \(torch.nn.modules.linear.Linear\).*state_dict"),
        ({"epoch": 1, "rate": 0.1}, "holds no state dict, only 'epoch', 'rate'"),
        ([torch.zeros(2)], "holds no state dict"),
    ],
)
def test_files_of_pytorch_without_a_state_dict_are_refused(
    tmp_path: Path, content: object, message: str
) -> None:
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=message):
        read_shapes(str(tmp_path / "net.pt"))


def safetensors(header: object, numbers: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"x": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, "'x' as F8_E4M3"),
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "'x' has 4 bytes"),
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "is truncated"),
        ({"x": {"shape": [2]}}, "is damaged"),
        ({"__metadata__": {"format": "pt"}}, "holds no tensor"),
    ],
)
def test_damaged_safetensors_are_refused(tmp_path: Path, header: object, message: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(safetensors(header))
    with pytest.raises(WeightsError, match=message):
        read_shapes(str(tmp_path / "x.safetensors"))


def test_numbers_at_odd_places_are_read(tmp_path: Path) -> None:
    header = {
        "flag": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]},
        "x": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
    }
    numbers = b"\x01" + np.array([1, 2], np.float32).tobytes()
    (tmp_path / "x.safetensors").write_bytes(safetensors(header, numbers))
    found = read_tensors(str(tmp_path / "x.safetensors"))["x"]
    assert found.tolist() == [1, 2]
    assert found.flags.aligned


def test_a_large_local_file_is_not_copied(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1 << 20)}, tmp_path / "net.pt")
    found = read_tensors(str(tmp_path / "net.pt"))["x"]
    while isinstance(found.base, np.ndarray):
        found = found.base
    assert type(found.base).__name__ in ("mmap", "memoryview")


@settings(deadline=None, max_examples=40)
@given(at=st.integers(0, 2000), value=st.integers(0, 255))
def test_damage_anywhere_is_refused_or_harmless(at: int, value: int) -> None:
    file = io.BytesIO()
    torch.save(state(), file)
    content = bytearray(file.getvalue())
    content[at % len(content)] = value
    files.put("memory://damaged", bytes(content))
    with suppress(WeightsError):
        read_tensors("memory://damaged")
