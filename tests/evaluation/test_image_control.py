"""Blind controls keep the questions and never show the own figure."""

from tiny_runs import Sheet

from vlm_rl.datasets.row import Row
from vlm_rl.evaluation.image_control import Blank, Intact, Shuffled


def row(name: str, *sheets: int, kind: str = "angle", modality: str = "vision") -> Row:
    """A row with numbered sheets."""
    images = tuple(Sheet(number) for number in sheets)
    return Row(id=name, question=f"Question {name}", answer="1", solution=None, images=images, kind=kind, modality=modality)


def keys(row: Row) -> list[str]:
    """What is shown."""
    return [image.key for image in row.images]


ROWS = [row(str(i), i, kind="angle" if i % 2 else "area", modality="text" if i % 3 else "vision") for i in range(24)]


def test_blank_sheets_are_white_and_of_the_same_size_and_intact_changes_nothing() -> None:
    assert Intact()(ROWS) == ROWS
    (shown,) = Blank()([row("a", 1)])
    assert shown.images[0].load().size == Sheet(1).load().size
    assert shown.images[0].load().getcolors() == [(84 * 56, (255, 255, 255))]
    assert keys(shown) != keys(row("a", 1))


def test_shuffled_keeps_questions_and_their_order_and_takes_figures_of_the_same_kind_and_modality() -> None:
    shown = Shuffled(seed=0)(ROWS)
    assert shown == Shuffled(seed=0)(ROWS) != Shuffled(seed=1)(ROWS)
    assert [(r.id, r.question, r.answer) for r in shown] == [(r.id, r.question, r.answer) for r in ROWS]
    owner = {keys(r)[0]: r for r in ROWS}
    for before, after in zip(ROWS, shown, strict=True):
        other = owner[keys(after)[0]]
        assert other.id != before.id
        assert (other.kind, other.modality) == (before.kind, before.modality)
    assert sorted(keys(r)[0] for r in shown) == sorted(keys(r)[0] for r in ROWS)  # each figure is used once


def test_questions_on_one_figure_are_not_shown_that_figure() -> None:
    rows = [row("a", 1), row("b", 1), row("c", 1), row("d", 2)]
    shown = {r.id: keys(r) for r in Shuffled(seed=0)(rows)}
    assert shown == {"a": keys(rows[3]), "b": keys(rows[3]), "c": keys(rows[3]), "d": keys(rows[0])}


def test_a_row_alone_in_its_kind_borrows_from_another_kind_and_one_quite_alone_sees_a_white_sheet() -> None:
    rows = [row("a", 1, kind="angle"), row("b", 2, kind="area"), row("c", 3, 4), row("d")]
    shown = Shuffled(seed=0)(rows)
    assert keys(shown[0]) == keys(rows[1])
    assert keys(shown[1]) == keys(rows[0])
    assert keys(shown[2]) == [f"blank-{key}" for key in keys(rows[2])]
    assert keys(shown[3]) == []
