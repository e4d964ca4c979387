"""Maps become objects, the same in whatever blocks, and a run goes on where it was stopped."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg import files
from bigseg.core.boundary_maps import DIRECT
from bigseg.core.metrics import variation_of_information
from bigseg.core.overlap import contingency
from bigseg.errors import BigsegError, OutputExists, SpecError
from bigseg.io.tables import read_table
from bigseg.jobs.budget import worker_bytes
from bigseg.jobs.maps import is_em, resume, segment_maps
from bigseg.plans.maps import plan_em
from bigseg.run.folder import open_run
from bigseg.specs.maps import EmSpec
from tests.maps import affinities, boundary, cells
from tests.worlds import make_image, read_labels

SHAPE = (40, 48, 56)
FAR = (*DIRECT, (-3, 0, 0), (0, -4, 0), (0, 0, -4), (-3, -3, 0), (0, -4, 4))
TRUTH = cells(SHAPE, 25, 7).astype(np.uint32)


def stored(folder: Path | str, maps: np.ndarray, axes: str = "czyx") -> str:
    url = f"{folder}/maps.zarr"
    make_image(url, maps, axes)
    return url


def segmented(folder: Path | str, spec: EmSpec, name: str) -> np.ndarray:
    found = segment_maps(
        spec.model_copy(update={"output": f"{folder}/{name}.zarr"}), cluster="serial"
    )
    return read_labels(found.labels)


def inside(truth: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Truth without what is a boundary: whose that is nobody knows."""
    return np.where(maps < 0.5, truth, 0).astype(np.uint32)


def voi(a: np.ndarray, b: np.ndarray) -> float:
    return sum(variation_of_information(*contingency(a, b)))


@settings(deadline=None, max_examples=2, derandomize=True)
@given(block=st.tuples(*3 * [st.integers(16, 30)]), seed=st.integers(0, 99))
def test_objects_are_the_same_whatever_the_blocks(block: tuple, seed: int) -> None:
    truth = cells(SHAPE, 25, seed).astype(np.uint32)
    maps = boundary(truth)
    with TemporaryDirectory() as folder:
        image = stored(folder, maps[None])
        spec = EmSpec(image=image, source="boundaries", halo=24, beta=0.5)
        whole = segmented(folder, spec.model_copy(update={"block": (64, 64, 64)}), "whole")
        cut = segmented(folder, spec.model_copy(update={"block": block}), "cut")
    assert voi(whole, cut) < 0.02
    assert voi(cut, inside(truth, maps)[None]) < 0.02


@pytest.mark.parametrize(("method", "most"), [("watershed", 0.4), ("mutex-watershed", 0.02)])
def test_affinities_of_a_perfect_network_give_the_truth(
    tmp_path: Path, method: str, most: float
) -> None:
    spec = EmSpec(
        image=stored(tmp_path, affinities(TRUTH, FAR)),
        source="affinities",
        offsets=FAR,
        method=method,
        min_supervoxel=5,
        block=(24, 24, 24),
        halo=16,
    )
    assert voi(segmented(tmp_path, spec, "found")[0], TRUTH) < most


def test_slices_become_objects_of_the_volume(tmp_path: Path) -> None:
    spec = EmSpec(
        image=stored(tmp_path, boundary(TRUTH)[None].astype(np.float16)),
        source="boundaries",
        slices=True,
        min_supervoxel=10,
        block=(16, 32, 32),
        beta=0.5,
    )
    labels = segmented(tmp_path, spec, "found")[0]
    assert voi(labels, inside(TRUTH, boundary(TRUTH))) < 0.5
    table = read_table(f"{tmp_path}/found.zarr/objects.parquet")
    deep = table["z1"] - table["z0"] > 5
    assert table["voxels"][deep].sum() > 0.9 * table["voxels"].sum()


def test_frames_never_merge_and_small_objects_go(tmp_path: Path) -> None:
    maps = np.stack([boundary(TRUTH[:20])] * 2)
    spec = EmSpec(
        image=stored(tmp_path, maps, "tzyx"), source="boundaries", min_supervoxel=10, min_size=300
    )
    labels = segmented(tmp_path, spec, "found")
    assert not set(np.unique(labels[0])) - {0} & set(np.unique(labels[1])) - {0}
    assert np.bincount(labels.reshape(-1))[1:].min() >= 300
    assert voi(labels[0], labels[1]) == pytest.approx(0, abs=1e-9)


def test_labels_lie_in_the_image_and_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    image = stored(tmp_path, boundary(TRUTH[:16, :32, :32])[None])
    spec = EmSpec(image=image, source="boundaries")
    found = segment_maps(spec, cluster="serial")
    assert found.labels == f"{image}/labels/segments"
    assert found.objects == len(read_table(found.table)["id"])
    assert f"{found.objects} objects of {found.supervoxels} supervoxels" in found.text()
    assert is_em(open_run(found.run))
    assert not files.exists(files.join(found.run, "scratch"))
    with pytest.raises(OutputExists, match=r"is finished already; choose another output"):
        segment_maps(spec, cluster="serial")
    other = spec.model_copy(update={"beta": 0.3})
    with pytest.raises(OutputExists, match=r"holds a run with other settings"):
        segment_maps(other, cluster="serial")
    assert segment_maps(other, cluster="serial", overwrite=True).labels == found.labels
    with pytest.raises(OutputExists, match=r"no run beside it says that it made it"):
        segment_maps(spec, cluster="serial", run=f"{tmp_path}/new.bigseg", overwrite=True)


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bigseg.stages import regions

    image = stored(tmp_path, boundary(TRUTH[:16, :40, :40])[None])
    spec = EmSpec(image=image, source="boundaries", block=(16, 24, 24), halo=16)
    whole = segmented(tmp_path, spec, "whole")
    stopped = spec.model_copy(update={"output": f"{tmp_path}/stopped.zarr"})
    with monkeypatch.context() as patch:
        patch.setattr(regions, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(
            KeyboardInterrupt, match=r"'bigseg run .*stopped.zarr.bigseg' continues"
        ):
            segment_maps(stopped, cluster="serial")
    found = resume(f"{tmp_path}/stopped.zarr.bigseg", cluster="serial")
    assert (read_labels(found.labels) == whole).all()


def test_what_is_no_probability_is_named_with_its_place(tmp_path: Path) -> None:
    maps = boundary(TRUTH)[None].copy()
    maps[0, 30, 2, 3] = np.nan
    spec = EmSpec(
        image=stored(tmp_path, maps),
        output=f"{tmp_path}/o.zarr",
        source="boundaries",
        block=(20, 48, 56),
    )
    with pytest.raises(BigsegError, match=r"maps.zarr at \(t, z, y, x\) = .*0 to 1 and not nan"):
        segment_maps(spec, cluster="serial")


def test_memory_is_reckoned_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = EmSpec(image=stored(tmp_path, boundary(TRUTH)[None]), source="boundaries")
    narrow = spec.model_copy(update={"block": (20, 20, 20), "halo": 8})
    need = [worker_bytes(plan_em(one, "run"))[1] for one in (narrow, spec)]
    assert need[0] < need[1]
    monkeypatch.setattr("bigseg.run.cluster.memory", lambda: 1000)
    with pytest.raises(SpecError, match=r"Step 'supervoxels' needs about .* smaller --block"):
        segment_maps(spec, cluster="serial")
    assert not Path(f"{tmp_path}/maps.zarr.segments.bigseg").exists()
