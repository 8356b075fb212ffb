"""The figures of a study lie beside its runs once, small, under the names that the records give them."""

from pathlib import Path

from PIL import Image
from tiny_runs import Sheet

from vlm_rl.callbacks.completion_tables import keep_picture


def test_a_large_figure_is_kept_small_and_in_shape_a_small_one_as_it_is_and_none_is_written_again(tmp_path: Path) -> None:
    large = keep_picture(Sheet(1, width=800, height=400), folder=tmp_path, max_side=384)
    assert large == tmp_path / "sheet-1-800-400.png"
    assert Image.open(large).size == (384, 192)
    small = keep_picture(Sheet(1), folder=tmp_path, max_side=384)
    assert Image.open(small).convert("RGB").tobytes() == Sheet(1).load().tobytes()
    before = small.read_bytes()
    others = keep_picture(Sheet(1), folder=tmp_path / "others", max_side=20).read_bytes()
    small.write_bytes(others)  # of a run with another max_side
    assert keep_picture(Sheet(1), folder=tmp_path, max_side=384).read_bytes() == others
    cut, empty, one_bit, zeros = before[: len(before) // 2], b"", before[:60] + b"\x00" + before[61:], bytes(len(before))
    for damaged in (cut, empty, one_bit, zeros, large.read_bytes()):
        small.write_bytes(damaged)
        assert keep_picture(Sheet(1), folder=tmp_path, max_side=384).read_bytes() == before
