import math
from pathlib import Path

from vlm_rl.reports.reading.files import number, read_json_lines


def test_a_last_line_that_is_being_written_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "train", "a": 1}\n{"event": "tra')
    problems: list[str] = []
    records = read_json_lines(path, problems=problems)
    assert records == ({"event": "train", "a": 1},)
    assert problems == []


def test_a_broken_line_in_the_middle_is_named_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \xff\n[1]\n{"a": 2}\n')
    problems: list[str] = []
    records = read_json_lines(path, problems=problems)
    assert [record["a"] for record in records] == [1, 2]
    assert [problem.split(": ")[1] for problem in problems] == [
        "line 2 is not a JSON object and is left out.",
        "line 3 is not a JSON object and is left out.",
    ]


def test_a_missing_file_has_no_lines_and_a_missing_quantity_is_nan(tmp_path: Path) -> None:
    assert read_json_lines(tmp_path / "none", problems=[]) == ()
    assert math.isnan(number({"a": None}, key="a"))
    assert math.isnan(number({}, key="a"))
    assert number({"a": 2}, key="a") == 2.0
