"""Each distinct picture is found at once, as thoroughly as asked, and again only when its file has changed."""

import errno
import os
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pytest
from PIL import Image

from vlm_rl.datasets import picture_check as pictures
from vlm_rl.datasets.picture import FileBytes, Picture, picture_file
from vlm_rl.datasets.picture_check import Cache, Pictures, check_pictures, drawn, named

Loads = list[str]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """Names of the files that are decoded, as it happens."""
    seen: Loads = []
    load = Picture.load

    def counted(self: Picture) -> Image.Image:
        seen.append(Path(self.where).name)
        return load(self)

    monkeypatch.setattr(Picture, "load", counted)
    return seen


def write(folder: Path, *names: str, size: tuple[int, int] = (8, 6)) -> None:
    """Noisy JPEGs."""
    for name in names:
        Image.effect_noise(size, 60).save(folder / name)


def look(folder: Path, *names: str, decode: str = "auto", cache: Cache | None = None) -> Pictures:
    """As a new process would: sources made anew."""
    sources = [picture_file(folder / name) for name in names]
    return check_pictures(named(sources), decode=decode, cache=cache or Cache(folder=None), dataset="d")


class Nameless:
    """A source whose content cannot even be read for its name."""

    size = (1, 1)

    @property
    def key(self) -> str:
        raise OSError("stale handle")

    def load(self) -> Image.Image:
        raise OSError("stale handle")


class Odd(Nameless):
    """A source of somebody else, whose decoder raises what it likes."""

    key = "odd"

    def load(self) -> Image.Image:
        raise ZeroDivisionError("no tiles")


def test_pictures_that_many_rows_share_are_read_once_and_then_known_from_the_cache(tmp_path: Path, loads: Loads) -> None:
    write(tmp_path, "a.jpg", "b.jpg")
    cache, source = Cache(folder=str(tmp_path / "cache")), picture_file(tmp_path / "a.jpg")
    first = look(tmp_path, *["a.jpg", "b.jpg"] * 50, cache=cache)
    assert (sorted(loads), first.num_known) == (["a.jpg", "b.jpg"], 0)
    second = look(tmp_path, "a.jpg", "b.jpg", cache=cache)
    assert (len(loads), second.num_known) == (2, 2)
    for found in (first, second):
        seen = found.at(source)
        assert (seen.size, seen.key, seen.problem, seen.decoded) == ((8, 6), source.key, "", True)
        assert found.at(picture_file(tmp_path / "b.jpg")).key == picture_file(tmp_path / "b.jpg").key


def test_no_pixels_are_kept() -> None:
    """Each picture that was decoded is gone when the check is over."""
    decoded: list[weakref.ref[Image.Image]] = []

    class Drawn(Nameless):
        key = "drawn"

        def load(self) -> Image.Image:
            image = Image.new("RGB", (1, 1))
            decoded.append(weakref.ref(image))
            return image

    found = check_pictures(named([Drawn()]), decode="all", cache=Cache(folder=None), dataset="d")
    assert found.at(Drawn()).decoded and [image() for image in decoded] == [None]


@pytest.mark.parametrize("change", ["size", "time", "neither"])
def test_a_file_that_was_overwritten_is_read_again(tmp_path: Path, change: str) -> None:
    """`touch -r` hides a change of the content; the time of the file's entry tells of it."""
    write(tmp_path, "a.jpg")
    cache, path = Cache(folder=str(tmp_path / "cache")), tmp_path / "a.jpg"
    look(tmp_path, "a.jpg", cache=cache)
    before = path.stat()
    path.write_bytes(bytes(before.st_size + (change == "size")))
    if change != "time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = look(tmp_path, "a.jpg", cache=cache)
    assert found.num_known == 0
    assert "a.jpg cannot be read" in found.at(picture_file(path)).problem


def test_a_bad_picture_is_remembered_until_it_is_mended(tmp_path: Path, loads: Loads) -> None:
    write(tmp_path, "a.jpg")
    cache, path = Cache(folder=str(tmp_path / "cache")), tmp_path / "a.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    told = look(tmp_path, "a.jpg", cache=cache).at(picture_file(path)).problem
    assert told.startswith(f"its image {path} cannot be read: ") and told.endswith("Save it again or drop the row.")
    loads.clear()
    assert look(tmp_path, "a.jpg", cache=cache).at(picture_file(path)).problem == told
    assert loads == []
    path.write_bytes(whole)
    assert look(tmp_path, "a.jpg", cache=cache).at(picture_file(path)).problem == ""


def test_a_missing_picture_is_looked_for_again_each_time(tmp_path: Path) -> None:
    cache = Cache(folder=str(tmp_path / "cache"))
    gone = look(tmp_path, "a.jpg", cache=cache).at(picture_file(tmp_path / "a.jpg"))
    assert gone.problem == f"its image {tmp_path / 'a.jpg'} is not there. Restore the file or drop the row."
    assert gone.reason == "image not there"
    write(tmp_path, "a.jpg")
    assert look(tmp_path, "a.jpg", cache=cache).at(picture_file(tmp_path / "a.jpg")).problem == ""


