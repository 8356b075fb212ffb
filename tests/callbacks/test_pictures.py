"""The figures of a study lie beside its runs once, small, under the names that the records give them."""

from pathlib import Path

from PIL import Image
from tiny_runs import Sheet

from vlm_rl.callbacks.completion_tables import keep_picture


def test_a_large_figure_is_kept_small_and_in_shape(tmp_path: Path) -> None:
    path = keep_picture(Sheet(1, width=800, height=400), folder=tmp_path, max_side=384)
    assert path == tmp_path / "sheet-1-800-400.png"
    assert Image.open(path).size == (384, 192)


def test_a_small_figure_is_kept_as_it_is(tmp_path: Path) -> None:
    sheet = Sheet(1)
    kept = Image.open(keep_picture(sheet, folder=tmp_path, max_side=384)).convert("RGB")
    assert kept.tobytes() == sheet.load().tobytes()


def test_a_figure_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    path = keep_picture(Sheet(1), folder=tmp_path, max_side=384)
    path.write_bytes(b"of another run")
    assert keep_picture(Sheet(1), folder=tmp_path, max_side=384).read_bytes() == b"of another run"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
