"""What is opened is remembered for one purpose, and no longer."""

from collections.abc import Callable

import pytest

from bigseg.opened import forget, once, remembering


def counted() -> Callable[[], int]:
    calls = iter(range(10))
    return lambda: next(calls)


def test_without_a_purpose_a_task_opens_once_and_the_next_anew() -> None:
    make = counted()
    assert [once("a", ("r",), make) for _ in range(2)] == [0, 1]
    with remembering():
        assert [once("a", ("r",), make) for _ in range(3)] == [2, 2, 2]
        assert once("a", ("w",), make) == 3
        assert once("b", ("r",), make) == 4
    with remembering():
        assert once("a", ("r",), make) == 5


def test_tasks_of_one_purpose_share_and_others_do_not() -> None:
    make = counted()
    for purpose, expected in (("1", 0), ("1", 0), ("2", 1), ("1", 2)):
        with remembering(purpose):
            assert once("a", (), make) == expected
    assert once("a", (), make) == 3


def test_what_is_made_anew_is_opened_anew() -> None:
    make = counted()
    with remembering("x"):
        assert once("a", (), make) == 0
        forget("a")
        assert once("a", (), make) == 1


def test_errors_are_not_kept() -> None:
    with remembering():
        with pytest.raises(ZeroDivisionError):
            once("a", (), lambda: 1 // 0)
        assert once("a", (), lambda: 1) == 1
