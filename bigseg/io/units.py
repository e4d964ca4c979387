"""Units as NGFF wants them: names of UDUNITS-2."""

from __future__ import annotations

_SI = ("yocto", "zepto", "atto", "femto", "pico", "nano", "micro", "milli", "centi", "deci", "")
_LARGE = ("hecto", "kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta")

SPACE = frozenset(
    {prefix + "meter" for prefix in _SI + _LARGE}
    | {"angstrom", "foot", "inch", "mile", "parsec", "yard"}
)
TIME = frozenset({prefix + "second" for prefix in _SI + _LARGE} | {"minute", "hour", "day"})
"""What the NGFF specification recommends for axes of space and time."""

_OTHERS = {
    "micrometer": ("um", "µm", "μm", "micron", "microns", "micrometre", "\\u00b5m"),
    "nanometer": ("nm", "nanometre"),
    "millimeter": ("mm", "millimetre"),
    "centimeter": ("cm", "centimetre"),
    "picometer": ("pm",),
    "meter": ("m", "metre"),
    "angstrom": ("å", "ångström"),
    "inch": ("in", "inches"),
    "second": ("s", "sec", "seconds"),
    "millisecond": ("ms", "msec"),
    "microsecond": ("us", "µs", "μs"),
    "minute": ("min", "minutes"),
    "hour": ("h", "hr", "hours"),
    "day": ("d", "days"),
}
_STANDARD = {other: unit for unit, others in _OTHERS.items() for other in others}


def standard_unit(text: str | None) -> str | None:
    """NGFF's name for a unit as microscopes write it; None if there is none (pixel, …)."""
    key = (text or "").strip().lower()
    unit = _STANDARD.get(key, key)
    return unit if unit in SPACE | TIME else None


_POWERS = {
    "picometer": -12, "nanometer": -9, "micrometer": -6, "millimeter": -3, "centimeter": -2,
    "decimeter": -1, "meter": 0,
}  # fmt: skip


def ratio(unit: str | None, to: str | None) -> float:
    """How many `to` one `unit` is; 1 unless both are metric lengths."""
    powers = _POWERS.get(standard_unit(unit) or ""), _POWERS.get(standard_unit(to) or "")
    if powers[0] is None or powers[1] is None:
        return 1.0
    return float(10.0 ** (powers[0] - powers[1]))
