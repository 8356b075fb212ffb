"""How often a study was judged: counted by sets of seeds, kept in its folder, and paid for in the level or by the verdict."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_study
from judged_studies import FIVE, declaring, gained, records
from usual import usual_settings

from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports import report
from vlm_rl.reports.reading.arms import Arm, Records
from vlm_rl.reports.report import make_report
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint
from vlm_rl.reports.verdicts.family import Judged, verdicts_of
from vlm_rl.reports.verdicts.looks import FILE, Looks, keep_looks, read_looks, seen
from vlm_rl.reports.verdicts.verdict_sentences import sentence_of, sentences

THREE, FOUR = frozenset({0, 1, 2}), frozenset({0, 1, 2, 3})


def the(study: Records, *, looks: Looks | None = None, accept: tuple[str, ...] = ()) -> Judged:
    choice = choose_endpoint(study)
    found = {} if looks is None else {"looks": looks}
    return verdicts_of(study, choice=choice, reference=None, accept=accept, **found)[0]  # type: ignore[arg-type]


def looked(*sets: frozenset[int]) -> Looks:
    """Earlier looks at grpo against its vanilla model."""
    return Looks(seeds={("grpo", None): sets})


def planning(**plan: Any) -> Records:
    return records(gained("grpo", *FIVE, config=declaring(**plan)))


def test_a_look_is_a_set_of_seeds_and_counts_all_seeds_that_were_seen() -> None:
    assert seen([THREE, FOUR]) == (3, 4)
    assert seen([THREE, frozenset({0, 1, 3})]) == (3, 4)  # a seed taken out and another put in: four were seen
    assert seen([]) == ()


def test_the_first_look_is_judged_and_a_second_one_that_was_not_planned_is_not() -> None:
    first, again, second = (the(planning(), looks=looks) for looks in (looked(), looked(frozenset(range(5))), looked(THREE)))
    assert [one.outcome for one in (first, again)] == [Outcome.IMPROVEMENT] * 2
    assert (second.outcome, second.looks) == (Outcome.NOT_JUDGED, (3, 5))
    assert "this look at the study was not planned" in sentence_of(second, "headline")
    said = sentences(second)[0]
    assert "This is look 2 at this study, and 1 planned (seeds so far at each: 3, 5)" in said
    assert "claims something in about 8.7 % of studies, not in 5 %" in said
    assert "report.accept=[unplanned_look]" in said


def test_who_accepts_a_second_look_gets_the_verdict_and_the_page_says_so() -> None:
    verdict = the(planning(), looks=looked(THREE), accept=("unplanned_look",))
    assert verdict.outcome is Outcome.IMPROVEMENT
    assert "Accepted by the person who made this report (unplanned_look): This is look 2" in sentences(verdict)[0]


def test_each_of_the_planned_looks_gets_its_part_of_the_level() -> None:
    """Five gains whose p lies between 2.5 and 5 %: enough for one look, and not for one of two."""
    gains = (0.1, 0.0, 0.1, 0.05, 0.15)
    one, two = (the(records(gained("grpo", *gains, spread=0.0, config=declaring(planned_looks=looks)))) for looks in (1, 2))
    assert 0.025 < one.p_value < 0.05
    assert (one.outcome, two.outcome) == (Outcome.IMPROVEMENT, Outcome.OPEN)
    assert (one.agreeing.low > 0, two.agreeing.low > 0) == (True, False)
    assert (one.confidence, two.confidence, two.planning_level) == pytest.approx((0.95, 0.975, 0.025))
    assert any("look 1 of 2 that were planned" in said and "tested at 2.5 %" in said for said in sentences(two))
    assert the(planning(planned_looks=2), looks=looked(THREE)).outcome is Outcome.IMPROVEMENT  # the second, as planned


def test_fewer_seeds_than_planned_are_not_judged_unless_a_look_before_the_last_was_planned() -> None:
    early, interim = the(planning(planned_seeds=8)), the(planning(planned_seeds=8, planned_looks=2))
    assert (early.outcome, interim.outcome) == (Outcome.NOT_JUDGED, Outcome.IMPROVEMENT)
    assert "8 seeds were planned, and 5 are evaluated" in sentences(early)[0]
    assert the(planning(planned_seeds=5)).outcome is Outcome.IMPROVEMENT


def test_two_seeds_are_no_look() -> None:
    assert the(records(gained("grpo", 0.2, 0.25)), looks=looked(THREE)).looks == ()


def test_a_study_keeps_each_look_once(tmp_path: Path) -> None:
    def study(one: Arm) -> Records:
        runs = [replace(run, run=replace(run.run, path=tmp_path / "grpo" / f"seed-{run.run.seed}")) for run in one.runs]
        return records(replace(one, runs=tuple(runs)))

    for gains in (FIVE[:3], FIVE[:3], FIVE):
        verdict = the(study(gained("grpo", *gains)), looks=(looks := read_looks([tmp_path], problems=[])))
        keep_looks([verdict.comparison], looks=looks)
    assert len((tmp_path / FILE).read_text().splitlines()) == 2
    assert read_looks([tmp_path], problems=[]).seeds == {("grpo", None): (THREE, frozenset(range(5)))}


@pytest.mark.usefixtures("first_page_only")
def test_no_link_is_followed_where_a_look_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, mine = write_study(tmp_path / "study", epochs=1), tmp_path / "mine"
    mine.write_text("mine\n")
    (study / FILE).symlink_to(mine)
    make_report([study], out=None, settings=usual_settings())
    assert mine.read_text() == "mine\n"
    assert "could not be kept" in capsys.readouterr().out


def test_a_line_that_is_no_look_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"arm": "grpo", "seeds": 3}\n{"arm": 7, "seeds": [1]}\n')
    problems: list[str] = []
    assert read_looks([tmp_path], problems=problems).seeds == {}
    assert len(problems) == 2


@pytest.fixture
def first_page_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of the words of the first page: pictures and tables take most of the time."""
    monkeypatch.setattr(report, "_write_files", lambda content, **where: iter(()))
    monkeypatch.setattr(report, "render_html", lambda content, **where: repr(content.decision))


@pytest.mark.slow
@pytest.mark.usefixtures("first_page_only")
def test_a_report_with_more_seeds_is_a_second_look_and_the_same_report_again_is_none(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", epochs=2, seeds=range(5))
    late = [(tmp_path / f"{path.parent.name}-{path.name}", path) for path in study.glob("*/seed-[34]")]
    for away, path in late:
        path.rename(away)

    def page() -> str:
        return make_report([study], out=None, settings=usual_settings()).read_text()

    first = page()
    assert page() == first
    assert "look 2" not in first
    for away, path in late:
        away.rename(path)
    assert "This is look 2 at this study, and 1 planned (seeds so far at each: 3, 5)" in page()