def test_a_raised_limit_lets_a_large_picture_in(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", size=(40, 30))
    cache = Cache(folder=str(tmp_path / "cache"))
    small, large = (picture_file(tmp_path / "a.jpg", largest=limit) for limit in (1_199, 1_200))
    refused = check_pictures(named([small]), decode="all", cache=cache, dataset="d").at(small)
    assert "40 x 30 pixels are more than dataset.source.largest_image=1199" in refused.problem
    assert check_pictures(named([large]), decode="all", cache=cache, dataset="d").at(large).problem == ""


@pytest.fixture
def half(tmp_path: Path) -> Sequence[str]:
    """Ten good pictures and one whose header is whole and whose pixels are cut off."""
    names = [f"{i}.jpg" for i in range(11)]
    write(tmp_path, *names, size=(64, 64))
    data = (tmp_path / "7.jpg").read_bytes()
    (tmp_path / "7.jpg").write_bytes(data[: 3 * len(data) // 4])
    return names


def problems(found: Pictures) -> list[str]:
    return sorted(Path(name).name for name, seen in found.by_name.items() if seen.problem)


@pytest.mark.parametrize(
    ("decode", "all_up_to", "num_loaded"), [("headers", 20, 0), ("all", 10, 11), ("auto", 11, 11), ("auto", 10, 4)]
)
def test_headers_are_read_of_all_and_decoded_are_as_many_as_asked(
    tmp_path: Path,
    half: Sequence[str],
    loads: Loads,
    monkeypatch: pytest.MonkeyPatch,
    decode: str,
    all_up_to: int,
    num_loaded: int,
) -> None:
    """Of eleven pictures one is cut off; only decoding finds it."""
    monkeypatch.setattr(pictures, "ALL_UP_TO", all_up_to)
    monkeypatch.setattr(pictures, "SAMPLE", 4)
    found = look(tmp_path, *half, decode=decode)
    assert (len(found.by_name), len(loads)) == (11, num_loaded)
    assert {seen.size for seen in found.by_name.values() if not seen.problem} == {(64, 64)}
    assert problems(found) == (["7.jpg"] if "7.jpg" in loads else [])


def test_what_was_only_measured_is_decoded_when_somebody_asks(tmp_path: Path, half: Sequence[str], loads: Loads) -> None:
    cache = Cache(folder=str(tmp_path / "cache"))
    look(tmp_path, *half, decode="headers", cache=cache)
    assert problems(look(tmp_path, *half, decode="all", cache=cache)) == ["7.jpg"]
    loads.clear()
    found = look(tmp_path, *half, decode="headers", cache=cache)
    assert (problems(found), loads, found.num_known) == (["7.jpg"], [], 11)  # and what is known stays known


def test_the_sample_depends_on_the_names_alone() -> None:
    names = [f"{i:05}" for i in range(25_000)]
    sample = drawn(names, decode="auto")
    assert len(sample) == 2_000 and sample == drawn(reversed(names), decode="auto")
    assert len(drawn(names[:20_000], decode="auto")) == 20_000
    assert drawn(names, decode="headers") == set()
    assert len(drawn(names, decode="all")) == 25_000


def test_what_anybody_s_source_raises_is_a_problem_of_its_row() -> None:
    nameless, odd = Nameless(), Odd()
    found = check_pictures(named([odd, nameless]), decode="all", cache=Cache(folder=None), dataset="d")
    assert found.at(nameless).problem == "its image  cannot be read (stale handle). Save it again or drop the row."
    assert "cannot be read (no tiles)" in found.at(odd).problem


class Counted:
    """A picture that is a while in decoding, and remembers how many were at once."""

    lock = threading.Lock()
    now = most = 0

    def __init__(self, key: str, size: tuple[int, int]) -> None:
        self.key, self.size = key, size

    def load(self) -> Image.Image:
        with Counted.lock:
            Counted.now += 1
            Counted.most = max(Counted.most, Counted.now)
        time.sleep(0.05)
        with Counted.lock:
            Counted.now -= 1
        return Image.new("RGB", (1, 1))


@pytest.mark.parametrize(("size", "most"), [((4_000, 4_001), 1), ((4_000, 4_000), 4)])
def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], most: int) -> None:
    monkeypatch.setattr(pictures, "THREADS", 4)
    monkeypatch.setattr(Counted, "most", 0)
    check_pictures(named([Counted(str(i), size) for i in range(4)]), decode="all", cache=Cache(folder=None), dataset="d")
    assert Counted.most == most


def test_what_a_header_refuses_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("it was hashed"))
    assert "cannot be read: it is no picture" in look(tmp_path, "a.png").at(picture_file(tmp_path / "a.png")).problem


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), OSError(errno.EMFILE, "Too many open files"), MemoryError()]
)
def test_a_fault_of_the_machine_is_not_remembered_as_one_of_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    write(tmp_path, "a.jpg")
    cache = Cache(folder=str(tmp_path / "cache"))

    def failing(self: FileBytes) -> BinaryIO:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(FileBytes, "open", failing)
        assert look(tmp_path, "a.jpg", cache=cache).at(picture_file(tmp_path / "a.jpg")).problem
    assert look(tmp_path, "a.jpg", cache=cache).at(picture_file(tmp_path / "a.jpg")).problem == ""
