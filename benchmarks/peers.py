"""The peers' own environment, beside the checkout's and never mixed with it.

    python benchmarks/peers.py            # make it (minutes, about 2 GB) and say where it is

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


def peer_python(requirements: Sequence[str] = CELLPOSE) -> Path:
    """Python of an environment in which `requirements` are installed; made when it is missing.

    Calls with different requirements share one environment: each set is installed once, on top
    of what is there.
    """
    python = ENVIRONMENT / "bin" / "python"
    wanted = hashlib.sha256("\n".join(sorted(requirements)).encode()).hexdigest()[:16]
    stamp = ENVIRONMENT / f".installed-{wanted}"
    if stamp.exists():
        return python
    if not python.exists():
        print(f"making the peers' environment in {ENVIRONMENT} …", file=sys.stderr)
        venv.create(ENVIRONMENT, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(
        subprocess.run(where, check=True, text=True, capture_output=True).stdout.strip()
    )
    (packages / "declare_operators.py").write_text(HOOK)
    (packages / "declare_operators.pth").write_text("import declare_operators\n")
    stamp.write_text("\n".join(requirements) + "\n")
    return python


def peer_environment() -> dict[str, str]:
    """Environment variables for a peer's process: one thread, no chatter, none of our paths."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return kept | dict.fromkeys(threads, "1") | {"PYTHONWARNINGS": "ignore::UserWarning"}


if __name__ == "__main__":
    print(peer_python())
