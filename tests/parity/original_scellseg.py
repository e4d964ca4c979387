"""Outputs of the original Scellseg network; runs in a process of its own.

original_scellseg.py SOURCE INPUT.pt RESULT.pt

Only the two files of the network are loaded, from the unpacked source package. What they import
and do not need to compute outputs (OpenCV, training, plots) is replaced by empty modules.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch


def original_module(source: Path) -> ModuleType:
    """Module `net_desc` of the package."""
    package = ModuleType("scellseg")
    package.__path__ = [str(source / "scellseg")]
    sys.modules["scellseg"] = package
    unused = ("transforms", "io", "dynamics", "utils", "metrics", "dataset", "core")
    for name in ("cv2", *(f"scellseg.{unused_name}" for unused_name in unused)):
        sys.modules[name] = ModuleType(name)
        if name.startswith("scellseg."):
            setattr(package, name.partition(".")[2], sys.modules[name])
    return import_module("scellseg.net_desc")


def main(source: str, given: str, result: str) -> None:
    """Load each state strictly, but for the entries named as unused, and store what comes out."""
    net_desc = original_module(Path(source))
    settings = torch.load(given, weights_only=True)
    stored = []
    for case in settings["cases"]:
        net = net_desc.sCSnet(list(case["widths"]), case["outputs"], 3, **case["options"]).eval()
        found = net.load_state_dict(case["state"], strict=False)
        with torch.no_grad():
            maps, style = net(settings["tile"])
        stored.append(
            {
                "maps": maps,
                "style": style,
                "missing": list(found.missing_keys),
                "unexpected": list(found.unexpected_keys),
            }
        )
    torch.save(stored, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
