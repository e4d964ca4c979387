"""Same trained weights, same masks: the bundled model in Cellpose 3 and in bigseg, in one run.

    python benchmarks/same_masks.py DATA

Each test image goes through `CellposeModel.eval` of Cellpose 3 and through bigseg, with the same
weights, thresholds and diameter. bigseg's functions run in memory; one image of each set also goes
through the program `bigseg segment` and has to come out identical.

The table says how far the objects agree with the truth and with Cellpose's: average precision (AP)
at three IoUs, mean over images. With --attribute it goes on: `only …` takes one step the peer's
way, by the peer's own functions, and `and …` one more than the row above, until all are and the
objects are the peer's. The last row is bigseg's own code for parity, on the same field.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import tifffile
import torch
import zarr
from accuracy import SETS, THRESHOLDS, pairs
from end_to_end import MODEL, VOXEL, export, program
from peers import CELLPOSE_3, ENVIRONMENT_3, peer_environment, peer_python

from bigseg.core.decode.flows import labels_from_flows
from bigseg.core.holes import fill_holes
from bigseg.core.instances import Criteria, find_instances
from bigseg.core.intensity import rescale
from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.core.planes import positions, predict_volume, resample
from bigseg.core.quality import flow_errors, remove_objects, sizes
from bigseg.core.quantise import quantise, unpack
from bigseg.core.targets import CUBES
from bigseg.core.tiles import Tiling, predict_planes, round_up
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.jobs import segment as pipeline
from bigseg.nets import network, weights
from bigseg.plans.lattice import TILINGS, predict_blocks
from bigseg.stages import predict

HERE = Path(__file__).resolve().parent
FLOW_THRESHOLD, MIN_SIZE, STEPS = 0.4, 15, 200
Who = Literal["ours", "theirs"]
Precision = Literal["kept", "exact", "float32"]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Way:
    """Whose way each step goes."""

    precision: Precision = "kept"
    """bfloat16, where it is fast, and eight bits; `exact`: without the eight bits; `float32`."""
    tiles: Who = "ours"
    """Also padding and, in 3D, the depth of the stretched volume."""
    z: Who = "ours"
    """Flow along z in voxels of the image, or as the stretched volume has it."""
    sums: Who = "ours"
    """Orientations averaged or added up."""
    follow: Who = "ours"
    judge: Who = "ours"
    mend: Who = "ours"


Change = dict[str, Any]
PLANE_STEPS: dict[str, Change] = {
    "no eight bits": {"precision": "exact"},
    "float32": {"precision": "float32"},
    "tiles and padding": {"tiles": "theirs"},
    "following, sinks": {"follow": "theirs"},
    "flow error": {"judge": "theirs"},
    "holes, small objects": {"mend": "theirs"},
}
VOLUME_STEPS: dict[str, Change] = {
    "no eight bits": {"precision": "exact"},
    "float32": {"precision": "float32"},
    "padding, stretched depth": {"tiles": "theirs"},
    "flow along z as it comes": {"z": "theirs"},
    "sum of orientations": {"sums": "theirs"},
    "following, sinks": {"follow": "theirs"},
    "no flow error": {"judge": "theirs"},
    "holes, small objects": {"mend": "theirs"},
}


PUBLISHED_TILING = Tiling(224, 11, published=True)


@dataclass(frozen=True)
class Case:
    """A set of images and how both sides see it."""

    name: str
    images: list[tuple[Array, Array]]
    anisotropy: float
    scale: float
    """Pixels of the network per pixel."""
    folder: Path

    @property
    def ndim(self) -> int:
        return self.images[0][0].ndim

    @property
    def steps(self) -> int:
        return max(round(STEPS / self.scale), 20)


class Peer:
    """Cellpose 3 in its own environment, with our weights; a job is a file to be made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = peer_python(CELLPOSE_3, ENVIRONMENT_3)
        self.weights = folder / "weights.pth"
        self.diameter = export(self.weights)
        net = network.build(network.read_state(str(self.weights)), str(self.weights))
        own = {"CELLPOSE_WIDTHS": ",".join(map(str, net.widths)), "HOME": str(folder)}
        self.environment = peer_environment() | own

    def run(self, jobs: Iterable[dict[str, Any]]) -> None:
        """Do jobs in one process; those whose result is there are done."""
        open_jobs = {job["out"]: job for job in jobs if not (self.folder / job["out"]).exists()}
        if open_jobs:
            asked = {"weights": str(self.weights), "jobs": list(open_jobs.values())}
            (self.folder / "jobs.json").write_text(json.dumps(asked))
            command = [self.python, "-P", HERE / "peer_masks.py", "jobs.json", "."]
            subprocess.run(command, check=True, env=self.environment, cwd=self.folder)

    def evaluate(self, case: Case) -> list[Array]:
        """Labels of `CellposeModel.eval`; everything but the diameter as it is by default."""
        chosen: dict[str, Any] = {"channels": [0, 0], "diameter": self.diameter / case.scale}
        if case.ndim == 3:
            chosen |= {"do_3D": True, "z_axis": 0, "anisotropy": case.anisotropy}
        jobs = []
        for i, (image, _) in enumerate(case.images):
            names = {key: f"{case.name}-{i}-{key}.npy" for key in ("image", "labels", "field")}
            np.save(self.folder / names["image"], image)
            jobs.append({"do": "eval", "in": names["image"], "out": names["labels"],
                         "field": names["field"], "eval": chosen})  # fmt: skip
        self.run(jobs)
        return [np.load(self.folder / job["out"]) for job in jobs]


