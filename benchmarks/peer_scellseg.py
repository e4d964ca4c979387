"""Scellseg 0.1.8 from its unpacked source; runs in a peer's environment, which `peers.py` makes.

    peer_scellseg.py segment SOURCE SETTINGS.json RESULT.npz
    peer_scellseg.py decode SOURCE GIVEN.npz RESULT.npz

`segment` stores the masks of the package's own `cellpose_eval`; `decode` those that its own
functions make of given output maps, and its own targets for given labels. The package is not
installed: what it imports for its window, its plots and its training is replaced by empty modules.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

NOT_NEEDED = (
    "tensorboardX",
    "PyQt5",
    "matplotlib",
    "matplotlib.pyplot",
    "google",
    "google.cloud",
    "tabulate",
    "scellseg.plot",
)


class Empty(ModuleType):
    """A module of which any name can be imported."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def package(source: Path, name: str) -> Any:
    """Module of the package that lies in `source`."""
    root = ModuleType("scellseg")
    root.__path__ = [str(source / "scellseg")]
    sys.modules["scellseg"] = root
    for unused in NOT_NEEDED:
        sys.modules[unused] = Empty(unused)
    root.plot = sys.modules["scellseg.plot"]  # type: ignore[attr-defined]
    return importlib.import_module(f"scellseg.{name}")


def segment(source: Path, given: Path, result: Path) -> None:
    """Masks of each image that the settings name, at its style's diameter."""
    import numpy as np

    settings = json.loads(given.read_text())
    models = package(source, "models")
    net = models.sCellSeg(model_type=settings["model"], net_avg=False)
    net.net.eval()
    masks = {}
    for path, diameter in settings["images"].items():
        image = models.imread(path)
        masks[path] = net.cellpose_eval([image], diameter=diameter, **settings["eval"])[0][0]
    np.savez(result, **masks)


def decode(source: Path, given: Path, result: Path) -> None:
    """Masks of HoVer maps and of class logits, both (y, x, k), and targets of labels (y, x)."""
    import numpy as np

    dynamics, utils = package(source, "dynamics"), package(source, "utils")
    data = np.load(given)
    found = {}
    if "hover" in data:
        found["hover"] = dynamics.get_masks_watershed(data["hover"], min_size=int(data["size"]))
    if "classes" in data:
        found["classes"] = utils.get_masks_unet(data["classes"], *data["thresholds"])
    if "labels" in data:
        found["hover_targets"] = dynamics.masks_to_hovers(data["labels"])
        near = utils.distance_to_boundary(data["labels"]) <= 4
        found["class_targets"] = np.where(data["labels"] > 0, 1 + near, 0)
    np.savez(result, **found)


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    {"segment": segment, "decode": decode}[what](*map(Path, paths))
