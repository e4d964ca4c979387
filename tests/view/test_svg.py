from xml.etree import ElementTree

import numpy as np
import pytest

from bigseg.view.svg import BINS, MOST_ROWS, Bar, histogram, joined, ticks, timeline


def bars_of(svg: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall("rect")


def test_a_histogram_counts_every_value_once() -> None:
    svg = histogram(np.r_[np.zeros(3), np.full(5, 10.0), np.nan], "size (µm³)", mark=(4, "here"))
    titles = [str(bar.findtext("title")) for bar in bars_of(svg)]
    assert [int(title.rsplit(": ")[1]) for title in titles] == [3, 5]
    assert "size (µm³)" in svg
    assert "here" in svg


def test_the_rarest_values_share_the_last_bar() -> None:
    svg = histogram(np.r_[np.arange(1000.0), 1e9], "size")
    assert len(bars_of(svg)) == BINS
    assert sum(int(str(b.findtext("title")).rsplit(": ")[1]) for b in bars_of(svg)) == 1001


@pytest.mark.parametrize("values", [[5.0, 5.0], [0.0], [-2.0, 3.0]])
def test_few_values_are_no_trouble(values: list[float]) -> None:
    assert bars_of(histogram(np.array(values), "x"))


def test_nothing_to_count_is_said() -> None:
    assert "nothing to count" in histogram(np.array([np.nan]), "x")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 895, [0, 200, 400, 600, 800]),
        (0, 0.41, [0, 0.1, 0.2, 0.3, 0.4]),
        (0, 1.9, [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]),
        (-2, 3, [-2, -1, 0, 1, 2, 3]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    found = ticks(low, high)
    assert low <= found[0]
    assert found[-1] <= high
    assert 4 <= len(found) <= 9
    if len(found) == len(expected):
        assert found == pytest.approx(expected)


def test_bars_close_together_become_one() -> None:
    bars = [Bar("a", "label", i, i + 0.9) for i in range(5)] + [Bar("a", "merge", 5, 6)]
    assert joined(bars, 0.2) == [Bar("a", "label", 0, 4.9), Bar("a", "merge", 5, 6)]
    assert len(joined(bars, 0.05)) == 6


def test_a_timeline_has_a_row_for_each_worker_up_to_a_limit() -> None:
    bars = [Bar(f"w{i}", "label", i, i + 1.0) for i in range(MOST_ROWS + 3)]
    drawn = timeline(bars, ["label"])
    assert "3 more workers" in drawn
    assert drawn.count("<rect") == MOST_ROWS
    assert "No block" in timeline([], [])