def our_field(case: Case, net: network.Ensemble, image: Array, tiles: Who) -> Array:
    """Flows in voxels per step, orientations averaged, and logits."""
    scaled = rescale(image, *np.percentile(image, (1, 99)))
    volume = scaled.reshape((1,) * (3 - image.ndim) + image.shape)
    scale = (case.scale * case.anisotropy, case.scale, case.scale)
    find = field_of_their_tiles if tiles == "theirs" else field_of_blocks
    field = find(net, volume, image.ndim, scale)
    return field.reshape(-1, *image.shape)


def field_of_blocks(
    net: network.Ensemble, volume: Array, ndim: int, scale: tuple[float, float, float]
) -> Array:
    """As the engine predicts, block by block."""
    tiling, shape = TILINGS[ndim], (1, *volume.shape)
    block, halo = predict_blocks(shape, ndim, scale, tiling)
    spec = predict.Spec(
        run="",
        image="",
        level=0,
        channels=(0,),
        shape=shape,
        block=block,
        halo=halo,
        ndim=ndim,
        models=(MODEL,),
        digests=("",),
        scale=scale,
        tile=tiling.tile,
        margin=tiling.margin,
    )
    counting = predict.Counting(net, max(net.pixels // tiling.tile**2, 1))
    field = np.empty((ndim + 1, *volume.shape), np.float32)
    for one in spec.grid:
        run = predict.predict_2d if ndim == 2 else predict.predict_3d
        field[:, *one.write[1:]] = run(spec, counting, volume[None, *one.read[1:]], one)
    return field


def field_of_their_tiles(
    net: network.Ensemble, volume: Array, ndim: int, scale: tuple[float, float, float]
) -> Array:
    """With the peer's tiles, zeros around planes and rounding of lengths."""
    axes = (0, 1, 2)[3 - ndim :]
    pixels = [max(int(n * one), 1) for n, one in zip(volume.shape, scale, strict=True)]
    extra, scaled = [(0, 0)] * 3, volume
    for axis in axes:
        n, wanted = volume.shape[axis], pixels[axis]
        scaled = resample(scaled, axis, positions(0, wanted, n / wanted))
        missing = round_up(wanted) - wanted
        extra[axis] = (8 + missing // 2, 8 + (missing + 1) // 2)
    wide = np.pad(scaled, extra)[None]
    z, y, x = ((before, before + n) for (before, _), n in zip(extra, scaled.shape, strict=True))
    if ndim == 2:
        field = predict_planes(net, wide, PUBLISHED_TILING, 3, 1)[0][:, None, slice(*y), slice(*x)]
    else:
        field = predict_volume(
            lambda planes: predict_planes(net, planes, PUBLISHED_TILING, 3, 2), wide, (z, y, x)
        )
    for axis in axes:
        n, given = volume.shape[axis], pixels[axis]
        field = resample(field, axis + 1, positions(0, n, given / n))
    if ndim == 3:
        field[0] *= scale[-1] / scale[0]
    return field


def packed(field: Array) -> Array:
    """What is left of a field after the eight bits of the scratch space."""
    flows, logits = unpack(quantise(field[:-1], field[-1]))
    return np.concatenate([flows, logits[None]])


def our_networks() -> dict[Precision, network.Ensemble]:
    """The network as it runs here, and in float32."""
    net = network.load(MODEL, weights.digest(MODEL))
    url = weights.locate(MODEL)
    module = network.build(network.read_state(url), url).to(net.device)
    module = module.to(memory_format=torch.channels_last)
    single = replace(net, module=module, half=False)
    return {"exact": network.Ensemble((net,)), "float32": network.Ensemble((single,))}


class Bench:
    """Labels of a set, whatever way each step goes; nothing is computed twice."""

    def __init__(self, case: Case, peer: Peer) -> None:
        self.case, self.peer = case, peer
        self.theirs = peer.evaluate(case)
        self.nets = our_networks()
        self.made: dict[str, list[Array]] = {}

    def difference(self) -> float:
        """Largest difference of fields, in the peer's units, when all is the peer's way."""
        own = self._converted(Way("float32", "theirs", "theirs", "theirs"))
        stem = self.case.folder / self.case.name
        fields = [np.load(f"{stem}-{i}-field.npy") for i in range(len(own))]
        both = zip(map(in_their_units, own), fields, strict=True)
        return max(float(np.abs(a - b).max()) for a, b in both)

    def _fields(self, way: Way) -> list[Array]:
        """Flows in voxels per step, orientations averaged, and logits."""
        key = f"{way.precision}-{way.tiles}"
        if key not in self.made:
            if way.precision == "kept":
                exact = self._fields(replace(way, precision="exact"))
                self.made[key] = [packed(field) for field in exact]
            else:
                net, images = self.nets[way.precision], self.case.images
                self.made[key] = [our_field(self.case, net, i, way.tiles) for i, _ in images]
        return self.made[key]

    def labels(self, way: Way) -> list[Array]:
        """Objects of all images."""
        raw = self._followed(way)
        judged = self._judged(way, raw)
        if way.mend == "ours":
            return [our_mend(*two) for two in zip(raw, judged, strict=True)]
        return self._by_peer("mend", f"{way}", judged)

    def _converted(self, way: Way) -> list[Array]:
        """Fields as they are followed."""
        fields = [field.copy() for field in self._fields(way)]
        for field in fields if self.case.ndim == 3 else []:
            if way.z == "theirs":
                field[0] *= self.case.anisotropy
            if way.sums == "theirs":
                field[:-1] *= 2
                field[-1] *= 3
        return fields

    def _followed(self, way: Way) -> list[Array]:
        key = f"{way.precision}-{way.tiles}-{way.z}-{way.sums}-{way.follow}"
        if key not in self.made:
            fields = self._converted(way)
            if way.follow == "ours":
                steps = self.case.steps
                self.made[key] = [labels_from_flows(f[:-1], f[-1], steps=steps) for f in fields]
            else:
                self.made[key] = self._by_peer("follow", key, fields)
        return self.made[key]

    def parity(self) -> list[Array]:
        """Objects as bigseg finds them for parity, of a field in float32 of the peer's tiles."""
        spacing = (self.case.anisotropy, 1.0, 1.0)
        criteria = Criteria(steps=self.case.steps, spacing=spacing, parity=True)
        if self.case.ndim == 2:
            criteria = replace(criteria, spacing=CUBES)
        found = []
        for field in self._fields(Way("float32", "theirs")):
            faces = ((False, False),) * self.case.ndim
            labels, errors = find_instances(field[:-1], field[-1], criteria, faces)
            found.append(remove_objects(labels, np.append(False, errors > FLOW_THRESHOLD)))
        return found

    def _judged(self, way: Way, raw: list[Array]) -> list[Array]:
        if way.judge == "theirs":
            if self.case.ndim == 3:
                return raw
            return self._by_peer("judge", f"{replace(way, mend='ours')}", raw, self._converted(way))
        spacing = (self.case.anisotropy, 1.0, 1.0) if self.case.ndim == 3 else (1.0,) * 3
        kept = []
        for labels, field in zip(raw, self._fields(way), strict=True):
            errors = flow_errors(labels, field[:-1], spacing=spacing)
            kept.append(remove_objects(labels, errors > FLOW_THRESHOLD))
        return kept

    def _by_peer(
        self, what: str, key: str, inputs: list[Array], fields: list[Array] | None = None
    ) -> list[Array]:
        """Let the peer do a step with all images."""
        stem = f"{self.case.name}-{what}-{crc32(key.encode())}"
        jobs = []
        for i, data in enumerate(inputs):
            job = {"do": what, "in": f"{stem}-{i}-in.npy", "out": f"{stem}-{i}.npy"}
            job |= {"steps": self.case.steps, "field": f"{stem}-{i}-field.npy"}
            np.save(self.case.folder / job["in"], in_their_units(data))
            if fields is not None:
                np.save(self.case.folder / job["field"], in_their_units(fields[i]))
            jobs.append(job)
        self.peer.run(jobs)
        return [np.load(self.case.folder / job["out"]) for job in jobs]


def in_their_units(data: Array) -> Array:
    """Flows times five; labels are left as they are."""
    if data.dtype != np.float32:
        return data
    return np.concatenate([data[:-1] * np.float32(network.FLOW_SCALE), data[-1:]])


def our_mend(raw: Array, judged: Array) -> Array:
    """Fill holes, then drop small objects and those that were judged bad."""
    labels = fill_holes(raw)
    bad = sizes(labels) < MIN_SIZE
    kept = np.zeros(len(bad), bool)
    kept[np.unique(judged)] = True
    return remove_objects(labels, bad | ~kept)


def through_the_program(case: Case, labels: list[Array]) -> bool:
    """Whether `bigseg segment` finds the very objects in the image that has most of them."""
    best = int(np.argmax([len(np.unique(one)) for one in labels]))
    image = case.images[best][0]
    where = case.folder / case.name
    where.mkdir()
    tifffile.imwrite(where / "image.tif", image, metadata=None)
    axes = ["--axes", "zyx", "--voxel-size", ",".join(map(str, VOXEL))]
    axes = axes if case.ndim == 3 else ["--axes", "yx"]
    source, target = where / "image.zarr", where / "labels.zarr"
    diameter = weights.describe(MODEL).diameter / case.scale
    for command in (
        ["convert", where / "image.tif", source, *axes],
        ["segment", source, target, "--model", MODEL, "--cluster", "serial"]
        + ["--diameter", str(diameter)] * (case.scale != 1),
    ):
        subprocess.run([program(), *command, "--quiet"], check=True)
    found, _ = contingency(zarr.open_array(target / "0", mode="r")[:], labels[best])
    return all(len(np.unique(ids)) == len(ids) for ids in (found[:, 0], found[:, 1]))


def with_parity(case: Case) -> list[Array]:
    """Objects of `bigseg segment --parity`."""
    found = []
    for number, (image, _) in enumerate(case.images):
        url = f"{case.folder / case.name}-{number}.zarr"
        axes = ("z", "y", "x")[3 - image.ndim :]
        scale = VOXEL[3 - image.ndim :]
        create_image(plan_image(url, axes, image.shape, image.dtype, scale, (64, 512, 512)))
        volume = Volume.open(url)
        box = tuple(slice(0, n) for n in (1, *volume.shape[2:]))
        volume.write(box, image.reshape(1, *volume.shape[2:]), 0)
        pipeline.segment(
            url,
            f"{url}.labels.zarr",
            model=MODEL,
            diameter=weights.describe(MODEL).diameter / case.scale,
            parity=True,
            cluster="serial",
        )
        labels = Volume.open(f"{url}.labels.zarr")
        found.append(labels.read(box)[0, 0].reshape(image.shape))
    return found


def precision(some: list[Array], others: list[Array]) -> list[float]:
    """AP at the thresholds, mean over images."""
    matches = [match(*contingency(*two)) for two in zip(some, others, strict=True)]
    rows = [[average_precision(one, threshold) for threshold in THRESHOLDS] for one in matches]
    means: list[float] = np.nanmean(rows, axis=0).tolist()
    return means


def line(cells: Iterable[Any]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(f'{c:.3f}' if isinstance(c, float) else str(c) for c in cells)} |"


def compare(case: Case, peer: Peer, attribute: bool) -> None:
    """Print the tables of a set."""
    bench = Bench(case, peer)
    truth = [true for _, true in case.images]
    own = bench.labels(Way())
    same = "identical" if through_the_program(case, own) else "DIFFERENT"
    print(f"\n{case.name}: {len(truth)} images; the program's objects are {same}\n")
    print("| objects | count | AP 0.5 truth | 0.75 | 0.9 | AP 0.5 Cellpose | 0.75 | 0.9 |")
    print("| --- |" + " ---: |" * 7)

    def show(name: str, labels: list[Array]) -> None:
        count = sum(len(np.unique(one[one > 0])) for one in labels)
        scores = [*precision(labels, truth), *precision(labels, bench.theirs)]
        print(line([name, count, *scores]), flush=True)

    show("Cellpose 3", bench.theirs)
    show("bigseg", own)
    show("bigseg --parity", with_parity(case))
    if attribute:
        steps = PLANE_STEPS if case.ndim == 2 else VOLUME_STEPS
        print(f"fields differ by {bench.difference():.1e}", file=sys.stderr)
        for name, change in steps.items():
            show(f"only {name}", bench.labels(replace(Way(), **change)))
        way = Way()
        for name, change in steps.items():
            way = replace(way, **change)
            show(f"and {name}", bench.labels(way))
        show("bigseg's parity", bench.parity())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the development data")
    parser.add_argument("--most", type=int, help="images per set")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS)
    parser.add_argument("--scale", type=float, default=1.0, help="pixels of the network per pixel")
    parser.add_argument("--attribute", action="store_true", help="the peer's way, step by step")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(Path(folder))
        for name in chosen.sets:
            images = list(pairs(chosen.data / name / "test"))[: chosen.most]
            case = Case(name, images, SETS[name], chosen.scale, Path(folder))
            compare(case, peer, chosen.attribute)


if __name__ == "__main__":
    main()
