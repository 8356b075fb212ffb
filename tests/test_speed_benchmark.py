"""benchmarks/speed.py at its smallest sizes: both sides, the limits, the tables, and the exponents of growth."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SMALLEST = (
    *("--responses", "4", "--group-size", "2", "--updates", "2", "--response-tokens", "3"),
    *("--pairs", "1", "--steps", "1", "--threads", "1"),
)


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The modules of the benchmark; what they need lies beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
        import marked_page
        import speed
        import speed_case
        import speed_growth
        import speed_page

        yield SimpleNamespace(main=speed, case=speed_case, growth=speed_growth, page=speed_page, marks=marked_page)


def step(*, seconds: float, phases: dict[str, float], tokens: int) -> dict[str, Any]:
    """As a process writes it."""
    return {
        "seconds": seconds,
        "cpu_seconds": 2 * seconds,
        "phases": phases,
        "response_tokens": [tokens, tokens],
        "prompts": "a",
    }


def report(bench: SimpleNamespace, *, ours: tuple[float, ...], theirs: tuple[float, ...]) -> dict[str, Any]:
    """A report with one step in each process, of so many seconds."""
    mine = {"I": 0.1, "II": 0.6, "III": 0.1, "IV": 1.0}
    trl = {"generate": 1.0, "score": 1.0, "learn": 1.0}
    pairs = [
        {
            "ours": {"steps": [step(seconds=a, phases=mine, tokens=10)], "memory": 2**20},
            "theirs": {"steps": [step(seconds=b, phases=trl, tokens=11)], "memory": 4 * 2**20},
        }
        for a, b in zip(ours, theirs, strict=True)
    ]
    floor = {"update_seconds": 0.8, "decode_seconds": 0.5, "update_flop": 3e9, "decode_flop": 1e9, "flop_per_second": 1e11}
    return {
        "case": vars(bench.case.SpeedCase()),
        "rival": "TRL",
        "is_ours_too": False,
        "trl_micro_batches": {"16": 5.0},
        "pairs": pairs,
        "floor": floor,
        "machine": {"cores": 2, "versions": {"torch": "2", "transformers": "5", "peft": "0"}},
        "date": "2026-01-01",
    }


@pytest.mark.slow
def test_both_sides_read_the_same_prompts_and_write_as_many_tokens(bench: SimpleNamespace, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{bench.main.BEGIN}\n{bench.main.END}\nafter\n")
    bench.main.main([*SMALLEST, "--out", str(tmp_path / "out"), "--docs", str(page)])
    told = json.loads((tmp_path / "out" / "tiny-2x2-u2-r3.json").read_text())
    (pair,) = told["pairs"]
    for ours, theirs in ((pair[side]["warm_up"] for side in pair), (pair[side]["steps"][0] for side in pair)):
        assert ours["prompts"] == theirs["prompts"]
        assert ours["rows"] == theirs["rows"]
        assert ours["prompt_tokens"] == theirs["prompt_tokens"]
        assert ours["response_tokens"] == theirs["response_tokens"] == [3, 3, 3, 3]
        assert 0 < sum(ours["phases"].values()) <= ours["seconds"]
    assert told["trl_micro_batches"] == {"2": 0.0}  # rows of an update: nothing to try
    assert min(told["floor"][key] for key in ("update_seconds", "decode_seconds", "update_flop", "decode_flop")) > 0
    assert (
        page.read_text()
        == f"before\n{bench.main.BEGIN}\n{(tmp_path / 'out' / 'speed.md').read_text()}{bench.main.END}\nafter\n"
    )
    assert "| tiny: 2 x 2, 3 tokens each, 2 updates |" in page.read_text()


def test_a_pair_that_read_other_prompts_is_an_error(bench: SimpleNamespace) -> None:
    pair = report(bench, ours=(1.0,), theirs=(2.0,))["pairs"][0]
    bench.main.check_prompts(pair, bench.case.SpeedCase())
    pair["theirs"]["steps"][0]["prompts"] = "b"
    with pytest.raises(ValueError, match="other ids of the prompts"):
        bench.main.check_prompts(pair, bench.case.SpeedCase())


def test_the_ratio_is_the_median_of_the_ratios_of_the_pairs(bench: SimpleNamespace) -> None:
    """1 / 2, 2 / 8 and 3 / 4: the medians of the seconds alone, 2 and 4, would say the same only by chance."""
    cells = bench.page.rows_of(report(bench, ours=(1.0, 2.0, 3.0), theirs=(2.0, 8.0, 4.0)))
    assert cells["**ratio, median of the pairs**"] == "**0.50**"
    assert cells["ratio, pair by pair"] == "0.50, 0.25, 0.75"
    assert cells["seconds of a step, ours"] == "2.00"
    assert cells["peak MiB beyond the loaded model, ours"] == "1"
    assert cells["ratio of these"] == "0.25"
    assert cells["sampled tokens of a step, and a second of it, TRL"] == "22, 6"
    assert cells["**update / bare model**"] == "**1.25**"  # 1.0 over 0.8
    assert cells["**decode / bare model**"] == "**1.20**"  # 0.6 over 0.5
    assert cells["arithmetic of the update: GFLOP, seconds"] == "3.0, 0.030"


def test_the_table_has_a_column_for_each_case(bench: SimpleNamespace) -> None:
    one = report(bench, ours=(1.0,), theirs=(2.0,))
    many = one | {"case": vars(bench.case.SpeedCase(updates=32, image_tokens=1000, response_tokens=64)), "rival": "other"}
    lines = bench.page.table([one, many]).splitlines()
    assert lines[0] == ("| | tiny: 16 x 8, own ends, 1 update | tiny: 16 x 8, 1,000 image tokens, 64 tokens each, 32 updates |")
    assert "| seconds of a step, TRL | 2.00 | - |" in lines
    assert {line.count("|") for line in lines} == {4}


def test_the_exponent_is_the_slope_of_the_logarithms(bench: SimpleNamespace) -> None:
    sizes = [64, 128, 256, 512]
    growth = bench.growth.fitted(sizes, [0.5 * n**1.5 for n in sizes])
    assert growth.exponent == pytest.approx(1.5)
    assert growth.factor == pytest.approx(0.5)
    assert growth.at(100) == pytest.approx(500.0)


def test_growth_changes_one_size_and_has_a_row_for_each_part(bench: SimpleNamespace) -> None:
    asked: list[Any] = []

    def measure(case: Any) -> dict[str, Any]:
        """One second for each 64 responses; sampling takes the square of that."""
        asked.append(case)
        n = case.num_responses / 64
        return {"steps": [step(seconds=n, phases={"I": 0.1, "II": n**2, "III": 0.0, "IV": 1.0}, tokens=1)]}

    found = bench.growth.grown(measure, around=bench.case.SpeedCase(), axes={"responses": (64, 128, 256), "group size": (1, 4)})
    assert [(case.num_prompts, case.group_size, case.response_tokens) for case in asked] == [
        *((8, 8, 64), (16, 8, 64), (32, 8, 64)),
        *((128, 1, 64), (32, 4, 64)),
    ]
    lines = bench.growth.table(found).splitlines()
    assert "| responses | 64, 256 | whole step | 1.00, 4.00 | 1.00 | 1.00 |" in lines
    assert "| responses | 64, 256 | II | 1.00, 16.00 | 2.00 | 2.00 |" in lines
    assert not any("| III |" in line for line in lines)  # a part that took no time has no exponent


def test_pictures_become_about_as_many_tokens_as_were_asked_for(bench: SimpleNamespace) -> None:
    for wanted in (50, 200, 1000):
        width, height = replace(bench.case.SpeedCase(), image_tokens=wanted).picture
        assert width * height / 28**2 == pytest.approx(wanted, rel=0.1)


def test_a_micro_batch_of_trl_divides_an_update(bench: SimpleNamespace) -> None:
    assert bench.main.micro_batches(bench.case.SpeedCase(), [16, 48, 128]) == [16, 128]
    assert bench.main.micro_batches(bench.case.SpeedCase(updates=32), [16, 48, 128]) == [4]


def test_a_page_without_the_marks_is_named(bench: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("no marks")
    with pytest.raises(ValueError, match=r"page\.md has no place for the table"):
        bench.marks.write_between(tmp_path / "page.md", "table", begin="<!-- a -->", end="<!-- b -->")
