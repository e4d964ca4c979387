"""Who computes: what `--cluster` names, or says in a TOML file. Checked as it is read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bigseg import files
from bigseg.errors import NotFound, SpecError
from bigseg.specs.segment import parse_as

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgt", 1)}
SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?|)b?\s*", re.I)
TIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):([0-5]\d):([0-5]\d)")


def to_bytes(text: str) -> int:
    """Bytes of a size like "16 GB" or "512 MiB"."""
    found = SIZE.fullmatch(text)
    if found is None or not float(found[1]):
        raise ValueError("write a size as 16 GB or 512 MiB")
    return int(float(found[1]) * UNITS[found[2].lower()])


def to_seconds(text: str) -> int:
    """Seconds of a time like "04:00:00" or "2-00:00:00"."""
    found = TIME.fullmatch(text)
    seconds = 0
    if found is not None:
        days, hours, minutes, rest = (int(part or 0) for part in found.groups())
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    if not seconds:
        raise ValueError("write a time as 04:00:00, or 2-00:00:00 with days")
    return seconds


def _sized(text: str) -> str:
    to_bytes(text)
    return text


def _timed(text: str) -> str:
    to_seconds(text)
    return text


Count = Annotated[int, Field(ge=1)]
Memory = Annotated[str, AfterValidator(_sized)]
Time = Annotated[str, AfterValidator(_timed)]


class Tls(BaseModel):
    """Files of a certificate, its key and the authority that both sides trust (PEM)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: str
    cert: str
    key: str


class Workers(BaseModel):
    """Workers that are alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Serial(Workers):
    """No workers: blocks are computed one after the other in this process."""

    kind: Literal["serial"] = "serial"


class Threads(Workers):
    """Threads of this process."""

    kind: Literal["threads"] = "threads"
    workers: Count | None = None
    """Blocks computed at once; None: as many as cores."""


class Local(Workers):
    """Processes on this machine."""

    kind: Literal["local"] = "local"
    workers: Count | None = None
    """Processes; None: as many as cores."""
    memory: Memory | None = None
    """Of each, as "8 GB"; None: an equal share of what there is."""


class Cuda(Workers):
    """A process for each GPU of this machine."""

    kind: Literal["cuda"] = "cuda"
    devices: tuple[int, ...] | None = None
    """Numbers of the GPUs; None: all that can be seen."""
    memory: Memory | None = None
    """Of each process, as "16 GB"; None: an equal share of what there is."""


class Address(Workers):
    """Workers of a Dask scheduler that runs already."""

    kind: Literal["scheduler"] = "scheduler"
    address: str = Field(pattern=r"^(tcp|tls)://.+:\d+$")
    """Where it listens, as tcp://head:8786 or tls://head:8786."""
    tls: Tls | None = None
    """Files for tls://; None: those that Dask's configuration names."""


class Jobs(Workers):
    """Jobs of a batch system, each with one worker or several."""

    kind: Literal["slurm", "lsf", "pbs", "sge"]
    jobs: Count
    """Jobs that are kept running; one that ends is replaced."""
    cores: Count
    """Of each job."""
    memory: Memory
    """Of each job, as "32 GB"."""
    walltime: Time
    """After which a job is ended, as "04:00:00"; workers end a little earlier by themselves."""
    interface: str
    """Network by which jobs reach this machine, as `ip address` names it; the scheduler, which
    runs in this process, listens there and nowhere else."""
    worker_interface: str | None = None
    """The same network as the jobs' machines name it, where they name it differently."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Of the scheduler, where a firewall lets only some through; 0: any that is free."""
    workers: Count | None = None
    """Processes of each job, which share its cores and memory; None: as many as cores, or one that
    has the job's GPU."""
    queue: str | None = None
    """Queue or partition."""
    account: str | None = None
    """Account or project that pays."""
    resources: str | None = None
    """PBS and SGE: what -l asks for, where cores and memory do not say it."""
    directives: tuple[str, ...] = ()
    """Further lines of the job's header, as "--gres=gpu:1"."""
    prologue: tuple[str, ...] = ()
    """Lines of shell before the worker starts, as "module load cuda"."""
    python: str | None = None
    """Of the jobs; None: the one that runs here, which then lies on a shared file system."""
    scratch: str | None = None
    """Folder on the jobs' own disks for what Dask keeps, as "$TMPDIR"."""
    logs: str = "bigseg-logs"
    """Folder for what jobs print, on a file system that they share with this machine."""
    patience: Time = "2-00:00:00"
    """How long the run waits for a job to start before it gives up."""
    tls: bool | Tls = False
    """Whether scheduler and workers encrypt what they say: with new keys, or with your files."""


