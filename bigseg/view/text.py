"""Numbers as people read them."""

from __future__ import annotations

UNITS = {
    "micrometer": "µm",
    "nanometer": "nm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "angstrom": "Å",
    "second": "s",
    "minute": "min",
    "hour": "h",
}


def number(value: float) -> str:
    """Three digits, thousands set apart."""
    if value != value:  # nan
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def share(part: float, whole: float) -> str:
    """Percent of a whole, of which there may be nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def seconds(value: float) -> str:
    """Time with the unit that fits."""
    if value < 120:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes with the unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def shape(lengths: tuple[int, ...]) -> str:
    """Lengths along axes."""
    return " × ".join(f"{n:,}" for n in lengths)


def unit(name: str | None) -> str:
    """Symbol of a unit."""
    return UNITS.get(name or "", name or "")


def score(value: float | None) -> str:
    """Score between 0 and 1; a dash where it has no value."""
    return "–" if value is None else f"{value:.3f}"
