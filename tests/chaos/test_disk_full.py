"""A disk that is full half-way costs a sentence, and the run goes on when there is room again."""

from __future__ import annotations

import errno
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bigseg import disk, files
from tests.chaos.world import Place, Reference, Tally, World, wait_until

ROOM = 8 << 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real disk of few bytes."""
    folder = tmp_path_factory.mktemp("small")
    command = ("mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder))
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs the program mount")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(("umount", str(folder)), check=True)


@pytest.fixture(scope="module")
def cramped(small: Path, world: World) -> World:
    return World.make(small, world.zygote)


def fill(folder: Path) -> Path:
    """Take all the room that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        for size in (1 << 16, 1 << 10, 1):
            with suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(size))
    return ballast


@pytest.mark.parametrize("share", [0.3, pytest.param(0.9, marks=pytest.mark.slow)])
def test_a_disk_that_gets_full_costs_a_sentence(
    cramped: World, reference: Reference, share: float, tmp_path: Path
) -> None:
    apart = cramped.folder / f"full-{share}"
    place = Place(tmp_path / "log", cramped.zygote, random.Random(0), Tally(), apart=apart)
    command = (*cramped.command("segment", place), "--cluster", "serial")
    place.hold(int(share * reference.moments))
    first = place.start(*command)
    wait_until(lambda: place.taken() or first.poll() is not None, "a moment half-way")
    ballast = fill(cramped.folder)
    place.go()
    code = first.wait()
    still = place.start(*command)
    again = still.wait()
    ballast.unlink()
    for ended, process in ((code, first), (again, still)):
        assert ended == 1, process.said()
        assert "is full. Make room, then give the same command again." in process.said()
        assert "Traceback" not in process.said()
        assert "unexpected" not in process.said()
    place.look(reference)
    last = place.start(*command)
    assert last.wait() == 0, last.said()
    place.end(reference)
    files.remove(str(apart))


def test_what_could_not_be_written_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a" / "b.json"
    disk.put(file, b"old")
    for number, words in ((errno.ENOSPC, "The disk of"), (errno.EDQUOT, "Your quota on the disk")):

        def full(_: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(disk.DiskFull, match=words):
            disk.put(file, b"new")
        with pytest.raises(files.Unreachable, match=r"cannot be written: .*Make room"):
            files.check_writable(str(tmp_path))
    assert file.read_bytes() == b"old"
    assert os.listdir(file.parent) == ["b.json"]
