"""The fake stage, of which blocks end their process, or fail, as files in its folder say.

Blocks named in `folder/deadly` do until cured; all fail while there is `folder/locked`.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bigseg.grid import Block
from bigseg.types import Facts
from tests.run import fake_stage
from tests.run.fake_stage import Spec, check, finish, prepare, read

__all__ = ["Spec", "block", "check", "finish", "prepare", "read"]


def block(spec: Spec, block: Block, data: str) -> Facts:
    if Path(spec.folder, "locked").exists():
        raise PermissionError(f"No access to the voxels of {block.id}")
    if Path(spec.folder, "deadly", block.id).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return fake_stage.block(spec, block, data)
