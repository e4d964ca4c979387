"""What links cost, in a file: fitted once to known tracks, given to any run."""

from __future__ import annotations

import json
from dataclasses import asdict

from pydantic import TypeAdapter, ValidationError

from bigseg import files
from bigseg.core.tracking.costs import Model
from bigseg.errors import NotFound, SpecError


def write_costs(url: str, model: Model) -> None:
    """Keep the numbers behind costs in a file of its own."""
    files.put(url, (json.dumps(asdict(model), indent=1) + "\n").encode())


def read_costs(url: str) -> Model:
    """Numbers of a file that `write_costs` made.

    Raises
    ------
    NotFound
        There is no such file.
    SpecError
        It holds something else.
    """
    try:
        return TypeAdapter(Model).validate_json(files.get(url))
    except FileNotFoundError:
        raise NotFound(f"There is no file of costs {url}; 'bigseg calibrate' makes one.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise SpecError(
            f"{url} is no file of costs ({where}: {first['msg']}); 'bigseg calibrate' makes one."
        ) from None
