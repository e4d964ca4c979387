"""Files of weights: shapes and tensors of safetensors and PyTorch files, without PyTorch.

Only tensors are read; code in a pickle is never run (see unpickle.py). A local file is mapped into
memory, so that its tensors are views of it and no byte is copied; a remote one is copied once.

Formats: https://github.com/huggingface/safetensors#format and what torch.save writes, a zip archive
of NAME/data.pkl, which describes the tensors, and NAME/data/KEY, their uncompressed numbers.
"""

from __future__ import annotations

import io
import json
import mmap
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.errors import BigsegError, NotFound, WeightsError
from bigseg.nets.unpickle import Inert, Reader, Storage, View

Array = NDArray[Any]

NESTED = ("model_state", "state_dict", "model", "model_state_dict")
"""Where training checkpoints keep the state dict: micro-SAM, Lightning, many, PyTorch's guide."""

LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""First bytes of what torch.save wrote before version 1.6, torch/serialization.py MAGIC_NUMBER."""

SAFETENSORS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
"""Elements of safetensors that numpy has or can widen."""


class _Foreign(Exception):
    """Why a file is not one of weights; the caller knows its name."""


@dataclass(frozen=True)
class _Header:
    """What a file says before its numbers."""

    views: Mapping[str, View]
    start: Callable[[Storage], int]
    """Byte at which the numbers of a storage begin."""
    big_endian: bool = False


def read_shapes(url: str) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor in a file of weights, of which only the header is read.

    Raises
    ------
    NotFound
        If there is no such file.
    WeightsError
        If it is not a file of weights.
    """
    with _opened(url) as file:
        return {name: view.shape for name, view in _header(file).views.items()}


def read_tensors(url: str, names: Collection[str] | None = None) -> dict[str, Array]:
    """Tensors of a file of weights, or those of the `names` that it holds.

    bfloat16, which numpy lacks, becomes float32.

    Arrays of a local file are views of the file, mapped copy-on-write: writing to them changes
    neither the file nor other readers.

    Raises
    ------
    NotFound
        If there is no such file.
    WeightsError
        If it is not a file of weights, or lacks a part.
    """
    with _opened(url) as file:
        header = _header(file)
        chosen = header.views if names is None else [n for n in header.views if n in names]
        views = {name: header.views[name] for name in chosen}
        starts = {view.storage: header.start(view.storage) for view in views.values()}
        read = _reader(file)
        # In the order of the file, so that a remote one is read from its begin to its end.
        runs = {
            storage: _numbers(read(starts[storage], _bytes(storage)), storage, header.big_endian)
            for storage in sorted(starts, key=lambda storage: starts[storage])
        }
        return {name: _tensor(runs[view.storage], view, name) for name, view in views.items()}


@contextmanager
def _opened(url: str) -> Iterator[BinaryIO]:
    """Open a file to read, and say in one sentence what is wrong with it."""
    try:
        with files.open_read(url) as file:
            yield file
    except BigsegError:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"{url} is not there or is a folder; give a file of weights.") from error
    except _Foreign as error:
        raise WeightsError(f"{url} {error}") from error
    except OSError as error:
        raise files.Unreachable(f"{url} cannot be read ({error}).") from error
    except Exception as error:  # a broken file can fail anywhere
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise WeightsError(
            f"{url} is not a file of weights or is damaged ({reason}); expected safetensors, or a "
            "state dict saved by torch.save. Fetch or copy it again."
        ) from error


def _header(file: BinaryIO) -> _Header:
    """Tell the format by the first bytes, whatever the file is called."""
    size = file.seek(0, 2)
    file.seek(0)
    begin = file.read(64)
    if begin.startswith(b"PK\x03\x04"):
        return _zip_header(file, size)
    if begin.startswith(LEGACY):
        raise _Foreign(
            "was saved by PyTorch before 1.6 or without its zip format; convert it once: "
            "torch.save(torch.load(OLD, map_location='cpu', weights_only=True), NEW)."
        )
    if begin.lstrip().startswith(b"<"):
        raise _Foreign("is a web page, not weights; download the file that the page offers.")
    if begin.startswith(b"version https://git-lfs"):
        raise _Foreign("only points to a file in Git LFS; fetch that file with 'git lfs pull'.")
    if len(begin) > 8 and begin[8:9] == b"{":
        return _safetensors_header(file, size)
    what = "is not a file of weights" if size else "is empty"
    raise _Foreign(f"{what}; expected safetensors, or a state dict saved by torch.save.")


