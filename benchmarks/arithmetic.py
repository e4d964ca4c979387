"""How much arithmetic a network is, and how fast a GPU can be at arithmetic."""

from __future__ import annotations

import time
from typing import Any


def arithmetic(net: Any, tile: Any) -> float:
    """Floating-point operations for one tile, counted on the CPU where nothing is padded."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        net(torch.from_numpy(tile))
    return float(counter.get_total_flops())


def product_peak(precision: str) -> float:
    """Operations per second of a large matrix product on the GPU."""
    import torch

    a = torch.randn(8192, 8192, device="cuda", dtype=getattr(torch, precision))
    times = []
    for _ in range(20):
        torch.cuda.synchronize()
        started = time.perf_counter()
        a @ a
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * 8192**3 / min(times)
