"""One driver per run."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from bigseg import files
from bigseg.run.lease import AnotherDriver, drive, lease_url

BEAT = 0.4
"""Seconds; on a busy machine a thread may sleep that long."""


@pytest.fixture(params=["disk", "memory"])
def run(request, tmp_path):
    url = str(tmp_path / "a.bigseg") if request.param == "disk" else f"memory://{tmp_path.name}/a"
    yield url
    files.remove(url)


def strange(run: str, **changes: object) -> bytes:
    """Put a lease of another machine into a run."""
    owner = {"owner": "b", "host": "node7", "machine": "other", "pid": 12, "born": 1.0, "beat": 3}
    content = json.dumps(owner | changes).encode()
    files.put(lease_url(run), content)
    return content


def test_a_lease_beats_and_is_given_back(run):
    with drive(run, beat=BEAT) as lease:
        first = files.get(lease_url(run))
        time.sleep(3 * BEAT)
        assert files.get(lease_url(run)) != first
        lease.check()
    assert not files.exists(lease_url(run))


def test_a_second_driver_is_refused(run):
    with (
        drive(run, beat=BEAT),
        pytest.raises(AnotherDriver, match=r"Process \d+ on .+ drives the run at .+ already"),
        drive(run, beat=BEAT),
    ):
        pass


def test_the_refused_driver_leaves_the_lease_alone(run):
    with drive(run, beat=BEAT) as lease:
        with pytest.raises(AnotherDriver), drive(run, beat=BEAT):
            pass
        time.sleep(3 * BEAT)
        lease.check()


def test_a_silent_lease_of_another_machine_is_taken_over(run):
    strange(run)
    started = time.monotonic()
    with drive(run, beat=BEAT):
        assert time.monotonic() - started >= 3 * BEAT
        assert json.loads(files.get(lease_url(run)))["host"] != "node7"


def test_who_is_taken_over_hears_of_it(run):
    with drive(run, beat=BEAT) as lease:
        taken = strange(run)
        time.sleep(3 * BEAT)
        with pytest.raises(AnotherDriver, match="Process 12 on node7 has taken over the run at"):
            lease.check()
    assert files.get(lease_url(run)) == taken


def test_a_driver_that_died_here_is_replaced_at_once(run, tmp_path):
    if run.startswith("memory"):
        pytest.skip("memory is not shared by processes")
    code = (
        "import os; from bigseg.run.lease import drive; "
        f"held = drive({run!r}); held.__enter__(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert files.exists(lease_url(run))
    started = time.monotonic()
    with drive(run):
        assert time.monotonic() - started < 5
    assert not files.exists(lease_url(run))


def test_what_could_not_be_given_back_is_taken_again_at_once(run, monkeypatch):
    def fail(_):
        raise OSError("no answer")

    with monkeypatch.context() as broken, drive(run, beat=60):
        broken.setattr(files, "remove", fail)
    assert files.exists(lease_url(run))
    started = time.monotonic()
    with drive(run, beat=60) as lease:
        assert time.monotonic() - started < 10
        lease.check()
    assert not files.exists(lease_url(run))


def test_a_damaged_lease_is_that_of_nobody(run):
    files.put(lease_url(run), b"\0")
    with drive(run, beat=BEAT) as lease:
        lease.check()


def test_a_store_that_fails_for_a_while_costs_no_lease(run, monkeypatch):
    replace, failures = files.replace, iter([OSError("busy")] * 2)

    def sometimes(*arguments):
        for failure in failures:
            raise failure
        return replace(*arguments)

    monkeypatch.setattr(files, "replace", sometimes)
    with drive(run, beat=BEAT) as lease:
        time.sleep(5 * BEAT)
        lease.check()
        assert json.loads(files.get(lease_url(run)))["beat"] > 0
