"""The peers' own environments, beside the checkout's and never mixed with it.

    python benchmarks/peers.py            # make them (minutes, 2 GB each) and say where they are
    python benchmarks/peers.py scorers    # only what judges tracks (a minute)

`bench-env/` is git-ignored; delete it to start afresh.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ENVIRONMENT = Path(__file__).resolve().parent.parent / "bench-env"
CELLPOSE = ("cellpose==4.2.1.1", "torch==2.13.0")
ENVIRONMENT_3 = ENVIRONMENT / "cellpose3"
SCELLSEG = ENVIRONMENT / "scellseg" / "scellseg-0.1.8"
"""Unpacked source of Scellseg, which runs in the environment of Cellpose 3."""
CELLPOSE_3 = (
    "cellpose==3.1.1.3",
    "torch==2.13.0",
    # What cellpose.contrib.distributed_segmentation imports; later zarr than this stops it.
    "zarr==3.0.10",
    "dask==2026.8.0",
    "distributed==2026.8.0",
    "dask-image==2026.5.0",
    "dask-jobqueue==0.9.0",
    "imagecodecs==2026.3.6",
    "tifffile==2026.3.3",
    "pyyaml",
)
TRANSFORMER_3 = (*CELLPOSE_3, "segmentation-models-pytorch==0.5.0")
"""With what its transformer is made of."""
DINOV3 = ENVIRONMENT / "dinov3"
"""Source of DINOv3, which CP-DINO's original imports. Its licence is its own: it stays here."""
DINOV3_SOURCE = "https://github.com/facebookresearch/dinov3"
DINOV3_COMMIT = "6876159a11b4df116f30f667f8c9888617df0751"
SCORERS = ("traccuracy==0.4.3", "py-ctcmetrics==1.3.3", "geff==1.3.1.1.3")
"""Judges of tracks; apart, as geff needs older click and numcodecs than others here."""
ENVIRONMENT_SCORERS = ENVIRONMENT / "scorers"

# torchvision's wheel is compiled against the CUDA build of torch; on a CPU build its import stops
# at operators that do not exist. Nothing that is compared here uses them, so a start-up hook
# declares them, in the peers' environment only.
HOOK = '''\
import importlib.abc
import importlib.machinery
import sys


class DeclareOperators(importlib.abc.MetaPathFinder):
    """Declares torchvision's operators just before the first import of torchvision."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            if not torch.cuda.is_available():
                library = torch.library.Library("torchvision", "DEF")
                for name in ("nms", "qnms"):
                    library.define(
                        name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                    )
                torch._torchvision_operators = library
        return None


sys.meta_path.insert(0, DeclareOperators())
'''

# Cellpose 3 builds its network with fixed widths. Where CELLPOSE_WIDTHS names others, as 2,16,32,
# 64,128, it builds those: so it runs the very network that it is compared with. A start-up hook
# reaches the processes of its Dask workers, too.
WIDTHS_HOOK = '''\
import importlib.abc
import importlib.machinery
import os
import sys


class NarrowNetwork(importlib.abc.MetaPathFinder):
    """Gives Cellpose's network other widths as soon as its module is imported."""

    def find_spec(self, name, path=None, target=None):
        if name != "cellpose.resnet_torch":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            build, forward = module.CPnet.__init__, module.CPnet.forward

            def narrow(self, nbase, *args, **kwargs):
                build(self, [int(n) for n in widths.split(",")], *args, **kwargs)

            def pad_style(self, data):
                outputs, style, levels = forward(self, data)
                missing = 256 - style.shape[1]  # its caller has an array of 256
                return outputs, module.F.pad(style, (0, missing)), levels

            module.CPnet.__init__, module.CPnet.forward = narrow, pad_style

        spec.loader.exec_module = exec_module
        return spec


widths = os.environ.get("CELLPOSE_WIDTHS")
if widths:
    sys.meta_path.insert(0, NarrowNetwork())
'''
HOOKS = {"declare_operators": HOOK, "narrow_network": WIDTHS_HOOK}


def peer_python(requirements: Sequence[str] = CELLPOSE, environment: Path = ENVIRONMENT) -> Path:
    """Python of an environment in which `requirements` are installed; made when it is missing.

    Calls with different requirements share an environment: each set is installed once, on top
    of what is there. Peers that exclude each other need environments of their own.
    """
    python = environment / "bin" / "python"
    wanted = hashlib.sha256("\n".join(sorted(requirements)).encode()).hexdigest()[:16]
    stamp = environment / f".installed-{wanted}"
    if stamp.exists():
        return python
    if not python.exists():
        print(f"making the peers' environment in {environment} …", file=sys.stderr)
        venv.create(environment, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(
        subprocess.run(where, check=True, text=True, capture_output=True).stdout.strip()
    )
    for name, source in HOOKS.items():
        (packages / f"{name}.py").write_text(source)
        (packages / f"{name}.pth").write_text(f"import {name}\n")
    stamp.write_text("\n".join(requirements) + "\n")
    return python


def dinov3() -> Path:
    """Source of DINOv3, fetched from GitHub when it is missing."""
    if not DINOV3.exists():
        subprocess.run(["git", "clone", "-q", DINOV3_SOURCE, DINOV3], check=True)
        subprocess.run(["git", "-C", DINOV3, "checkout", "-q", DINOV3_COMMIT], check=True)
    return DINOV3


def peer_environment(threads: int | None = 1) -> dict[str, str]:
    """Environment variables for a peer's process: no chatter, none of our paths.

    `threads` limits the threads of each process; None leaves the choice to the peer.
    """
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    if threads is None:
        kept = {k: v for k, v in kept.items() if k not in names}
    else:
        kept |= dict.fromkeys(names, str(threads))
    return kept | {"PYTHONWARNINGS": "ignore::UserWarning"}


if __name__ == "__main__":
    if "scorers" not in sys.argv[1:]:
        print(peer_python())
        print(peer_python(CELLPOSE_3, ENVIRONMENT_3))
        print(peer_python(TRANSFORMER_3, ENVIRONMENT_3))
        print(dinov3())
    print(peer_python(SCORERS, ENVIRONMENT_SCORERS))
