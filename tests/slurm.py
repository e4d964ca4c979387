"""A real SLURM of one node on this machine: Debian's packages, their daemons on 127.0.0.1, root.

One serves all test processes of a machine and stays up between them: a second controller would
fight with the first for the port.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
STATE = Path("/var/spool/slurm-of-tests")
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser=root
SlurmdUser=root
StateSaveLocation={state}/controller
SlurmdSpoolDir={state}/node
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurmctld.log
SlurmdLogFile=/var/log/slurmd.log
ReturnToService=2
MpiDefault=none
SchedulerParameters=batch_sched_delay=0,sched_interval=1
MaxArraySize=10001
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Start SLURM unless it runs; empty if it does, else the reason why it cannot."""
    if is_up():
        return ""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} is not installed (apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "the daemons of SLURM need root"
    try:
        with Path("/tmp/slurm-of-tests.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may want it at once
            return "" if is_up() else _start()
    except (OSError, subprocess.SubprocessError) as error:
        return f"SLURM cannot be started ({error})"


def is_up() -> bool:
    """Whether a node takes jobs."""
    if shutil.which("sinfo") is None:
        return False
    try:
        found = subprocess.run(
            ["sinfo", "--noheader", "--format=%t"], capture_output=True, text=True, timeout=10
        )
    except subprocess.TimeoutExpired:
        return False
    return any(state in found.stdout for state in ("idle", "mix", "alloc"))


def _start() -> str:
    host = socket.gethostname().partition(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 1024
    hosts = Path("/etc/hosts")
    if host not in hosts.read_text().split():
        with hosts.open("a") as file:
            file.write(f"127.0.0.1 {host}\n")
    for folder in (STATE / "controller", STATE / "node", Path("/etc/slurm")):
        folder.mkdir(parents=True, exist_ok=True)
    Path("/etc/slurm/slurm.conf").write_text(
        CONFIGURATION.format(host=host, state=STATE, cpus=os.cpu_count(), memory=max(memory, 512))
    )
    _start_munge()
    for daemon in ("slurmctld", "slurmd"):
        subprocess.run([daemon], check=True, timeout=60, capture_output=True)
    for _ in range(60):
        if is_up():
            return ""
        time.sleep(0.5)
    return "SLURM did not come up; see /var/log/slurmctld.log and /var/log/slurmd.log"


def _start_munge() -> None:
    """Start the daemon that vouches for users, with a key of this machine's own."""
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        return
    key = Path("/etc/munge/munge.key")
    folders = [Path(p) for p in ("/etc/munge", "/run/munge", "/var/log/munge", "/var/lib/munge")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    if not key.exists() or not key.stat().st_size:
        key.write_bytes(os.urandom(1024))
    subprocess.run(["chown", "-R", "munge:munge", *map(str, folders)], check=True)
    key.chmod(0o400)
    Path("/run/munge").chmod(0o755)
    subprocess.run(
        ["runuser", "-u", "munge", "--", shutil.which("munged") or "munged", "--force"],
        check=True,
        timeout=60,
        capture_output=True,
    )
