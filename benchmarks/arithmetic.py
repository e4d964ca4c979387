"""How much arithmetic a network is, and how fast this machine can be at arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def arithmetic(build: Callable[[], Any], shape: tuple[int, ...]) -> float:
    """Floating-point operations of a network for tiles (n, c, y, x), counted without computing.

    As on a processor in float32: there Cellpose-SAM multiplies nothing by zeros, as it does where
    that is faster.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with FakeTensorMode(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        build().eval()(torch.empty(shape))
    return float(counter.get_total_flops())


def product_peak(precision: str, device: str) -> float:
    """Operations per second of a large matrix product; on a processor, of its own time."""
    import torch

    # On a processor the cache decides which edge is fastest.
    edges, repeats = ((8192,), 20) if device == "cuda" else ((1024, 2048), 5)
    best = 0.0
    for edge in edges:
        a = torch.randn(edge, edge, device=device).to(getattr(torch, precision))
        for _ in range(repeats):
            started = _seconds(device)
            a @ a
            best = max(best, 2 * edge**3 / (_seconds(device) - started))
    return best


def _seconds(device: str) -> float:
    """Time on a clock; on a processor that of this process, of which others take nothing."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()
