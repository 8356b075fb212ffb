"""What a report takes from the log and what it counts in stored responses. The counting itself: evaluation/test_response_metrics.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_runs import FOUR, write_completions

from vlm_rl.evaluation.reflection import ReflectionRule, Substrings, WholeWords
from vlm_rl.reports.reading.rejudge import Rejudge
from vlm_rl.reports.reading.roles import Role
from vlm_rl.reports.reading.training import Training, count_training, rule_of, step_file
from vlm_rl.rewards.judge import Verdict

LOGGED = {"event": "train", "gradient_steps": 4, "policy/kl": 0.25, "train/accuracy": 0.9, "train/accuracy_in_epoch": 0.8}
OWN_RULE = {"_target_": "my_rules.Hesitations", "words": ["hmm"]}


def line(step: int, *, epoch: float, **changes: Any) -> dict[str, Any]:
    return LOGGED | {"generation_steps": step, "epoch": epoch} | changes


def count(
    run: Path,
    *,
    lines: Sequence[dict[str, Any]] = (),
    role: Role = "policy",
    reflection: ReflectionRule | None = None,
    rejudge: Rejudge | None = None,
    **config: Any,
) -> Training:
    return count_training(lines, run_folder=run, role=role, config=config, reflection=reflection, rejudge=rejudge)


def test_what_was_logged_stays_and_what_the_log_lacks_is_counted(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    training = count(tmp_path, lines=[line(1, epoch=0.2)])
    (record,) = training.records
    assert {key: record[key] for key in LOGGED} == LOGGED
    assert (record["judge/unparsable"], record["reflection/word/verify"], record["response_length/mean"]) == (1 / 4, 1.0, 30.0)
    assert (training.aha, training.stored_steps, training.problems) == (((1, 0),), (1,), ())
    assert training.length_bins is not None
    assert training.length_bins.num_responses.sum() == 4
    assert training.length_bins.num_reflective_correct.tolist()[0] == 1  # the shortest one


def test_another_judge_replaces_what_the_run_logged_of_verdicts(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    strict = Rejudge(lambda responses, golds: [Verdict.WRONG] * len(responses))
    training = count(tmp_path, lines=[line(1, epoch=0.2)], rejudge=strict)
    (record,) = training.records
    keys = ("train/accuracy", "train/accuracy_in_epoch", "judge/wrong", "train/reward", "policy/kl")
    assert [record[key] for key in keys] == [0.0, 0.0, 1.0, 0.5, 0.25]  # what was rewarded stays
    assert training.judged_again is not None and training.judged_again.num_to_wrong == 2


def test_the_accuracy_of_an_epoch_adds_up_over_its_steps_and_begins_again(tmp_path: Path) -> None:
    right, wrong = ({"number": 1, "correct": correct} for correct in (True, False))
    for step, rows in enumerate(([right], [right, wrong, wrong], [wrong]), start=1):
        write_completions(tmp_path, step=step, rows=rows, epoch=step / 2)
    assert [record["train/accuracy_in_epoch"] for record in count(tmp_path).records] == [1.0, 2 / 4, 0.0]


def test_after_a_step_without_completions_the_accuracy_of_its_epoch_is_not_known(tmp_path: Path) -> None:
    for step in (2, 3):
        write_completions(tmp_path, step=step, rows=[{"number": 1, "correct": True}], epoch=step / 2)
    bare = {"event": "train", "generation_steps": 1, "epoch": 0.5}
    training = count(tmp_path, lines=[bare])
    assert training.records[0] == bare
    assert [record.get("train/accuracy_in_epoch") for record in training.records] == [None, None, 1.0]
    assert "1 of 1 steps have no readable completions" in training.problems[0]


def test_a_half_written_file_costs_what_was_not_logged_of_its_own_step_only(tmp_path: Path) -> None:
    for step in (1, 2):
        path = write_completions(tmp_path, step=step, rows=FOUR)
    path.write_bytes(path.read_bytes()[:200])
    training = count(tmp_path, lines=[line(1, epoch=0.5), line(2, epoch=1.0)])
    assert ["judge/wrong" in record for record in training.records] == [True, False]
    assert "step-000002.parquet cannot be read" in training.problems[0]
    assert training.stored_steps == (1,)


def test_steps_that_metrics_does_not_tell_of_are_known_by_their_texts(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write_completions(tmp_path, step=step, rows=FOUR, epoch=step / 3)
    training = count(tmp_path, lines=[line(2, epoch=2 / 3)])
    assert [record["generation_steps"] for record in training.records] == [1, 2, 3]
    assert [record["train/accuracy_in_epoch"] for record in training.records] == [0.5, 0.8, 0.5]
    assert ["policy/kl" in record for record in training.records] == [False, True, False]
    assert "no line for 1 steps" in training.problems[0]  # the third may be written at this moment


def test_a_teachers_texts_are_no_responses_of_the_policy(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    logged = {"event": "train", "generation_steps": 1, "epoch": 0.5, "policy/loss": 2.0}
    training = count(tmp_path, lines=[logged], role="teacher")
    assert (training.records, training.length_bins, training.aha, training.stored_steps) == ((logged,), None, (), ())


def test_other_words_replace_those_that_were_logged_even_where_no_text_is_stored(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    words = {"reflection/word/wait": 9, "reflection/reflection_ratio": 0.9}
    lines = [line(1, epoch=0.5, **words), line(2, epoch=1.0, **words)]
    first, second = count(tmp_path, lines=lines, reflection=WholeWords(words=["says"])).records
    assert first["reflection/word/says"] == 1
    assert "reflection/word/wait" not in first
    assert not any(key.startswith("reflection/") for key in second)


def test_a_run_is_counted_by_the_rule_it_declares(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    declared = {"_target_": "vlm_rl.evaluation.reflection.Substrings", "words": ["wait"]}
    training = count(tmp_path, lines=[line(1, epoch=0.5)], evaluation={"reflection": declared})
    assert training.records[0]["reflection/word/wait"] == 3  # "waiter" too
    assert training.rule == Substrings(words=("wait",))
    assert rule_of({}) == rule_of({"evaluation": {"reflection": {"words": None}}}) == WholeWords()


@pytest.mark.parametrize("target", ["my_rules.Hesitations", "my_rules.Substrings"])
def test_a_rule_of_the_users_own_is_never_replaced_by_ours_and_what_it_logged_is_kept(tmp_path: Path, target: str) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    logged = {"reflection/reflection_ratio": 0.4, "reflection/word/hmm": 3.0}
    own = {"evaluation": {"reflection": OWN_RULE | {"_target_": target}}}
    training = count(tmp_path, lines=[line(1, epoch=0.5, **logged)], **own)
    (record,) = training.records
    assert {key: value for key, value in record.items() if key.startswith("reflection/")} == logged
    assert record["judge/wrong"] == 1 / 4  # all else is counted
    assert (training.aha, training.length_bins, list(training.rule.words)) == ((), None, [])
    (problem,) = training.problems
    assert f"a rule of its own, {target}, which a report does not import" in problem
    assert f"evaluation.reflection._target_={target}." in problem


def test_the_rule_that_a_person_asks_for_counts_a_run_with_a_rule_of_its_own(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    own = {"evaluation": {"reflection": OWN_RULE}}
    training = count(tmp_path, lines=[line(1, epoch=0.5)], reflection=Substrings(words=["wait"]), **own)
    assert (training.records[0]["reflection/word/wait"], training.problems) == (3, ())


def test_the_first_aha_cases_come_by_step_and_row(tmp_path: Path) -> None:
    plain, aha = ({"number": 1, "correct": True, "response": text} for text in ("5", "wait: 5"))
    for step, rows in ((1, [plain, plain]), (2, [plain, aha, aha]), (3, [aha, plain])):
        write_completions(tmp_path, step=step, rows=rows)
    assert count(tmp_path).aha == ((2, 1), (2, 2), (3, 0))


@pytest.mark.parametrize("broken", [{"generation_steps": None}, {"generation_steps": "x"}, {}])
def test_a_line_without_its_step_is_no_step(tmp_path: Path, broken: dict[str, Any]) -> None:
    assert count(tmp_path, lines=[{"event": "train"} | broken]).records == ()


def test_the_files_of_steps_are_named_as_the_run_names_them(tmp_path: Path) -> None:
    assert step_file(tmp_path, step=12) == tmp_path / "completions" / "step-000012.parquet"
