"""The networks of other packages, as those packages make and call them, for `networks.py`.

Each function runs in the environment of its package, which `peers.py` makes. Scellseg is not
installed: it runs from its unpacked source, which `scellseg_scores.py` fetches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = Callable[[Any], Any]
"""(n, c, y, x) → (n, k, y, x), numpy float32."""


def cellpose3_network(state: Any) -> Any:
    """Network of Cellpose 3, as `CellposeModel` makes it."""
    import torch
    from cellpose.core import check_mkl
    from cellpose.resnet_torch import CPnet

    key = "downsample.down.res_down_{}.conv.conv_0.2.weight"
    widths = [state[key.format(0)].shape[1], *(len(state[key.format(n)]) for n in range(4))]
    mkldnn = check_mkl(True) and not torch.cuda.is_available()
    net = CPnet(widths, len(state["output.2.weight"]), sz=3, mkldnn=mkldnn)
    net.load_state_dict(state, strict=True)
    return net


def cellpose4_network(state: Any) -> Any:
    """Network of Cellpose 4 (ViT-L, the only size it has)."""
    from cellpose.vit import CPSAM

    net = CPSAM(nout=state["W2"].shape[1])
    net.load_state_dict(state, strict=True)
    return net


def cellpose3_transformer(state: Any) -> Any:
    """Transformer of Cellpose 3 (MiT-B5, the only size it has)."""
    from cellpose.segformer import Transformer

    net = Transformer()
    net.load_state_dict(state, strict=True)
    return net


def cellpose4_dino(state: Any) -> Any:
    """CP-DINO of Cellpose 4, as `CellposeModel` makes it."""
    from cellpose.vit import CPDINO

    width = len(state["encoder.norm.weight"])
    net = CPDINO({1024: "vitl", 768: "vitb"}[width], nout=state["W2"].shape[1])
    net.load_state_dict(state, strict=True)
    return net


def scellseg_network(state: Any) -> Any:
    """Network of Scellseg 0.1.8, as its `sCellSeg` makes it."""
    from peer_scellseg import package
    from peers import SCELLSEG

    found = package(SCELLSEG, "models").sCellSeg(model_type="scellseg", net_avg=False)
    lacking = found.net.load_state_dict(state, strict=False).missing_keys
    if lacking:
        raise ValueError(f"Scellseg's network needs {lacking[0]}, which ours has not.")
    found.eval = found.net.eval
    return found


def scellseg_call(net: Any, precision: str, device: str) -> Call:
    """What Scellseg's `_run_nets` calls for each batch; it keeps gradients, too."""
    return lambda tiles: net.network(tiles)[0]


def cellpose_call(net: Any, precision: str, device: str) -> Call:
    """What Cellpose's `run_net` calls for each batch."""
    import torch
    from cellpose.core import _forward

    net = net.to(device)
    if precision != "float32":
        net.dtype = getattr(torch, precision)  # only Cellpose 4 has this
    return lambda tiles: _forward(net, tiles)[0]