def _safetensors_header(file: BinaryIO, size: int) -> _Header:
    """8 bytes: length n of the header; n bytes: JSON; then the numbers."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise _Foreign(_truncated(size, 8 + length))
    entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    views, starts = {}, {}
    for name, entry in entries.items():
        if entry["dtype"] not in SAFETENSORS:
            raise _Foreign(f"holds '{name}' as {entry['dtype']}, which is not read; use F32.")
        shape, (start, end) = tuple(map(int, entry["shape"])), entry["data_offsets"]
        storage = Storage(name, SAFETENSORS[entry["dtype"]], prod(shape))
        if end - start != _bytes(storage) or start < 0:
            raise _Foreign(f"is damaged: '{name}' has {end - start} bytes for shape {shape}.")
        if 8 + length + end > size:
            raise _Foreign(_truncated(size, 8 + length + end))
        views[name] = View(storage, 0, shape, _row_major(shape))
        starts[name] = 8 + length + start
    if not views:
        raise _Foreign("holds no tensor.")
    return _Header(views, lambda storage: starts[storage.key])


def _zip_header(file: BinaryIO, size: int) -> _Header:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise _Foreign(_truncated(size, None)) from None
    entries = {info.filename: info for info in archive.infolist()}
    described = [name for name in entries if name.endswith("/data.pkl")]
    if len(described) != 1:
        raise _Foreign("is a zip archive, but not one that torch.save wrote.")
    folder = described[0].removesuffix("data.pkl")
    with archive.open(described[0]) as described_file:
        views = _state(Reader(described_file).load())
    order = f"{folder}byteorder"
    big = order in entries and archive.read(order) == b"big"

    def start(storage: Storage) -> int:
        entry = entries.get(f"{folder}data/{storage.key}")
        if entry is None or entry.compress_type or entry.file_size < _bytes(storage):
            raise _Foreign(f"is damaged: it lacks the numbers of storage '{storage.key}'.")
        file.seek(entry.header_offset + 26)  # lengths of the name and of the padding behind it
        begin = file.read(4)
        skipped = int.from_bytes(begin[:2], "little") + int.from_bytes(begin[2:], "little")
        return int(entry.header_offset + 30 + skipped)

    return _Header(views, start, big)


def _state(content: object) -> dict[str, View]:
    """State dict in what a pickle holds: all of it, or where training checkpoints keep it.

    What is no tensor is left out; a network that needs it will say which key it lacks.
    """
    if isinstance(content, dict):
        for key in NESTED:
            if found := _views(content.get(key)):
                return found
        if found := _views(content):
            return found
    if isinstance(content, Inert):
        raise _Foreign(
            f"holds a pickled object ({content.origin}), which is never loaded; save its "
            "state_dict() instead."
        )
    keys = ", ".join(f"'{key}'" for key in content) if isinstance(content, dict) else ""
    raise _Foreign(f"holds no state dict{f', only {keys[:200]}' if keys else ''}.")


def _views(content: object) -> dict[str, View]:
    if not isinstance(content, dict):
        return {}
    found = {str(name): value for name, value in content.items() if isinstance(value, View)}
    if all(name.startswith("module.") for name in found):  # saved from inside DataParallel
        return {name.removeprefix("module."): value for name, value in found.items()}
    return found


def _reader(file: BinaryIO) -> Callable[[int, int], Array]:
    """Function that reads bytes from the file: (start, count) → (count,) uint8."""
    if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):  # a local file
        mapped = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        return lambda start, count: mapped[start : start + count]

    def read(start: int, count: int) -> Array:
        numbers = np.empty(count, np.uint8)
        file.seek(start)
        got = file.readinto(numbers.data) if count else 0  # type: ignore[attr-defined]
        return numbers[:got]

    return read


def _numbers(raw: Array, storage: Storage, big_endian: bool) -> Array:
    """Elements of a storage: (bytes,) uint8 → (elements,)."""
    if len(raw) != _bytes(storage):
        raise _Foreign(f"is truncated: storage '{storage.key}' lacks bytes; fetch it again.")
    order: Literal["<", ">"] = ">" if big_endian else "<"
    if storage.dtype == "bfloat16":  # the upper half of a float32
        halves = raw.view(np.dtype("uint16").newbyteorder(order))
        return (halves.astype(np.uint32) << 16).view(np.float32)
    dtype = np.dtype(storage.dtype).newbyteorder(order)
    if raw.ctypes.data % dtype.itemsize:
        raw = raw.copy()
    return raw.view(dtype).astype(np.dtype(storage.dtype), copy=False)


def _tensor(numbers: Array, view: View, name: object) -> Array:
    """View of a storage with the tensor's shape, offset and strides."""
    pairs = list(zip(view.shape, view.strides, strict=True))
    if min([0, view.offset, *view.shape, *view.strides]) < 0:
        raise _Foreign(f"is damaged: '{name}' has a negative shape, offset or stride.")
    last = view.offset + sum((n - 1) * stride for n, stride in pairs)
    if prod(view.shape) and last >= len(numbers):
        raise _Foreign(f"is damaged: '{name}' reaches beyond its numbers.")
    if view.strides == _row_major(view.shape):
        return numbers[view.offset : view.offset + prod(view.shape)].reshape(view.shape)
    strides = tuple(stride * numbers.itemsize for stride in view.strides)
    return np.lib.stride_tricks.as_strided(numbers[view.offset :], view.shape, strides)


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _bytes(storage: Storage) -> int:
    width = 2 if storage.dtype == "bfloat16" else np.dtype(storage.dtype).itemsize
    return storage.size * width


def _truncated(size: int, needed: int | None) -> str:
    of = f" of {needed:,}" if needed else ""
    return f"is truncated: it has {size:,}{of} bytes; fetch or copy it again."
