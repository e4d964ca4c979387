"""The fake stage, of which the blocks named in `folder/deadly` end their process, until cured."""

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
    if Path(spec.folder, "deadly", block.id).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return fake_stage.block(spec, block, data)
