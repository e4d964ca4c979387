"""Networks: ours against the packages they were published in, in one run.

Both sides load the same random weights and get the same tiles, crops of a bundled image. Each row
is a process of its own. The peer runs through the function that its own `eval` calls. A call goes
from a numpy array to a numpy array. Times are the best of several calls after one that warms up;
extra memory is the peak of that first call beyond the loaded network. `difference` is the largest
difference from the peer's float32 outputs on the same threads, in standard deviations of them.

Rows say TFLOP/s (of the network's arithmetic, without padding; on a CPU by processor time) and
their share of what a large matrix product of the same precision reaches in the same process. The
share bounds what could still be gained: no network is faster than its products. The size model
has no row: it multiplies one vector per image, which the U-Net makes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from arithmetic import arithmetic, product_peak
from peer_networks import (
    Call,
    cellpose3_network,
    cellpose3_transformer,
    cellpose4_dino,
    cellpose4_network,
    cellpose_call,
    scellseg_call,
    scellseg_network,
)

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "bigseg" / "samples" / "nuclei2d.tif"


@dataclass(frozen=True)
class Mode:
    """How a side runs: precision, and memory layout (ours only)."""

    precision: str = "float32"
    channels_last: bool = False

    def __str__(self) -> str:
        return self.precision + (", channels last" if self.channels_last else "")


@dataclass(frozen=True)
class Case:
    """A network, and what to run it on."""

    ours: Callable[[], Any]
    """Makes our network with random weights."""
    peer: Callable[[Any], Any]
    """Builds the peer's network of a state dict; runs in the peer's environment."""
    environment: str
    """Key of ENVIRONMENTS."""
    channels: int
    tile: int
    tiles: int
    """Per call; on a CPU in one batch, on a GPU 16 times as many in batches of 32."""
    our_modes: tuple[Mode, ...]
    peer_modes: tuple[Mode, ...]
    """The first is the peer's default: ratios are to that."""
    peer_call: Callable[[Any, str, str], Call] = cellpose_call
    """Makes the peer's call of the peer's network."""


def our_unet(*widths: int) -> Any:
    """Our residual U-Net."""
    from bigseg.nets.cellpose_unet import CellposeUNet

    return CellposeUNet(widths)


def our_sam() -> Any:
    """Our Cellpose-SAM network."""
    from bigseg.nets.cellpose_sam import CellposeSam

    return CellposeSam()


def our_dino(**sizes: int) -> Any:
    """Our CP-DINO network; cpdino by default."""
    from bigseg.nets.cellpose_dino import CellposeDino, Sizes

    return CellposeDino(Sizes(**sizes))


def our_transformer() -> Any:
    """Our transformer of Cellpose 3."""
    from bigseg.nets.cellpose_transformer import CellposeTransformer

    return CellposeTransformer()


def our_scellseg() -> Any:
    """Our Scellseg network, with all that the published one has."""
    from bigseg.nets.scellseg import ScellsegNet

    return ScellsegNet(outputs=3, gates=True, dense=True, hierarchical=True)


def our_restorer() -> Any:
    """Our restoring network."""
    from bigseg.nets.cellpose_unet import CellposeUNet

    return CellposeUNet((1, 32, 64, 128, 256), 1)


HALF = Mode("bfloat16", channels_last=True)
UNET_MODES = (Mode(), Mode("float32", channels_last=True), HALF)
UNET: dict[str, Any] = {
    "peer": cellpose3_network,
    "environment": "cellpose 3",
    "channels": 2,
    "tile": 224,
    "tiles": 8,
    "our_modes": UNET_MODES,
    "peer_modes": (Mode(),),
}
DINO: dict[str, Any] = {
    "peer": cellpose4_dino,
    "environment": "cellpose 4, DINOv3",
    "channels": 3,
    "tile": 384,
    "tiles": 1,
    "our_modes": (Mode(), Mode("bfloat16")),
    "peer_modes": (Mode("bfloat16"), Mode()),
}
CASES = {
    "unet": Case(ours=lambda: our_unet(2, 32, 64, 128, 256), **UNET),
    "unet-half": Case(ours=lambda: our_unet(2, 16, 32, 64, 128), **UNET),
    "restore": Case(
        ours=our_restorer,
        **UNET | {"channels": 1, "our_modes": UNET_MODES[:2]},  # never bfloat16: grey levels
    ),
    "scellseg": Case(
        ours=our_scellseg,
        **UNET
        | {
            "peer": scellseg_network,
            "environment": "scellseg",
            "peer_call": scellseg_call,
        },
    ),
    "sam": Case(
        ours=our_sam,
        peer=cellpose4_network,
        environment="cellpose 4",
        channels=3,
        tile=256,
        tiles=2,
        our_modes=(Mode(), Mode("bfloat16")),
        peer_modes=(Mode("bfloat16"), Mode()),
    ),
    "transformer": Case(
        ours=our_transformer,
        **UNET
        | {
            "peer": cellpose3_transformer,
            "environment": "cellpose 3, transformer",
            "channels": 3,
            "our_modes": (Mode(), HALF),
        },
    ),
    "dino": Case(ours=our_dino, **DINO),
    "dino-vitb": Case(ours=lambda: our_dino(width=768, hidden=3072, depth=12), **DINO),
}


