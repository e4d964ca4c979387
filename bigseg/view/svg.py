"""Small drawings for a page, in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 440, 190
LEFT, BOTTOM, TOP, RIGHT = 40, 34, 18, 8
BINS = 36
MOST_ROWS = 32
COLOURS = 9


def histogram(values: NDArray[Any], label: str, *, mark: tuple[float, str] | None = None) -> str:
    """Draw how values are distributed.

    Parameters
    ----------
    values : (n,) numbers
        NaN is left out; the largest half percent share the last bar.
    label : str
        What they are, with their unit.
    mark
        A value to mark by a line, and what it is.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return '<p class="none">There is nothing to count.</p>'
    low, high = _range(known, mark)
    counts, bounds = np.histogram(np.clip(known, low, high), BINS, (low, high))
    top = int(counts.max())
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [_grid(top, wide, tall)]
    for i, count in enumerate(counts):
        if count:
            high_of_bar = tall * count / top
            title = f"{_number(bounds[i])} to {_number(bounds[i + 1])}: {count:,}"
            parts.append(
                f'<rect class="bar" x="{LEFT + wide * i / BINS + 0.5:.1f}" '
                f'y="{TOP + tall - high_of_bar:.1f}" width="{wide / BINS - 1:.1f}" '
                f'height="{high_of_bar:.1f}"><title>{title}</title></rect>'
            )
    for value in ticks(low, high):
        at = LEFT + wide * (value - low) / (high - low)
        parts.append(
            f'<text x="{at:.0f}" y="{HEIGHT - 19}" text-anchor="middle">{_number(value)}</text>'
        )
    if mark is not None and low <= mark[0] <= high:
        parts.append(_mark(LEFT + wide * (mark[0] - low) / (high - low), mark[1]))
    parts.append(
        f'<text x="{LEFT + wide / 2}" y="{HEIGHT - 3}" text-anchor="middle">{escape(label)}</text>'
    )
    return _svg(WIDTH, HEIGHT, f"histogram of {label}", parts)


def ticks(low: float, high: float) -> list[float]:
    """Round values between two bounds, four to nine of them."""
    step = 10.0 ** np.floor(np.log10((high - low) / 4))
    while (high - low) / step > 8:
        step *= 2.5 if round(step / 10 ** np.floor(np.log10(step))) == 2 else 2
    first = int(np.ceil(low / step - 1e-9))
    return [float(i * step) for i in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def _range(values: NDArray[np.float64], mark: tuple[float, str] | None) -> tuple[float, float]:
    low, high = 0.0, float(np.quantile(values, 0.995))
    low = min(low, float(values.min()))
    if mark is not None:
        high = max(high, mark[0] * 1.02)
    return low, high if high > low else low + 1.0


def _grid(top: int, wide: float, tall: float) -> str:
    lines = []
    for share in (0.0, 0.5, 1.0):
        y = TOP + tall * (1 - share)
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{LEFT + wide}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        if share == 0.0 or top * share == int(top * share):
            count = _number(top * share)
            lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{count}</text>')
    return "".join(lines)


def _mark(x: float, text: str) -> str:
    anchor = "end" if x > WIDTH / 2 else "start"
    shift = -5 if anchor == "end" else 5
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 10}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text x="{x + shift:.1f}" y="{TOP - 5}" text-anchor="{anchor}">{escape(text)}</text>'
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """Work of one worker without a break."""

    row: str
    kind: str
    start: float
    stop: float


def joined(bars: Sequence[Bar], gap: float) -> list[Bar]:
    """Bars of equal row and kind made one where less than `gap` lies between them."""
    result: list[Bar] = []
    for bar in sorted(bars, key=lambda b: (b.row, b.start)):
        last = result[-1] if result else None
        same = last is not None and (last.row, last.kind) == (bar.row, bar.kind)
        if last is not None and same and bar.start - last.stop < gap:
            result[-1] = Bar(last.row, last.kind, last.start, max(last.stop, bar.stop))
        else:
            result.append(bar)
    return result


def timeline(bars: Sequence[Bar], kinds: Sequence[str]) -> str:
    """Draw which worker did what when: a row for each worker, a colour for each kind of work.

    Parameters
    ----------
    bars
        Times in seconds; the earliest is drawn as 0.
    kinds
        In the order of their colours.
    """
    if not bars:
        return '<p class="none">No block has been computed.</p>'
    first, last = min(b.start for b in bars), max(b.stop for b in bars)
    span = max(last - first, 1e-3)
    rows = sorted({bar.row for bar in bars}, key=lambda r: min(b.start for b in bars if b.row == r))
    shown = rows[:MOST_ROWS]
    left, wide, step = 110, 780, 18 if len(shown) < 12 else 12
    height = step * len(shown) + 26
    parts = []
    for bar in joined([b for b in bars if b.row in shown], span / 400):
        x = left + wide * (bar.start - first) / span
        width = max(wide * (bar.stop - bar.start) / span, 1)
        parts.append(
            f'<rect class="k{kinds.index(bar.kind) % COLOURS}" x="{x:.1f}" '
            f'y="{step * shown.index(bar.row) + 2}" width="{width:.1f}" height="{step - 4}">'
            f"<title>{escape(bar.kind)}, {bar.stop - bar.start:.1f} s</title></rect>"
        )
    for i, row in enumerate(shown):
        y = step * i + step / 2 + 4
        parts.append(f'<text x="{left - 8}" y="{y:.0f}" text-anchor="end">{escape(row)}</text>')
    for value in ticks(0, span):
        x = left + wide * value / span
        parts.append(
            f'<text x="{x:.0f}" y="{height - 6}" text-anchor="middle">{_seconds(value)}</text>'
        )
    keys = "".join(
        f'<span><i class="k{i % COLOURS}"></i>{escape(kind)}</span>' for i, kind in enumerate(kinds)
    )
    more = f"<p>{len(rows) - len(shown)} more workers are not drawn.</p>" if rows != shown else ""
    drawing = _svg(left + wide + 8, height, "which worker did what when", parts)
    return f'{drawing}<p class="keys">{keys}</p>{more}'


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _number(value: float) -> str:
    """Few digits, thousands set apart."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _seconds(value: float) -> str:
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 7200 else f"{value / 3600:.3g} h"
