"""What `--cluster` may say, and what is said of mistakes."""

from pathlib import Path

import pytest

from bigseg.errors import NotFound, SpecError
from bigseg.specs.cluster import (
    Address,
    Cuda,
    Jobs,
    Kubernetes,
    Local,
    Serial,
    Threads,
    read_cluster,
    to_bytes,
    to_seconds,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
SLURM = """\
[workers]
kind = "slurm"
jobs = 2
cores = 4
memory = "8 GB"
walltime = "01:00:00"
interface = "lo"
"""


def said(tmp_path: Path, text: str) -> str:
    """The sentence about a file, without its folder."""
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(SpecError) as caught:
        read_cluster(f"{tmp_path}/c.toml")
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_names_are_kinds_without_settings() -> None:
    assert read_cluster(None).workers == read_cluster("local").workers == Local()
    assert read_cluster("serial").workers == Serial()
    assert read_cluster("threads").workers == Threads()
    assert read_cluster("tcp://head:8786").workers == Address(address="tcp://head:8786")


@pytest.mark.parametrize(
    ("name", "workers", "gpu_workers"),
    [
        ("local", Local, None),
        ("threads", Threads, None),
        ("gpus", Local, Cuda),
        ("slurm", Jobs, Jobs),
        ("lsf", Jobs, Jobs),
        ("pbs", Jobs, Jobs),
        ("sge", Jobs, None),
        ("kubernetes", Kubernetes, Kubernetes),
        ("scheduler", Address, None),
    ],
)
def test_examples(name: str, workers: type, gpu_workers: type | None) -> None:
    spec = read_cluster(str(EXAMPLES / f"{name}.toml"))
    assert isinstance(spec.workers, workers)
    assert type(spec.gpu_workers) is (gpu_workers or type(None))
    if workers is Jobs:
        assert getattr(spec.workers, "kind", "") == name


def test_every_example_of_a_cluster_is_tested() -> None:
    names = {"local", "threads", "gpus", "slurm", "lsf", "pbs", "sge", "kubernetes", "scheduler"}
    clusters = {p.stem for p in EXAMPLES.glob("*.toml") if "[workers]" in p.read_text()}
    assert clusters == names


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[workers]\n", "c.toml: [workers] has no kind; the kinds are local, threads, serial"),
        ('[workers]\nkind = "slrm"', "c.toml: [workers] kind is 'slrm'; the kinds are local"),
        ('[worker]\nkind = "local"', "c.toml: 'worker' is not a group; its tables are [workers]"),
        ("", "c.toml has no table [workers], which says who computes."),
        ("workers = 3", "c.toml: [workers] must be a table with a kind."),
        ("[workers", "c.toml is not TOML: "),
        (
            '[workers]\nkind = "local"\nmemroy = "2 GB"',
            "c.toml: [workers] 'memroy' is not a setting; the settings are kind, workers, memory.",
        ),
        (
            '[workers]\nkind = "local"\nmemory = "lots"',
            "c.toml: [workers] 'memory' is 'lots': write a size as 16 GB or 512 MiB.",
        ),
        (SLURM.replace("01:00:00", "1h"), "[workers] 'walltime' is '1h': write a time as 04:00:00"),
        (SLURM.replace("jobs = 2\n", ""), "c.toml: [workers] 'jobs' is missing."),
        (SLURM.replace("jobs = 2", "jobs = 0"), "[workers] 'jobs' is 0: Input should be greater"),
        (
            '[workers]\nkind = "local"\n[gpu_workers]\nkind = "local"',
            "c.toml: [gpu_workers] kind 'local' shares out no GPUs; use cuda, a batch system",
        ),
        (
            SLURM + SLURM.replace("[workers]", "[gpu_workers]") + "workers = 2",
            "[gpu_workers] workers is 2, but all of a job's workers would use its first GPU; ask",
        ),
        (
            '[workers]\nkind = "scheduler"\naddress = "head:8786"',
            "[workers] 'address' is 'head:8786': String should match",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in said(tmp_path, text)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(NotFound, match=r"nowhere\.toml does not exist; --cluster wants a name, an"):
        read_cluster("nowhere.toml")


def test_a_name_that_means_nothing() -> None:
    with pytest.raises(SpecError, match="Cluster 'slurm' is unknown; use local, serial, threads"):
        read_cluster("slurm")


def test_sizes_and_times() -> None:
    assert [to_bytes(text) for text in ("16 GB", "1.5kB", "2MiB", "7")] == [
        16 * 10**9,
        1500,
        2 * 2**20,
        7,
    ]
    assert [to_seconds(text) for text in ("00:00:30", "04:10:00", "2-00:00:01")] == [
        30,
        15000,
        172801,
    ]