def peer_interpreter(name: str) -> Path:
    """Python of a peer's environment, which is made when it is missing."""
    from peers import CELLPOSE, CELLPOSE_3, ENVIRONMENT, ENVIRONMENT_3, TRANSFORMER_3, peer_python

    if name == "scellseg":
        from scellseg_scores import NEEDED, assets

        assets()
        return peer_python(NEEDED, ENVIRONMENT_3)
    known = {
        "cellpose 3": (CELLPOSE_3, ENVIRONMENT_3),
        "cellpose 3, transformer": (TRANSFORMER_3, ENVIRONMENT_3),
        "cellpose 4": (CELLPOSE, ENVIRONMENT),
        "cellpose 4, DINOv3": (CELLPOSE, ENVIRONMENT),
    }
    return peer_python(*known[name])


def make_inputs(case: Case, folder: Path, tiles: int) -> None:
    """Random weights and tiles of an image, for both sides."""
    import tifffile
    import torch

    torch.manual_seed(0)
    state = case.ours().state_dict()
    for value in state.values():
        if value.is_floating_point() and not value.any():
            value.normal_(std=0.1)  # tables and biases that begin as zeros
    torch.save(state, folder / "state.pt")
    image = tifffile.imread(SAMPLE).astype(np.float32)
    image = (image - np.percentile(image, 1)) / np.ptp(np.percentile(image, (1, 99)))
    random = np.random.default_rng(0)
    starts = random.integers(0, 1024 - case.tile, (tiles, case.channels, 2))
    crops = [[image[y:, x:][: case.tile, : case.tile] for y, x in tile] for tile in starts]
    np.save(folder / "tiles.npy", np.array(crops, np.float32))


def our_call(net: Any, mode: Mode, device: str) -> Call:
    """What the engine does for each batch."""
    import torch

    from bigseg.nets.packed import pack

    layout = torch.channels_last if mode.channels_last else torch.contiguous_format
    dtype = getattr(torch, mode.precision)
    net = net.to(device, dtype).to(memory_format=layout)
    if device == "cpu" and mode.precision == "bfloat16":
        pack(net)

    @torch.inference_mode()
    def call(tiles: Any) -> Any:
        batch = torch.from_numpy(tiles).to(device, dtype, memory_format=layout)
        return np.ascontiguousarray(net(batch).float().cpu().numpy())

    return call


def measure(call: Call, tiles: Any, batch: int, repeats: int, device: str) -> dict[str, float]:
    """What a call takes, and its last outputs in `tiles`' folder."""
    import torch
    from dynamics import memory

    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = memory("VmRSS")
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    call(tiles[:batch])
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else memory("VmHWM")
    wall, cpu = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        for first in range(0, len(tiles), batch):
            call(tiles[first : first + batch])
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    n = len(tiles)
    return {"wall": min(wall) / n, "cpu": min(cpu) / n, "extra": peak - before, "peak": peak}


