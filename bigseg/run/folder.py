"""A run is a folder: what to do (`run.json`), what is done (`ledger/`), scratch, tables, report."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from bigseg import files
from bigseg.errors import NotFound, SpecError
from bigseg.types import Stage, StageSpec

STAGES = "bigseg.stages"
"""Package of the stages; they are found by name, because they are built on top of this layer."""


@dataclass(frozen=True)
class Step:
    """One step of a run, as `run.json` holds it."""

    name: str
    stage: str
    """Module in `bigseg.stages`, or a dotted path."""
    values: dict[str, Any]
    """Specification, as JSON."""
    fingerprint: str
    """Hash of this step's specification and of all steps before it."""

    @cached_property
    def module(self) -> Stage:
        path = self.stage if "." in self.stage else f"{STAGES}.{self.stage}"
        module: Any = importlib.import_module(path)
        return module  # type: ignore[no-any-return]

    @cached_property
    def spec(self) -> StageSpec:
        try:
            spec: StageSpec = self.module.Spec.model_validate_json(json.dumps(self.values))
        except ValidationError as error:
            raise SpecError(
                f"Step '{self.name}' of the run was planned by another version of bigseg "
                f"({error.error_count()} problem(s) with its specification); use that version, or "
                "start the run again with --overwrite."
            ) from error
        return spec


def make_steps(steps: Sequence[tuple[str, str, StageSpec]]) -> tuple[Step, ...]:
    """Chain names, stages and specifications into steps with fingerprints."""
    made: list[Step] = []
    for name, stage, spec in steps:
        values = spec.model_dump(mode="json")
        before = made[-1].fingerprint if made else ""
        text = json.dumps([before, stage, values], sort_keys=True)
        made.append(Step(name, stage, values, hashlib.sha256(text.encode()).hexdigest()))
    return tuple(made)


@dataclass(frozen=True)
class Run:
    """What `run.json` says."""

    url: str
    version: str
    """Of bigseg, when the run was planned."""
    settings: dict[str, Any]
    """What the user asked for."""
    steps: tuple[Step, ...]

    def step(self, name: str) -> Step:
        """Step of a name; NotFound lists those there are."""
        for step in self.steps:
            if step.name == name:
                return step
        known = ", ".join(step.name for step in self.steps)
        raise NotFound(f"The run {self.url} has no step '{name}'; its steps are {known}.")

    def save(self) -> None:
        """Write `run.json`, at once."""
        steps = [
            {"name": s.name, "stage": s.stage, "fingerprint": s.fingerprint, "spec": s.values}
            for s in self.steps
        ]
        content = {"bigseg": self.version, "settings": self.settings, "steps": steps}
        files.put(files.join(self.url, "run.json"), json.dumps(content, indent=1).encode())


def is_run(url: str) -> bool:
    """Whether there is a run at `url`."""
    return files.exists(files.join(url, "run.json"))


def open_run(url: str) -> Run:
    """Read `run.json`.

    Raises
    ------
    NotFound
        If there is no run at `url`.
    SpecError
        If `run.json` is damaged.
    """
    try:
        content = json.loads(files.get(files.join(url, "run.json")))
        steps = tuple(
            Step(s["name"], s["stage"], s["spec"], s["fingerprint"]) for s in content["steps"]
        )
        return Run(url, content["bigseg"], content["settings"], steps)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"{url} is not a run: it has no run.json. A run is the folder ending in .bigseg that "
            "'bigseg segment' makes beside its output."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise SpecError(
            f"{url}/run.json is damaged ({error}); start the run again with --overwrite."
        ) from None
