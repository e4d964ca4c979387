"""Ctrl-C on a terminal reaches the driver and all of its workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from tests.run.fake_stage import Spec

DRIVER = """
import sys
from bigseg.run.cluster import open_cluster
from bigseg.run.execute import run_steps
from bigseg.run.folder import open_run
if __name__ == "__main__":
    try:
        with open_cluster("local", 2) as cluster:
            run_steps(open_run(sys.argv[1]), cluster)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_ctrl_c_ends_driver_and_workers_without_a_word(tmp_path: Path) -> None:
    spec = Spec(folder=str(tmp_path), shape=(1, 1, 64, 64), seconds=0.1)
    run = Run(str(tmp_path / "run"), "0", {}, make_steps([("fake", "tests.run.fake_stage", spec)]))
    run.save()
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py"), run.url],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stderr=subprocess.PIPE,
        start_new_session=True,  # a process group of its own, as of a terminal
        text=True,
    )
    while not Ledger.of(run, run.steps[0]).has_records():
        assert driver.poll() is None
        time.sleep(0.1)
    family = psutil.Process(driver.pid).children(recursive=True)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.communicate(timeout=60)[1] == ""
    assert driver.returncode == 130
    assert len(family) >= 2
    assert psutil.wait_procs(family, timeout=20)[1] == []
