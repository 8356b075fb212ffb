"""The embedded problems, solved again from what a reader sees: the question and the labels of the figure."""

import functools
import re
from collections import Counter

import pytest

from vlm_rl.datasets.micro_geometry.dataset import MicroGeometry, MicroGeometrySource
from vlm_rl.datasets.micro_geometry.figures import CELL, Figure
from vlm_rl.datasets.micro_geometry.problems import careless_result, needs_carry
from vlm_rl.datasets.micro_geometry.solutions import SolutionStyle
from vlm_rl.datasets.row import Row

CLEAN = SolutionStyle(corrected=0.0, uncorrected=0.0)
CORRECTED = SolutionStyle(corrected=1.0, uncorrected=0.0)
UNCORRECTED = SolutionStyle(corrected=0.0, uncorrected=1.0)
SOLVED = {
    "segment_sum": lambda a, b: a + b,
    "segment_difference": lambda a, b: a - b,
    "line_angles": lambda a, b: 180 - a - b,
    "triangle_angles": lambda a, b: 180 - a - b,
    "rectangle_perimeter": lambda a, b: 2 * (a + b),
}


@functools.cache
def split(name: str, *, num_rows: int = 200, style: SolutionStyle = CLEAN, data_seed: int = 0) -> list[Row]:
    return list(MicroGeometry(split=name, num_rows=num_rows, data_seed=data_seed, solutions=style, carry_share=0.4))


def figure(row: Row) -> Figure:
    image = row.images[0]
    assert isinstance(image, Figure)
    return image


def numbers(row: Row) -> tuple[int, int]:
    """The two given numbers, from the question or from the figure; of a difference the whole comes first."""
    in_question = [int(n) for n in re.findall(r"\d+", row.question)]
    in_figure = [int(n) for n in figure(row).labels if n]
    assert (len(in_question), len(in_figure)) == ((2, 0) if row.modality == "text" else (0, 2))
    first, second = in_question or in_figure
    return (max(first, second), min(first, second)) if row.kind == "segment_difference" else (first, second)


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_answers_are_right_by_what_the_reader_sees(name: str) -> None:
    for row in split(name):
        assert row.answer == str(SOLVED[row.kind](*numbers(row))), row
        assert int(row.answer) > 0


@pytest.mark.parametrize("style", [CLEAN, CORRECTED])
def test_worked_solutions_are_true_line_by_line_and_end_in_the_boxed_answer(style: SolutionStyle) -> None:
    for row in split("train", style=style):
        assert row.solution is not None
        assert row.solution.endswith(f" \\boxed{{{row.answer}}}")
        sums = re.findall(r"(\d+)([+-])(\d+)=(-?\d+)\.", row.solution)
        wrong = [line for line in sums if int(line[0]) + int(line[1] + line[2]) != int(line[3])]
        assert len(wrong) == (1 if style is CORRECTED else 0)
        assert ("Wait" in row.solution) == (style is CORRECTED)
        if style is CORRECTED:
            assert wrong == sums[:1]  # the slip comes first, and its repair right after it
            assert sums[1][:3] == sums[0][:3]


def test_an_uncorrected_slip_is_carried_into_the_boxed_answer() -> None:
    for row in split("train", style=UNCORRECTED):
        assert row.solution is not None
        boxed = re.search(r"\\boxed\{(-?\d+)\}$", row.solution)
        assert boxed and boxed[1] != row.answer
        assert "Wait" not in row.solution


def test_the_canonical_slip_forgets_a_carry_or_invents_one() -> None:
    assert careless_result(27, 35, subtracts=False) == 52  # 62, carry forgotten
    assert careless_result(21, 35, subtracts=False) == 66  # 56, carry invented
    assert careless_result(62, 35, subtracts=True) == 37  # 27, borrow forgotten
    assert careless_result(68, 35, subtracts=True) == 23  # 33, borrow invented


@pytest.mark.slow
def test_slips_have_the_shares_that_are_asked_for() -> None:
    style = SolutionStyle(corrected=0.2, uncorrected=0.3)
    rows = split("train", num_rows=2000, style=style)
    corrected = sum("Wait" in str(row.solution) for row in rows) / 2000
    right = sum(str(row.solution).endswith(f"{{{row.answer}}}") for row in rows) / 2000
    assert corrected == pytest.approx(0.2, abs=0.035)  # four standard errors
    assert 1 - right == pytest.approx(0.3, abs=0.041)


