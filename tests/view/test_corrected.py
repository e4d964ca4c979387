from bigseg.view.corrected import Correction, corrected


def test_merges_and_splits_are_told() -> None:
    page = corrected([Correction("2026-01-02T03:04:05+00:00", [([6, 8], 6)], [(3, [3, 41])])])
    assert "1 corrections: 1 merges and 1 splits" in page
    assert "6 + 8 into 6" in page
    assert "3 into 3 + 41" in page
    assert "2026-01-02" in page


def test_without_corrections_there_is_no_such_part() -> None:
    assert corrected([]) == ""
