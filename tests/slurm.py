"""A real SLURM of one node, of the tests' own: its daemons on 127.0.0.1, its files in one folder.

It has its own ports, key and munged, so it neither needs nor disturbs a SLURM of this machine.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ReturnToService=2
MpiDefault=none
SchedulerParameters=batch_sched_delay=0,sched_interval=1
MaxArraySize=10001
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no SLURM can be started here; empty if one can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        install = "apt-get install slurmctld slurmd slurm-client munge"
        return f"{', '.join(absent)} is not installed ({install})"
    return "" if os.geteuid() == 0 else "the daemons of SLURM need root"


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start SLURM in an empty folder; the environment in which its commands find it."""
    host = socket.gethostname().partition(".")[0]
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    ports = _free_ports(2)
    for part in ("controller", "node"):
        (folder / part).mkdir()
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=host,
            folder=folder,
            controller_port=ports[0],
            node_port=ports[1],
            cpus=os.cpu_count(),
            memory=max(pages // 2**20 - 1024, 512),
        )
    )
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        daemons.append(_munged(folder))
        for command in (["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
            with (folder / f"{command[0]}.out").open("wb") as out:
                daemons.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
        _wait_until_idle(folder, environment)
        yield environment
    finally:
        with suppress(subprocess.SubprocessError, FileNotFoundError):
            subprocess.run(["scancel", "--me"], env=environment, timeout=20, capture_output=True)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _munged(folder: Path) -> subprocess.Popen[bytes]:
    """Start the daemon that vouches for users, with a key of its own."""
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    files = {"key-file": key} | {
        f"{name}-file": folder / f"munge.{name}" for name in ("pid", "log", "seed")
    }
    options = [f"--{name}={path}" for name, path in files.items()]
    return subprocess.Popen(
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_until_idle(folder: Path, environment: dict[str, str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            found = subprocess.run(
                ["sinfo", "--noheader", "--format=%t"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=10,
            )
            if "idle" in found.stdout:
                return
        time.sleep(0.3)
    logs = "\n".join(path.read_text()[-1500:] for path in sorted(folder.glob("slurm*.log")))
    raise RuntimeError(f"SLURM did not come up:\n{logs}")


def _free_ports(many: int) -> list[int]:
    held = [socket.socket() for _ in range(many)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