def test_the_style_of_solutions_changes_no_problem() -> None:
    clean, careless = split("train"), split("train", style=UNCORRECTED)
    assert [row.content_key for row in clean] == [row.content_key for row in careless]
    assert [row.solution for row in clean] != [row.solution for row in careless]


@pytest.mark.slow
def test_training_never_holds_a_problem_of_validation_or_test() -> None:
    source = MicroGeometrySource(train_rows=400, val_rows=100, test_rows=100, data_seed=0, solutions=CLEAN, carry_share=0.5)
    train, val, test = ({row.content_key for row in source.rows(name)} for name in ("train", "val", "test"))
    assert not train & val
    assert not train & test
    assert len(train) > 395  # hardly a problem comes twice


def test_a_reserved_problem_is_drawn_anew() -> None:
    plain = split("train", num_rows=10)
    reserved = frozenset({plain[3].content_key})
    drawn = list(MicroGeometry(split="train", num_rows=10, data_seed=0, solutions=CLEAN, carry_share=0.4, reserved=reserved))
    assert drawn[3].content_key not in reserved
    assert drawn[3].kind == plain[3].kind
    assert drawn[3].modality == plain[3].modality
    assert drawn[:3] + drawn[4:] == plain[:3] + plain[4:]


@pytest.mark.slow
def test_test_rows_always_need_a_carry_and_training_rows_in_two_of_five_cases() -> None:
    shares = {}
    for name in ("train", "val", "test"):
        rows = split(name, num_rows=600)
        carries = [needs_carry(*numbers(row), subtracts=row.kind == "segment_difference") for row in rows]
        assert [row.fields["carry"] == "yes" for row in rows] == carries
        shares[name] = sum(carries) / 600
    assert shares["test"] == 1
    assert shares["train"] == pytest.approx(0.4, abs=0.08)  # four standard errors
    assert shares["val"] == pytest.approx(0.4, abs=0.08)


def test_a_row_is_a_function_of_data_seed_split_and_index_alone() -> None:
    rows = MicroGeometry(split="train", num_rows=50, data_seed=3, solutions=CLEAN, carry_share=0.4)
    again = MicroGeometry(split="train", num_rows=5000, data_seed=3, solutions=CLEAN, carry_share=0.4)
    backwards = [rows[i] for i in reversed(range(50))][::-1]
    assert backwards == again[:50]
    assert [row.content_key for row in backwards] == [row.content_key for row in rows[:]]
    assert again[-1] == again[4999]
    keys = {
        (name, seed): split(name, num_rows=5, data_seed=seed)[0].content_key for name in ("train", "val") for seed in (3, 4)
    }
    assert len(set(keys.values())) == 4
    with pytest.raises(IndexError):
        rows[50]


def test_kinds_and_modalities_are_balanced_in_every_split() -> None:
    for name in ("train", "val", "test"):
        counts = Counter((row.kind, row.modality) for row in split(name))
        assert set(counts.values()) == {20}
        assert len(counts) == 10


def test_half_of_the_test_rows_are_worded_as_no_training_row_is_and_say_so() -> None:
    def shape(row: Row) -> str:
        return re.sub(r"\d+|(?<![A-Za-z])[A-Z]{1,2}(?![A-Za-z])", "_", row.question)

    train, test = split("train", num_rows=400), split("test", num_rows=400)
    known = set(map(shape, train))
    assert {row.fields["wording"] for row in train} == {"known"}
    assert all((shape(row) not in known) == (row.fields["wording"] == "new") for row in test)
    assert sum(row.fields["wording"] == "new" for row in test) / 400 == pytest.approx(0.5, abs=0.1)


def test_figures_are_whole_cells_and_drawn_alike_each_time() -> None:
    for row in split("train", num_rows=20):
        picture = figure(row).load()
        assert picture.mode == "RGB"
        assert picture.width % CELL == picture.height % CELL == 0
        assert picture.tobytes() == figure(row).load().tobytes()


def test_a_figure_shows_its_labels_and_its_key_tells_figures_apart() -> None:
    rows = [row for row in split("train") if row.modality == "vision"]
    row = rows[0]
    shown = figure(row)
    other = Figure(kind=shown.kind, points=shown.points, labels=("11", "12"), bend=shown.bend, hue=shown.hue)
    assert shown.load().tobytes() != other.load().tobytes()
    assert shown.key != other.key
    assert len({row.images[0].key for row in rows}) == len(rows)
