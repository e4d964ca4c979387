"""What overlaps are worth, in a file: fitted once, given to any run."""

from __future__ import annotations

import json

from bigseg import files
from bigseg.core.evidence import Evidence
from bigseg.errors import NotFound, SpecError


def write_evidence(url: str, evidence: Evidence) -> None:
    """Keep evidence in a file of its own."""
    files.put(url, (json.dumps(evidence.as_dict(), indent=1) + "\n").encode())


def read_evidence(url: str) -> Evidence:
    """Evidence of a file that `write_evidence` made.

    Raises
    ------
    NotFound
        There is no such file.
    SpecError
        It holds something else.
    """
    if not files.exists(url):
        raise NotFound(f"There is no evidence file {url}; 'bigseg calibrate' makes one.")
    try:
        values = json.loads(files.get(url))
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise SpecError(f"{url} is no evidence file; 'bigseg calibrate' makes one.")
    return Evidence.parse(values)
