"""`bigseg` for runs of stages that tests invent, which make no labels: `run` does the steps."""

from __future__ import annotations

import sys

from bigseg.cli import main
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import open_run

if sys.argv[1] == "run":
    assert sys.argv[3:] == ["--cluster", "serial"]
    run_steps(open_run(sys.argv[2]), ALONE)
else:
    main(sys.argv[1:])
