"""Read what a pickle says of tensors, without running anything that it names.

A pickle is a program: it names functions and has them called. Here each name stands for a record of
ours or, if it is none of the few that describe tensors, for an object that does nothing. No module
is imported and nothing that a file names is ever called. The names are those that `torch.save`
writes (torch/_utils.py, torch/_tensor.py).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
"""Element of each of torch's classes of storage."""


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file, of which tensors are views."""

    key: str
    dtype: str
    size: int
    """Elements."""


@dataclass(frozen=True)
class View:
    """A tensor as a file describes it; offset and strides are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Inert:
    """Stands for an object that is not read: takes whatever a pickle gives it and does nothing."""

    origin = ""
    """Module and name of what it stands for."""

    def __new__(cls, *_: object, **__: object) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...
    def __call__(self, *_: object, **__: object) -> Inert:
        return self

    def __setstate__(self, _: object) -> None: ...
    def __setitem__(self, _: object, __: object) -> None: ...
    def append(self, _: object) -> None: ...
    def extend(self, _: object) -> None: ...
    def add(self, _: object) -> None: ...


class Table(dict[Any, Any]):
    """An ordered dict of a pickle, without the attributes that a pickle would give it."""

    def __setstate__(self, _: object) -> None: ...


def _view(storage: Storage, offset: int, shape: Any, strides: Any, *_: object) -> View:
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor has no storage")
    return View(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _first(value: object, *_: object) -> object:
    return value


def _call(function: Callable[..., object], _: object, arguments: Any, *__: object) -> object:
    return function(*arguments)


MEANINGS: dict[str, object] = {
    "collections.OrderedDict": Table,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _view,
    "torch._utils._rebuild_tensor_v2": _view,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _call,
}
"""Names that describe tensors, and what they mean here."""


class Reader(pickle.Unpickler):
    """Unpickler that knows tensors, and nothing else."""

    def __init__(self, file: IO[bytes]) -> None:
        # latin1 reads whatever Python 2 wrote.
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """Look a name up among the meanings; never import it."""
        origin = f"{module}.{name}"
        known = MEANINGS.get(origin)
        return type("Inert", (Inert,), {"origin": origin}) if known is None else known

    def persistent_load(self, pid: Any) -> Storage:
        """Storage of a tensor: ('storage', class, key, device, elements)."""
        kind, storage, key, _, size = pid[:5]
        name = getattr(storage, "origin", "").rpartition(".")[2]
        if kind != "storage" or name not in DTYPES or (len(pid) > 5 and pid[5] is not None):
            raise pickle.UnpicklingError(f"storage of class '{name}' is not known")
        return Storage(str(key), DTYPES[name], int(size))