class Kubernetes(Workers):
    """Pods of a Kubernetes cluster in which Dask's operator runs."""

    kind: Literal["kubernetes"] = "kubernetes"
    workers: Count
    """Pods; one that ends is replaced."""
    image: str
    """Container image with bigseg, of the version that runs here."""
    cores: Count = 1
    """Of each pod."""
    memory: Memory
    """Of each pod, as "8 GiB"."""
    gpu: str = "nvidia.com/gpu"
    """With [gpu_workers]: the resource of which each pod gets one."""
    namespace: str | None = None
    """None: that of the current context."""
    env: dict[str, str] = {}
    """Environment of the pods; no secrets, which everybody could read who reads the pods."""
    secrets: tuple[str, ...] = ()
    """Kubernetes secrets whose keys become environment variables of the workers."""
    service_account: str | None = None
    """Of the workers, for clouds that give permissions to it."""
    node_selector: dict[str, str] = {}
    """Labels of the nodes on which workers may run."""
    patience: Time = "01:00:00"
    """How long the run waits for a pod to start before it gives up."""


Kind = Serial | Threads | Local | Cuda | Address | Jobs | Kubernetes
KINDS: dict[str, type[Kind]] = {
    "local": Local,
    "threads": Threads,
    "serial": Serial,
    "cuda": Cuda,
    **dict.fromkeys(("slurm", "lsf", "pbs", "sge"), Jobs),
    "kubernetes": Kubernetes,
    "scheduler": Address,
}
WITHOUT_GPU = (Serial, Threads, Local)


class ClusterSpec(BaseModel):
    """The groups of workers of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: Kind
    gpu_workers: Kind | None = None
    """Compute the steps that run networks; None: the others do."""


def read_cluster(name: str | None) -> ClusterSpec:
    """What `--cluster` says: local (the default), serial, threads, tcp://…, or a TOML file.

    Raises
    ------
    SpecError
        If a name is unknown or a key is; the file, the key and the value are named.
    NotFound
        If there is no such file.
    """
    if name is None:
        return ClusterSpec(workers=Local())
    if name in ("local", "serial", "threads"):
        return ClusterSpec(workers=_group(name, {"kind": name}, ""))
    if name.startswith(("tcp://", "tls://")):
        return ClusterSpec(workers=_group(name, {"kind": "scheduler", "address": name}, ""))
    if not name.endswith(".toml"):
        raise SpecError(
            f"Cluster '{name}' is unknown; use local, serial, threads, an address tcp://…, or a "
            "file that ends in .toml."
        )
    return _groups(name, _table(name))


def _table(url: str) -> dict[str, Any]:
    try:
        return tomllib.loads(files.get(url).decode())
    except FileNotFoundError:
        raise NotFound(
            f"{url} does not exist; --cluster wants a name, an address or a TOML file."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{url} is not TOML: {error}.") from None


def _groups(url: str, table: Mapping[str, Any]) -> ClusterSpec:
    unknown = [key for key in table if key not in ClusterSpec.model_fields]
    if unknown:
        raise SpecError(
            f"{url}: '{unknown[0]}' is not a group; its tables are [workers] and, for the steps "
            "that run networks, [gpu_workers]."
        )
    if "workers" not in table:
        raise SpecError(f"{url} has no table [workers], which says who computes.")
    groups = {name: _group(url, values, f"[{name}] ") for name, values in table.items()}
    gpu = groups.get("gpu_workers")
    if isinstance(gpu, WITHOUT_GPU):
        raise SpecError(
            f"{url}: [gpu_workers] kind '{gpu.kind}' shares out no GPUs; use "
            "cuda, a batch system, kubernetes or scheduler, or leave the table out."
        )
    if isinstance(gpu, Jobs) and (gpu.workers or 1) > 1:
        raise SpecError(
            f"{url}: [gpu_workers] workers is {gpu.workers}, but all of a job's workers would use "
            "its first GPU; ask for one GPU per job, and for more jobs."
        )
    return ClusterSpec(workers=groups["workers"], gpu_workers=gpu)


def _group(url: str, values: object, table: str) -> Kind:
    if not isinstance(values, Mapping):
        raise SpecError(f"{url}: {table}must be a table with a kind.")
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        what = "has no kind" if kind is None else f"kind is {kind!r}"
        raise SpecError(f"{url}: {table}{what}; the kinds are {', '.join(KINDS)}.")
    try:
        return parse_as(KINDS[kind], values)
    except SpecError as error:
        raise SpecError(f"{url}: {table}{error}") from None
