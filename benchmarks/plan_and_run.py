"""What `bigseg plan` said of a run, and what the run took, side by side.

    python benchmarks/plan_and_run.py 2 [--times 1] [--seconds 20]

Makes an image of a bundled sample, repeated so many times along y and x, in 2 or 3 dimensions;
plans and runs it in processes of their own, serially, on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from skimage.io import imread

import bigseg
from bigseg.io.convert import convert

SAMPLES = {2: ("nuclei2d", "yx", (512, 512)), 3: ("embryo3d", "zyx", (51, 96, 96))}
"""Blocks do not end where the repeated volume does: there is nothing that they could cut."""
PLAN = """
import json, sys
from bigseg.jobs.plan import plan_segmentation
from bigseg.specs.segment import parse
settings, seconds = json.loads(sys.argv[1]), float(sys.argv[2])
plan = plan_segmentation(parse(settings), cluster="serial", calibrate=seconds)
print(json.dumps(plan.as_dict()))
"""
RUN = """
import json, sys, time
from collections import Counter
from zarr.storage import LocalStore
from bigseg import files
from bigseg.io.stores import DiskStore
from bigseg.jobs.segment import segment
from bigseg.run import execute
from bigseg.run.machine import peak_memory

count, now, blocks = Counter(), ["start"], {}
get, store, put, run_step = LocalStore.get, DiskStore.set, files.put, execute.run_step

def entered(run, step, *args, **options):
    now[0], blocks[step.name] = step.name, len(step.spec.grid)
    return run_step(run, step, *args, **options)

def counts(one, key):
    return now[0] != "report" and "/c/" in f"/{one.root}/{key}"

async def read(self, key, *args, **options):
    found = await get(self, key, *args, **options)
    if counts(self, key):
        count["gets"] += 1
        count["read"] += 0 if found is None else len(found)
    return found

async def written(self, key, value):
    if counts(self, key):
        count["puts"] += 1
    return await store(self, key, value)

def table(url, data):
    count["puts"] += ".parquet" in url or ".npz" in url
    return put(url, data)

def read_table(url, *args):
    count["gets"] += now[0] != "report" and (".parquet" in url or ".npz" in url)
    return found(url, *args)

found, files.get, files.put = files.get, read_table, table
LocalStore.get, DiskStore.set, execute.run_step = read, written, entered
segment(**json.loads(sys.argv[1]), cluster="serial", keep_scratch=True)
told = {"cpu": time.process_time(), "peak": peak_memory(), "blocks": blocks}
print(json.dumps(count | told))
"""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def alone(code: str, *arguments: str) -> Any:
    """What a process of its own prints, as JSON."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | ENVIRONMENT
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def below(folder: str) -> int:
    """Bytes on disk."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ndim", type=int, choices=(2, 3))
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    sample, axes, block = SAMPLES[asked.ndim]
    data = imread(Path(bigseg.__file__).parent / "samples" / f"{sample}.tif")
    with TemporaryDirectory() as folder:
        tiled = np.tile(data, (asked.times,) * 2 if asked.ndim == 2 else (1, *[asked.times] * 2))
        np.save(f"{folder}/image.npy", tiled)
        image, output = f"{folder}/image.zarr", f"{folder}/labels.zarr"
        edge = (1, 256, 256) if asked.ndim == 2 else (64, 64, 64)
        convert([f"{folder}/image.npy"], image, axes=axes, block=edge)
        settings = {"image": image, "output": output, "model": "nuclei", "block": block}
        plan = alone(PLAN, json.dumps(settings), str(asked.seconds))
        real = alone(RUN, json.dumps(settings))
        steps = plan["steps"]
        assert {step["step"]: step["blocks"] for step in steps} == real["blocks"]
        run = f"{output}.bigseg"
        tables = below(f"{run}/graph") + below(f"{run}/tables") - below(f"{run}/graph/opinions")
        kept, scratch = plan["stored"], below(f"{run}/scratch/predictions")
        opinions = below(f"{run}/graph/opinions")
        rows = [
            ("processor time, s", plan["cpu_hours"] * 3600, real["cpu"]),
            ("memory of a worker, MB", plan["worker_bytes"] / 1e6, real["peak"] / 1e6),
            ("predictions, kB", kept["predictions"] / 1e3, scratch / 1e3),
            ("opinions, kB", kept["opinions"] / 1e3, opinions / 1e3),
            ("tables, kB", kept["tables"] / 1e3, tables / 1e3),
            ("result, kB", kept["result"] / 1e3, below(output) / 1e3),
            ("bytes read, kB", sum(s["read"] for s in steps) / 1e3, real["read"] / 1e3),
            ("GETs of arrays and tables", sum(s["gets"] for s in steps), real["gets"]),
            ("PUTs of them", sum(s["puts"] - s["blocks"] for s in steps), real["puts"]),
        ]
    sys.stdout.write(f"{data.shape} × {asked.times}: {plan['calibration']}\n")
    sys.stdout.write("| | plan | run | plan / run |\n| --- | --- | --- | --- |\n")
    for name, planned, found in rows:
        sys.stdout.write(f"| {name} | {planned:.0f} | {found:.0f} | {planned / found:.2f} |\n")


if __name__ == "__main__":
    main()
