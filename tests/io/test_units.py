import pytest

from bigseg.io.units import SPACE, TIME, ratio, standard_unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("µm", "micrometer"),
        ("μm", "micrometer"),
        (" Micron ", "micrometer"),
        ("nm", "nanometer"),
        ("s", "second"),
        ("min", "minute"),
        ("micrometer", "micrometer"),
        ("pixel", None),
        ("", None),
        (None, None),
    ],
)
def test_units_get_their_ngff_name(text: str | None, unit: str | None) -> None:
    assert standard_unit(text) == unit


def test_the_lists_are_those_of_the_specification() -> None:
    assert len(SPACE) == 26
    assert len(TIME) == 23
    assert {"angstrom", "micrometer", "yottameter"} <= SPACE


def test_ratios_between_lengths() -> None:
    assert ratio("micrometer", "nanometer") == pytest.approx(1000)
    assert ratio("um", "mm") == pytest.approx(0.001)
    assert ratio("micrometer", None) == ratio("parsec", "meter") == 1
