"""Any function as a model: `package.module:function`, imported by every worker.

Of a tile or a block of a normalised image it makes output maps, as a network does, or labels.
Attributes of the function say what it takes and makes; all may be missing:

- `representation`: "flows" (the default), "hover", "borders" or "labels"
- `channels`: how many it takes at most (64)
- `outputs`: how many maps it makes (3; 2 of borders)
- `diameter`: pixels that objects should have (images are not resized)
- `tile`: edge of the only tiles it takes (any multiple of 16)

Maps: (n, c, y, x) float32 → (n, k, y, x) float32, flows in voxels per step. Labels: (c, y, x) or
(c, z, y, x) float32 → integers of that shape without c, 0 being background.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from bigseg.errors import NotFound, SpecError

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
Function = Callable[..., Any]


def is_function(model: str) -> bool:
    """Whether a model is given as `package.module:function`."""
    return NAME.fullmatch(model) is not None


def name_of(function: Function) -> str:
    """`package.module:function` of a function, by which workers find it.

    Raises
    ------
    SpecError
        If they could not: it is nameless, or inside something else, or of an interactive session.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not module or module == "__main__" or not name.isidentifier():
        raise SpecError(
            f"The model {function!r} cannot be found by workers: put it at the top of a module "
            "that they can import, or save it there and give 'module:function'."
        )
    if getattr(sys.modules.get(module), name, None) is not function:
        raise SpecError(
            f"The model {function!r} is not what workers would find as {module}:{name}; give "
            "it, decorators included, that name."
        )
    return f"{module}:{name}"


def load_function(model: str) -> Function:
    """Import the function that `package.module:function` names.

    Raises
    ------
    NotFound
        If there is no such module, or no such function in it.
    """
    module, name = model.split(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does, so that a file beside the data will do
        sys.path.insert(0, here)
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # the module is the user's, and may fail in any way
        raise NotFound(
            f"Model '{model}': module '{module}' cannot be imported ({type(error).__name__}: "
            f"{error}); see that it is installed, or start bigseg in its folder."
        ) from error
    if not callable(found):
        raise NotFound(f"Model '{model}': module '{module}' has no function '{name}'.")
    return found  # type: ignore[no-any-return]


def source_digest(model: str) -> str:
    """SHA-256 of the modules that hold the function: another version is another model."""
    function, found = load_function(model), hashlib.sha256()
    # Where it is named and where it is defined: other modules may lend it their name.
    for module in (sys.modules[model.split(":")[0]], inspect.getmodule(function)):
        path = Path(getattr(module, "__file__", None) or "")
        found.update(path.read_bytes() if path.is_file() else model.encode())
    return found.hexdigest()
