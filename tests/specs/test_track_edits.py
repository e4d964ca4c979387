"""Files of corrections: what they may say."""

from __future__ import annotations

import pytest

from bigseg.errors import NotFound, SpecError
from bigseg.specs.track_edits import Place, read_edits


def put(path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_toml_and_json_say_the_same(tmp_path):
    toml = put(
        tmp_path / "a.toml",
        "delete = [[2, 7]]\n"
        "[[link]]\nfrom = [3, 12]\nto = { frame = 5, y = 10, x = 4 }\n"
        "[[divide]]\nmother = [1, 1]\ndaughters = [[2, 1], [3, 2]]\n",
    )
    json = put(
        tmp_path / "a.json",
        '{"delete": [[2, 7]], "link": [{"from": [3, 12], "to": {"frame": 5, "y": 10, "x": 4}}],'
        ' "divide": [{"mother": [1, 1], "daughters": [[2, 1], [3, 2]]}]}',
    )
    edits = read_edits(toml)
    assert edits == read_edits(json)
    assert edits.ways == [
        ((3, 12), Place(frame=5, y=10, x=4)),
        ((1, 1), (2, 1)),
        ((1, 1), (3, 2)),
    ]


LINK = "[[{}]]\nfrom = [{}, {}]\nto = [{}, {}]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LINK.format("link", 4, 1, 3, 2), "from label 1 of frame 4 to label 2 of frame 3 does not"),
        (LINK.format("link", 3, 1, 3, 2), "does not go forward in time; exchange its ends"),
        ("[[divide]]\nmother = [1, 1]\ndaughters = [[2, 1], [2, 2], [2, 3]]", "has 3 daughter"),
        ("[[divide]]\nmother = [1, 1]\ndaughters = [[2, 1], [2, 1]]", "has 1 daughter"),
        ("[[divide]]\nmother = [1, 1]\ndaughters = [[2, 1], [1, 2]]", "is not in a later frame"),
        (
            "".join(LINK.format("link", 1, 1, 2, n) for n in (1, 2, 3)),
            "label 1 of frame 1 has 3 daughters",
        ),
        (
            LINK.format("link", 1, 1, 2, 1) + LINK.format("link", 0, 5, 2, 1),
            "label 1 of frame 2 is said to come from two objects",
        ),
        (LINK.format("link", 1, 1, 2, 1) * 2, "is there twice; once is enough"),
        (
            LINK.format("link", 1, 1, 2, 1) + LINK.format("unlink", 1, 1, 2, 1),
            "are linked and unlinked; choose one",
        ),
        ("delete = [[2, 1]]\n" + LINK.format("link", 1, 1, 2, 1), "is deleted, but linked as well"),
        ("delete = [[2, 0]]", "greater than or equal to 1"),
        ("merge = [[2, 0]]", "'merge' is not a setting; the settings are link, unlink, divide"),
        ("delete = [[2, ", "is not TOML"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, text, message):
    url = put(tmp_path / "e.toml", text)
    with pytest.raises(SpecError, match=message) as error:
        read_edits(url)
    assert url in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(NotFound, match="--edits wants a TOML or JSON file"):
        read_edits(str(tmp_path / "e.toml"))


def test_a_list_is_no_file_of_corrections(tmp_path):
    with pytest.raises(SpecError, match="holds a list, not named lists"):
        read_edits(put(tmp_path / "e.json", "[1]"))
