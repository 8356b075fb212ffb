"""Options in columns of their own are asked with the question, and the answer column names one of them."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_files import embedded, png, write_pictures
from row_files import KINDS, TYPED, shades, source_of

from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.hub import TableSource
from vlm_rl.datasets.options import ANSWER_IS, options_of
from vlm_rl.datasets.row import LazyRows

SIDES = ["5", "35", "7"]
ASKED = "Q?\nA. 5\nB. 35\nC. 7"


def columns(answer_is: Any = None, *, options: Any = "choices", images: Any = None, **more: Any) -> Columns:
    return Columns(question="question", answer="answer", images=images, options=options, answer_is=answer_is, **more)


def rows(folder: Path, kind: str, *items: dict[str, Any], answer_is: Any = None, **more: Any) -> LazyRows:
    """Rows with a question, if they bring none."""
    asked = [{"question": "Q?", **item} for item in items]
    return source_of(folder, kind, asked, columns=columns(answer_is, **more)).rows("train")


def answered(*answers: Any, choices: Any = SIDES) -> list[dict[str, Any]]:
    """A row for each answer."""
    return [{"choices": choices, "answer": answer} for answer in answers]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_a_letter_or_the_text_of_an_option(tmp_path: Path, kind: str) -> None:
    answers = ["B", "(B)", "b", "B.", "[B]", "B)", " B ", "35", "B. 35", "(B) 35", "B) 35", "B: 35"]
    made = rows(tmp_path, kind, *answered(*answers))
    assert [(row.question, row.answer, row.fields) for row in made] == [(ASKED, "B. 35", {})] * len(answers)


def test_an_answer_may_count_the_options(tmp_path: Path) -> None:
    for answer_is, answers in {"index_0": [1, "1"], "index_1": [2, 2.0], "letter": ["B"], "text": ["35"], None: [35]}.items():
        made = rows(tmp_path, "jsonl", *answered(*answers), answer_is=answer_is)
        assert [row.answer for row in made] == ["B. 35"] * len(answers)


def test_an_answer_that_names_no_option_is_a_bad_row_with_the_fix(tmp_path: Path) -> None:
    answers = ["D", "6", "AB", "B. 7", "none"]
    items = [{"id": f"r{i}", **item} for i, item in enumerate(answered(*answers))]
    problems = rows(tmp_path, "jsonl", *items, id="id").survey().problems
    for i, (problem, answer) in enumerate(zip(problems, answers, strict=True)):
        assert f"(id 'r{i}'): 'answer' is {answer!r}, which names none of its options A to C. " in problem
    assert "If it counts them, set dataset.source.columns.answer_is=index_0 where the first is 0" in problems[1]
    assert "Give the letter or the text of one of them, or drop the row." in problems[0]


def test_an_answer_of_another_kind_than_the_setting_says_is_a_bad_row(tmp_path: Path) -> None:
    wrong = {"index_0": [3, -1, "B", 1.5], "index_1": [0, 4], "letter": [1, "35"], "text": ["B"]}
    for answer_is, answers in wrong.items():
        problems = rows(tmp_path, "jsonl", *answered(*answers), answer_is=answer_is).survey().problems
        assert len(problems) == len(answers)
        assert all(f"dataset.source.columns.answer_is={answer_is} says what it must be" in problem for problem in problems)


def test_an_answer_that_names_two_options_is_a_bad_row_until_the_setting_says_which(tmp_path: Path) -> None:
    item = {"choices": ["D", "A", "C", "B"], "answer": "A"}
    both, twice = rows(tmp_path, "jsonl", item, {"choices": ["5", "5", "7"], "answer": "5"}).survey().problems
    assert "which names the options A and B. Set dataset.source.columns.answer_is to letter or to text" in both
    assert "names the options A and B" in twice
    by_setting = [rows(tmp_path, "jsonl", item, answer_is=answer_is)[0].answer for answer_is in ("letter", "text")]
    assert by_setting == ["A. D", "B. A"]


TEXTS = {
    "['a', 'b']": "A. a\nB. b",
    '["it\'s", "b"]': "A. it's\nB. b",
    "[\"it's\", 'b']": "A. it's\nB. b",
    r"['\\frac{1}{2}', '\\sqrt{3}']": "A. \\frac{1}{2}\nB. \\sqrt{3}",
    r'["\\frac{1}{2}", "\\times"]': "A. \\frac{1}{2}\nB. \\times",
    "['a', 'b', '', None]": "A. a\nB. b",
    "['(A) a', '(B) b']": "A. a\nB. b",
    "['A. a', 'B. b']": "A. a\nB. b",
    "['A', 'B']": "A. A\nB. B",
    "['A. a', 'b']": "A. A. a\nB. b",
    "[0.1, 2]": "A. 0.1\nB. 2",
    "['a\\n  b', ' c ']": "A. a b\nB. c",
    "[True, False]": "A. True\nB. False",
}
NO_OPTIONS = [
    "a, b", "['a' 'b']", "['a'", "{'A': 'a'}", "['a']", "[['a'], ['b']]", "__import__('os')", "[" * 300, "['a', '', 'b']", "(1, 2)",
    r"['\times 2', 'b']", r"['\frac12', 'b']", str([str(i) for i in range(27)]), "[" + "'a'," * 9_000 + "]", "['a\\x00', 'b']",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_list_may_be_written_as_a_text(tmp_path: Path, kind: str) -> None:
    made = rows(tmp_path, kind, *({"choices": text, "answer": "B"} for text in TEXTS))
    assert [row.question for row in made] == [f"Q?\n{options}" for options in TEXTS.values()]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_what_is_no_list_of_options_is_a_bad_row(tmp_path: Path, kind: str) -> None:
    survey = rows(tmp_path, kind, *({"choices": text, "answer": "B"} for text in [*NO_OPTIONS, "['a', 'b']"])).survey()
    assert [row.answer for row in survey.rows] == ["B. b"]
    places = [f"(id 'train-{i}'): 'choices'" for i in range(len(NO_OPTIONS))]
    assert [place in problem for place, problem in zip(places, survey.problems, strict=True)] == [True] * len(places)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_options_in_a_column_each_may_be_fewer(tmp_path: Path, kind: str) -> None:
    """As in the TSV files of VLMEvalKit."""
    items = [
        {"A": "5", "B": "35", "C": "7", "D": "9", "answer": "D"},
        {"A": "yes", "B": "no", "C": "", "D": "nan", "answer": "no"},
        {"A": "", "B": "", "C": "", "D": "", "answer": "12"},
        {"A": "5", "B": "", "C": "7", "D": "", "answer": "A"},
    ]
    survey = rows(tmp_path, kind, *items, options=["A", "B", "C", "D"]).survey()
    assert [row.answer for row in survey.rows] == ["D. 9", "B. no", "12"]
    assert [row.question for row in survey.rows] == ["Q?\nA. 5\nB. 35\nC. 7\nD. 9", "Q?\nA. yes\nB. no", "Q?"]
    assert all(row.fields == {} for row in survey.rows)
    (problem,) = survey.problems
    assert "(id 'train-3'): 'A', 'B', 'C', 'D': option 2 is blank, and a later one is not" in problem


@pytest.mark.parametrize("kind", TYPED)
def test_a_row_without_options_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    """The free-form questions of MATH-V have an empty list; in MMMU it is the text of one."""
    for answer_is in (None, *ANSWER_IS):
        for choices in ([[], None], ["[]", "", "nan"]):
            items = [{"choices": choice, "answer": "1, 2"} for choice in choices]
            found = [(row.question, row.answer) for row in rows(tmp_path, kind, *items, answer_is=answer_is)]
            assert found == [("Q?", "1, 2")] * len(items)


def test_only_lists_without_options_are_ordered(tmp_path: Path) -> None:
    items = [
        {"question": "Q?", "choices": ["1, 2", "2, 1"], "answer": "A"},
        {"question": "Q?", "choices": [], "answer": "2, 1"},
    ]
    made = source_of(tmp_path, "jsonl", items, columns=columns(), ordered_lists=True, answer_pattern=".+").rows("train")
    assert [row.answer for row in made] == ["A. 1, 2", r"\ordered{2, 1}"]


def test_a_misspelt_column_of_options_is_told_in_each_kind_of_file(tmp_path: Path) -> None:
    item = {"choices": SIDES, "answer": "B"}
    (problem,) = rows(tmp_path, "jsonl", item, options="choises").survey().problems
    assert (
        "has no 'choises'. Give a question without options an empty list, or correct dataset.source.columns.options." in problem
    )
    told = r"has no column 'choises'; it has .*choices.*\. Set dataset\.source\.columns\.options\."
    with pytest.raises(ValueError, match=told):
        rows(tmp_path, "parquet", item, options="choises")


@pytest.mark.parametrize(("answer_is", "options"), [("number", "choices"), ("letter", None), ("index_0", [])])
def test_a_setting_that_means_nothing_is_refused(answer_is: str, options: object) -> None:
    made = columns(options="choices")
    made.__dict__.update(answer_is=answer_is, options=options)
    made.__dict__.pop("option_columns", None)
    told = r"dataset\.source\.columns\.answer_is=.*one of letter, text, index_0, index_1, or null"
    with pytest.raises(ValueError, match=told):
        made.__post_init__()


def test_rows_like_those_of_scienceqa(tmp_path: Path) -> None:
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "question": datasets.Value("string"), "choices": datasets.List(datasets.Value("string")),
         "answer": datasets.Value("int8"), "task": datasets.Value("string")}
    )  # fmt: skip
    made = [{"image": embedded(png(1))[0], "question": "Which?", "choices": ["Ohio", "Iowa"], "answer": 0, "task": "closed"}]
    datasets.Dataset.from_list(made, features=features).to_parquet(tmp_path / "train.parquet")
    source = TableSource(folder=str(tmp_path), files={"train": "train.parquet"}, columns=columns("index_0", images="image"))
    (row,) = source.rows("train")
    assert (row.question, row.answer, row.fields) == ("<image>Which?\nA. Ohio\nB. Iowa", "A. Ohio", {"task": "closed"})


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        (pa.array([[0.1, 3.3]], pa.list_(pa.float32())), ""),
        (pa.array([embedded(png(1), png(2))]), "'choices', option 1 is a dict, neither text nor a number"),
    ],
    ids=["numbers", "pictures"],
)
def test_options_of_numbers_are_as_they_are_written_and_pictures_are_told(tmp_path: Path, choices: pa.Array, told: str) -> None:
    pq.write_table(pa.table({"question": ["Q?"], "answer": ["0.1"], "choices": choices}), tmp_path / "train.parquet")
    source = TableSource(folder=str(tmp_path), files={"train": "train.parquet"}, columns=columns())
    survey = source.rows("train").survey()
    assert [(row.question, row.answer) for row in survey.rows] == [("Q?\nA. 0.1\nB. 3.3", "A. 0.1")] * (not told)
    assert [told in problem for problem in survey.problems] == [True] * bool(told)


def test_an_option_that_is_an_image_is_marked_and_its_gold_is_the_letter(tmp_path: Path) -> None:
    item = {"choices": ["<image>", "<image>"], "answer": "B", "image": ["a.png", "b.png"]}
    survey = rows(tmp_path, "jsonl", item, {**item, "choices": ["<image 1>", "<image 2>"]}, images="image").survey()
    (row,), (problem,) = survey.rows, survey.problems
    assert (row.question, row.answer, len(row.images)) == ("Q?\nA. <image>\nB. <image>", "B", 2)
    assert (
        "an option shows the image '<image 1>', and an image is marked by '<image>' (dataset.source.columns.marker; '<image "
        in problem
    )


NUMBERED = [  # question, choices, answer; what is asked, the gold, and the images
    ("See <image 1>?", "['<image 2>', '<image 3>']", "B", "See <image>?\nA. <image>\nB. <image>", "B", [1, 2, 3]),
    ("<image 3> or <image 1>?", "['<image 2>', 'no']", "B", "<image> or <image>?\nA. <image>\nB. no", "B. no", [3, 1, 2]),
    ("<image 2>, <image 1>, <image 2>, <image 3>?", "[]", "5", "<image>, <image>, <image>, <image>?", "5", [2, 1, 2, 3]),
    ("Which?", "['3', '5']", "A", "<image><image><image>Which?\nA. 3\nB. 5", "A. 3", [1, 2, 3]),
    ("See <image 1>.", "[]", "5", "See <image>.", "5", [1, 2, 3]),  # too few and too many: for the check of the rows to say
    ("<image 1><image 4><image 0>", "[]", "5", "<image><image><image>", "5", [1, 2, 3]),
]


@pytest.mark.parametrize("kind", TYPED)
def test_rows_like_those_of_mmmu_number_their_images(tmp_path: Path, kind: str) -> None:
    write_pictures(tmp_path, {f"{shade}.png": png(shade) for shade in (1, 2, 3)})
    pictures = {f"image_{i}": f"{i}.png" for i in (1, 2, 3)}
    items = [
        {"question": question, "choices": choices, "answer": answer, **pictures} for question, choices, answer, *_ in NUMBERED
    ]
    made = rows(tmp_path, kind, *items, images=[*pictures], marker="<image {n}>")
    for row, (*_, asked, gold, images) in zip(made, NUMBERED, strict=True):
        assert (row.question, row.answer, shades(row)) == (asked, gold, images)


def test_the_same_question_with_other_options_is_another_problem(tmp_path: Path) -> None:
    one, two = rows(tmp_path, "jsonl", {"choices": ["1", "2"], "answer": "A"}, {"choices": ["1", "3"], "answer": "A"})
    assert one.content_key != two.content_key


def test_twenty_six_options_have_letters() -> None:
    options = options_of([[str(i) for i in range(26)]], place="here")
    assert options.gold("Z", answer_is=None, place="here") == "Z. 25"
