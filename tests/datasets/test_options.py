"""Options in columns of their own are asked with the question, and the answer column names one of them."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_files import embedded, png, write_pictures
from row_files import KINDS, TYPED, source_of

from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.hub import TableSource
from vlm_rl.datasets.options import ANSWER_IS, options_of
from vlm_rl.datasets.row import LazyRows, Row


def columns(answer_is: Any = None, *, options: Any = "choices", images: Any = None, **more: Any) -> Columns:
    return Columns(question="question", answer="answer", images=images, options=options, answer_is=answer_is, **more)


def rows(folder: Path, kind: str, *items: dict[str, Any], answer_is: Any = None, **more: Any) -> LazyRows:
    """Rows with a question, if they bring none."""
    return source_of(folder, kind, [{"question": "Q?", **item} for item in items], columns=columns(answer_is, **more)).rows(
        "train"
    )


def first(folder: Path, kind: str, choices: Any, answer: Any, *, answer_is: Any = None) -> Row:
    row: Row = rows(folder, kind, {"choices": choices, "answer": answer}, answer_is=answer_is)[0]
    return row


SIDES = ["5", "35", "7"]
ASKED = "Q?\nA. 5\nB. 35\nC. 7"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ["B", "(B)", "b", "B.", "[B]", "B)", " B ", "35", "B. 35", "(B) 35", "B) 35", "B: 35"])
def test_an_answer_is_a_letter_or_the_text_of_an_option(tmp_path: Path, kind: str, answer: str) -> None:
    row = first(tmp_path, kind, SIDES, answer)
    assert (row.question, row.answer) == (ASKED, "B. 35")
    assert row.fields == {}


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize(
    ("answer", "answer_is"),
    [(1, "index_0"), (2, "index_1"), ("1", "index_0"), (2.0, "index_1"), ("B", "letter"), ("35", "text"), (35, None)],
)
def test_an_answer_may_count_the_options(tmp_path: Path, kind: str, answer: object, answer_is: str | None) -> None:
    assert first(tmp_path, kind, SIDES, answer, answer_is=answer_is).answer == "B. 35"


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_names_no_option_is_a_bad_row_with_the_fix(tmp_path: Path, kind: str) -> None:
    answers = ["D", "6", "AB", "B. 7", "none"]
    items = [{"id": f"r{i}", "choices": SIDES, "answer": answer} for i, answer in enumerate(answers)]
    told = rows(tmp_path, kind, *items, id="id").survey().problems
    assert len(told) == len(answers)
    for i, (problem, answer) in enumerate(zip(told, answers, strict=True)):
        assert f"(id 'r{i}'): 'answer' is {answer!r}, which names none of its options A to C. " in problem
    assert "If it counts them, set dataset.source.columns.answer_is=index_0 where the first is 0" in told[1]
    assert "Give the letter or the text of one of them, or drop the row." in told[0]


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize(
    ("answer", "answer_is"),
    [
        (3, "index_0"), (0, "index_1"), (4, "index_1"), (-1, "index_0"), ("B", "index_0"), (1.5, "index_0"),
        (1, "letter"), ("B", "text"), ("35", "letter"),
    ],
)  # fmt: skip
def test_an_answer_of_another_kind_than_the_setting_says_is_a_bad_row(
    tmp_path: Path, kind: str, answer: object, answer_is: str
) -> None:
    told = rows(tmp_path, kind, {"choices": SIDES, "answer": answer}, answer_is=answer_is).survey().problems
    assert [f"dataset.source.columns.answer_is={answer_is} says what it must be" in problem for problem in told] == [True]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_names_two_options_is_a_bad_row_until_the_setting_says_which(tmp_path: Path, kind: str) -> None:
    item = {"choices": ["D", "A", "C", "B"], "answer": "A"}
    (told,) = rows(tmp_path, kind, item).survey().problems
    assert "which names the options A and B. Set dataset.source.columns.answer_is to letter or to text" in told
    assert [rows(tmp_path, kind, item, answer_is=kind_of)[0].answer for kind_of in ("letter", "text")] == ["A. D", "B. A"]
    (twice,) = rows(tmp_path, kind, {"choices": ["5", "5", "7"], "answer": "5"}).survey().problems
    assert "names the options A and B" in twice


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("['a', 'b']", "A. a\nB. b"),
        ('["it\'s", "b"]', "A. it's\nB. b"),
        ("[\"it's\", 'b']", "A. it's\nB. b"),
        (r"['\\frac{1}{2}', '\\sqrt{3}']", "A. \\frac{1}{2}\nB. \\sqrt{3}"),
        (r'["\\frac{1}{2}", "\\times"]', "A. \\frac{1}{2}\nB. \\times"),
        ("['a', 'b', '', None]", "A. a\nB. b"),
        ("['(A) a', '(B) b']", "A. a\nB. b"),
        ("['A. a', 'B. b']", "A. a\nB. b"),
        ("['A', 'B']", "A. A\nB. B"),
        ("['A. a', 'b']", "A. A. a\nB. b"),
        ("[0.1, 2]", "A. 0.1\nB. 2"),
        ("['a\\n  b', ' c ']", "A. a b\nB. c"),
        ("[True, False]", "A. True\nB. False"),
    ],
)
def test_a_list_may_be_written_as_a_text(tmp_path: Path, kind: str, text: str, options: str) -> None:
    assert first(tmp_path, kind, text, "B").question == f"Q?\n{options}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        "a, b", "['a' 'b']", "['a'", "{'A': 'a'}", "['a']", "[['a'], ['b']]", "__import__('os')", "[" * 300, "['a', '', 'b']", "(1, 2)",
        r"['\times 2', 'b']", r"['\frac12', 'b']", str([str(i) for i in range(27)]), "[" + "'a'," * 9_000 + "]", "['a\\x00', 'b']",
    ],
)  # fmt: skip
def test_what_is_no_list_of_options_is_a_bad_row(tmp_path: Path, kind: str, text: str) -> None:
    survey = rows(tmp_path, kind, {"choices": text, "answer": "B"}, {"choices": "['a', 'b']", "answer": "B"}).survey()
    assert [row.answer for row in survey.rows] == ["B. b"]
    assert ["(id 'train-0'): 'choices'" in problem for problem in survey.problems] == [True]


@pytest.mark.parametrize("kind", KINDS)
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
    (told,) = survey.problems
    assert "(id 'train-3'): 'A', 'B', 'C', 'D': option 2 is blank, and a later one is not" in told


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize("answer_is", [None, *ANSWER_IS])
def test_a_row_without_options_stays_as_it_is(tmp_path: Path, kind: str, answer_is: str | None) -> None:
    """The free-form questions of MATH-V have an empty list; in MMMU it is the text of one."""
    items = [{"choices": choices, "answer": "1, 2"} for choices in ([], None)]
    assert [(row.question, row.answer) for row in rows(tmp_path, kind, *items, answer_is=answer_is)] == [("Q?", "1, 2")] * 2
    texts = [{"choices": choices, "answer": "1, 2"} for choices in ("[]", "", "nan")]
    assert [row.question for row in rows(tmp_path, kind, *texts, answer_is=answer_is)] == ["Q?"] * 3


def test_only_lists_without_options_are_ordered(tmp_path: Path) -> None:
    items = [
        {"question": "Q?", "choices": ["1, 2", "2, 1"], "answer": "A"},
        {"question": "Q?", "choices": [], "answer": "2, 1"},
    ]
    made = source_of(tmp_path, "jsonl", items, columns=columns(), ordered_lists=True, answer_pattern=".+").rows("train")
    assert [row.answer for row in made] == ["A. 1, 2", r"\ordered{2, 1}"]


def test_a_misspelt_column_of_options_is_told_in_each_kind_of_file(tmp_path: Path) -> None:
    item = {"choices": SIDES, "answer": "B"}
    (told,) = rows(tmp_path, "jsonl", item, options="choises").survey().problems
    assert "has no 'choises'. Give a question without options an empty list, or correct dataset.source.columns.options." in told
    with pytest.raises(
        ValueError, match=r"has no column 'choises'; it has .*choices.*\. Set dataset\.source\.columns\.options\."
    ):
        rows(tmp_path, "parquet", item, options="choises")


@pytest.mark.parametrize(("answer_is", "options"), [("number", "choices"), ("letter", None), ("index_0", [])])
def test_a_setting_that_means_nothing_is_refused(answer_is: str, options: object) -> None:
    made = columns(options="choices")
    object.__setattr__(made, "answer_is", answer_is)
    object.__setattr__(made, "options", options)
    made.__dict__.pop("option_columns", None)
    with pytest.raises(
        ValueError, match=r"dataset\.source\.columns\.answer_is=.*one of letter, text, index_0, index_1, or null"
    ):
        made.__post_init__()


def test_options_of_numbers_are_as_they_are_written(tmp_path: Path) -> None:
    cells = {"question": ["Q?"], "answer": ["0.1"], "choices": pa.array([[0.1, 3.3]], pa.list_(pa.float32()))}
    pq.write_table(pa.table(cells), tmp_path / "train.parquet")
    (row,) = TableSource(folder=str(tmp_path), files={"train": "train.parquet"}, columns=columns()).rows("train")
    assert (row.question, row.answer) == ("Q?\nA. 0.1\nB. 3.3", "A. 0.1")


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


@pytest.mark.parametrize("kind", TYPED)
def test_an_option_that_is_an_image_is_marked_and_its_gold_is_the_letter(tmp_path: Path, kind: str) -> None:
    write_pictures(tmp_path, {"a.png": png(1), "b.png": png(2)})
    item = {"choices": ["<image>", "<image>"], "answer": "B", "image": ["a.png", "b.png"]}
    (row,) = rows(tmp_path, kind, item, images="image")
    assert (row.question, row.answer, len(row.images)) == ("Q?\nA. <image>\nB. <image>", "B", 2)
    (told,) = rows(tmp_path, kind, {**item, "choices": ["<image 1>", "<image 2>"]}, images="image").survey().problems
    assert (
        "an option shows the image '<image 1>', and an image is marked by '<image>' (dataset.source.columns.marker; '<image {n}>' is one"
        in told
    )


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize(
    ("question", "choices", "answer", "asked", "gold", "shades"),
    [
        ("See <image 1>?", "['<image 2>', '<image 3>']", "B", "See <image>?\nA. <image>\nB. <image>", "B", [1, 2, 3]),
        ("<image 3> or <image 1>?", "['<image 2>', 'no']", "B", "<image> or <image>?\nA. <image>\nB. no", "B. no", [3, 1, 2]),
        ("<image 2>, <image 1>, <image 2>, <image 3>?", "[]", "5", "<image>, <image>, <image>, <image>?", "5", [2, 1, 2, 3]),
        ("Which?", "['3', '5']", "A", "<image><image><image>Which?\nA. 3\nB. 5", "A. 3", [1, 2, 3]),
        ("See <image 1>.", "[]", "5", "See <image>.", "5", [1, 2, 3]),  # too few and too many: for the check of the rows to say
        ("<image 1><image 4><image 0>", "[]", "5", "<image><image><image>", "5", [1, 2, 3]),
    ],
)
def test_rows_like_those_of_mmmu_number_their_images(
    tmp_path: Path, kind: str, question: str, choices: str, answer: str, asked: str, gold: str, shades: list[int]
) -> None:
    pictures = {f"{shade}.png": png(shade) for shade in (1, 2, 3)}
    write_pictures(tmp_path, pictures)
    item = {"question": question, "choices": choices, "answer": answer} | {f"image_{i}": f"{i}.png" for i in (1, 2, 3)}
    images = [f"image_{i}" for i in range(1, 4)]
    (row,) = rows(tmp_path, kind, item, images=images, marker="<image {n}>")
    assert (row.question, row.answer) == (asked, gold)
    assert [image.load().getpixel((0, 0))[0] for image in row.images] == shades  # type: ignore[index]


def test_a_picture_in_a_list_of_options_is_told(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"question": ["Q"], "answer": ["B"], "choices": [embedded(png(1), png(2))]}), tmp_path / "train.parquet"
    )
    source = TableSource(folder=str(tmp_path), files={"train": "train.parquet"}, columns=columns())
    (told,) = source.rows("train").survey().problems
    assert "'choices', option 1 is a dict, neither text nor a number" in told


def test_the_same_question_with_other_options_is_another_problem(tmp_path: Path) -> None:
    one, two = rows(tmp_path, "jsonl", {"choices": ["1", "2"], "answer": "A"}, {"choices": ["1", "3"], "answer": "A"})
    assert one.content_key != two.content_key


def test_twenty_six_options_have_letters() -> None:
    options = options_of([[str(i) for i in range(26)]], place="here")
    assert options.gold("Z", answer_is=None, place="here") == "Z. 25"
