"""What a picture may cost: no waiting for a pipe, no reading of huge files, memory in proportion to its pixels, and not for ever."""

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from own_files import png
from PIL import Image

from vlm_rl.datasets import arrow_table, picture
from vlm_rl.datasets.arrow_table import ImageColumn
from vlm_rl.datasets.picture import BadPicture, Picture, picture_file


def refused(source: Picture, told: str) -> None:
    """Whatever is asked of it."""
    for ask in (lambda: source.size, lambda: source.key, source.load):
        with pytest.raises(BadPicture, match=told):
            ask()


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # to open it would wait for a writer
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "pipe.png", tmp_path / "folder.png", Path("/dev/zero")):
        refused(picture_file(path), r"(pipe\.png|folder\.png|zero) cannot be read: (it is no regular|.*directory)")


def test_a_file_that_is_larger_than_any_picture_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    os.truncate(path, 2**30 + 1)  # a hole: takes no room
    refused(picture_file(path), r"its 1,073,741,825 bytes are more than a picture file may have \(1,073,741,824\)")


@pytest.mark.parametrize("strip", [1, 7, 40, 10_000])
def test_strips_make_the_same_picture_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strip: int) -> None:
    random = np.random.default_rng(0)
    grey = random.integers(0, 2**16, size=(12, 9)).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    clear = Image.fromarray(random.integers(0, 256, size=(12, 9, 4)).astype(np.uint8), "RGBA")
    clear.save(tmp_path / "clear.png")
    paper = Image.new("RGBA", clear.size, (255, 255, 255))
    paper.alpha_composite(clear)
    monkeypatch.setattr(picture, "STRIP", strip)
    shown = np.asarray(picture_file(tmp_path / "grey.png").load())
    np.testing.assert_array_equal(shown, np.repeat(np.round(grey / 257)[..., None], 3, axis=2))
    np.testing.assert_array_equal(np.asarray(picture_file(tmp_path / "clear.png").load()), np.asarray(paper.convert("RGB")))


MEASURE = """
import re, sys
from pathlib import Path
from vlm_rl.datasets.picture import picture_file
def peak():  # kB of this process; resource.getrusage would begin with those of its parent
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
source = picture_file(Path(sys.argv[1]))
width, height = source.size
before = peak()
source.load()
print((peak() - before) * 1024 / (width * height))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["palette", "grey"])
def test_decoding_takes_a_few_bytes_a_pixel(tmp_path: Path, kind: str) -> None:
    """The result has 4, the picture in the file 1 or 2; strips the rest."""
    if kind == "palette":
        Image.new("P", (4000, 4000), 1).save(tmp_path / "a.png", transparency=0)
    else:
        Image.fromarray(np.zeros((4000, 4000), dtype=np.uint16)).save(tmp_path / "a.png")
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path / "a.png")], capture_output=True, text=True, check=True)
    assert 4 < float(done.stdout) < 9  # whole, they took 13 and 18


@pytest.mark.slow
def test_of_many_pictures_in_a_table_only_the_last_ones_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_table, "REMEMBERED", 2)
    column = ImageColumn(pa.chunked_array([pa.array([png(i) for i in range(3)])]), table="t", name="image", largest=10_000)
    (first,) = column.cell(0)
    assert isinstance(first, Picture)
    assert column.cell(0) == [first]
    gone = weakref.ref(first)
    del first
    for row in (1, 2):
        column.cell(row)
    gc.collect()
    assert gone() is None