def take(case: Case, side: str, mode: Mode, folder: Path, repeats: int) -> None:
    """Measure one side in one mode, in this process; leave outputs and numbers in the folder."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tiles = np.load(folder / "tiles.npy")
    state = torch.load(folder / "state.pt", weights_only=True)
    if side == "ours":
        net = case.ours()
        net.load_state_dict(state)
    else:
        net = case.peer(state)
    del state
    net.eval()
    flops = arithmetic(case.ours, tiles[:1].shape) if side == "ours" else 0.0
    if side == "ours":
        call = our_call(net, mode, device)
    else:
        call = case.peer_call(net, mode.precision, device)
    batch = 32 if device == "cuda" else len(tiles)
    took: dict[str, Any] = measure(call, tiles, batch, repeats, device) | {"flops": flops}
    took |= {"product": product_peak(mode.precision, device), "device": device}
    np.save(folder / "outputs.npy", call(tiles[:1]))
    (folder / "took.json").write_text(json.dumps(took))


def run(name: str, side: str, mode: Mode, folder: Path, args: Any, threads: int) -> dict[str, Any]:
    """What one side took, in a process of its own."""
    from peers import dinov3, peer_environment

    case = CASES[name]
    paths = [ROOT / "benchmarks"]
    if side == "ours":
        paths.append(ROOT)
    elif case.peer is cellpose4_dino:
        paths.append(dinov3())
    # Waiting threads sleep, for both: spinning ones would cost a busy machine many times the time.
    environment = peer_environment(threads) | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_WAIT_POLICY": "passive",
    }
    python = sys.executable if side == "ours" else peer_interpreter(case.environment)
    modes = case.our_modes if side == "ours" else case.peer_modes
    chosen = ["--side", side, "--network", name, "--mode", str(modes.index(mode))]
    where = ["--folder", str(folder), "--repeats", str(args.repeats)]
    command = [str(python), __file__, *chosen, *where]
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)  # peers talk
    return json.loads((folder / "took.json").read_text()) | {
        "outputs": np.load(folder / "outputs.npy"),
        "label": f"{side if side == 'ours' else case.environment}, {mode}",
    }


def rows(name: str, folder: Path, args: Any, threads: int) -> list[str]:
    """Rows of the table for one network on so many threads."""
    case = CASES[name]
    sides = [("peer", m) for m in case.peer_modes] + [("ours", m) for m in case.our_modes]
    found = [run(name, side, mode, folder, args, threads) for side, mode in sides]
    usual = found[0]
    exact = found[case.peer_modes.index(Mode())]["outputs"]
    flops = max(took["flops"] for took in found)
    lines = []
    for took in found:
        difference = np.abs(took["outputs"] - exact).max() / exact.std()
        cells = [name, str(threads), took["label"]]
        cells += [f"{1 / took['wall']:.2f}", f"{case.tile**2 / took['wall'] / 1e6:.3f}"]
        cells += [f"{took['cpu']:.3f}", f"{took['extra'] / 1e6:.0f}", f"{took['peak'] / 1e6:.0f}"]
        cells += [f"{usual['wall'] / took['wall']:.2f}×", f"{usual['cpu'] / took['cpu']:.2f}×"]
        cells += [f"{usual['extra'] / took['extra']:.2f}×", f"{difference:.1e}"]
        seconds = took["wall"] if took["device"] == "cuda" else took["cpu"] / threads
        speed = flops / seconds
        cells += [f"{speed / 1e12:.3g}", f"{100 * speed / took['product']:.0f} %"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print the table, or take one side of one network."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The first run makes the peers' environments (minutes, 2 GB each) in bench-env/.\n"
        "example: nice python benchmarks/networks.py --network unet --repeats 5",
    )
    parser.add_argument("--network", choices=CASES, help="only this one")
    parser.add_argument("--threads", type=int, nargs="*", help="instead of one, and all")
    parser.add_argument("--repeats", type=int, default=3, help="calls, of which the best counts")
    parser.add_argument("--tiles", type=int, help="tiles per call instead of the network's own")
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--mode", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        case = CASES[args.network]
        modes = case.our_modes if args.side == "ours" else case.peer_modes
        take(case, args.side, modes[args.mode], args.folder, args.repeats)
        return
    head = "network | threads | side | tiles/s | Mpx/s | CPU s/tile | extra MB | peak MB"
    head += " | speed | CPU | memory | difference | TFLOP/s | of product"
    print(f"| {head} |\n| {' | '.join(['---'] * 14)} |")
    sys.path.insert(0, str(ROOT))
    every = len(os.sched_getaffinity(0))
    for name in [args.network] if args.network else CASES:
        with tempfile.TemporaryDirectory() as folder:
            make_inputs(CASES[name], Path(folder), args.tiles or default_tiles(CASES[name]))
            for threads in args.threads or sorted({1, every}):
                print("\n".join(rows(name, Path(folder), args, threads)), flush=True)


def default_tiles(case: Case) -> int:
    """Tiles per call: many on a GPU, which a few would not fill."""
    import torch

    return case.tiles * (16 if torch.cuda.is_available() else 1)


if __name__ == "__main__":
    main()
