"""What a report takes from the log and what it counts in stored responses. The counting itself: evaluation/test_response_metrics.py."""

from pathlib import Path
from typing import Any

import pytest
from fake_runs import FOUR, write_completions

from vlm_rl.evaluation.reflection import Substrings, WholeWords
from vlm_rl.reports.reading.rejudge import Rejudge
from vlm_rl.reports.reading.training import Training, count_training, rule_of, step_file
from vlm_rl.rewards.judge import Verdict

LOGGED = {"event": "train", "gradient_steps": 4, "policy/kl": 0.25, "train/accuracy": 0.9, "train/accuracy_in_epoch": 0.8}


def line(step: int, *, epoch: float, **changes: Any) -> dict[str, Any]:
    return LOGGED | {"generation_steps": step, "epoch": epoch} | changes


def count(run: Path, *lines: dict[str, Any], steps: int = 0, config: dict[str, Any] | None = None, **options: Any) -> Training:
    """Before it counts it writes four responses for each of that many steps."""
    for step in range(1, steps + 1):
        write_completions(run, step=step, rows=FOUR, epoch=step / 3)
    usual = {"role": "policy", "reflection": None, "rejudge": None}
    return count_training(lines, run_folder=run, config=config or {}, **usual | options)


def test_what_was_logged_stays_and_what_the_log_lacks_is_counted(tmp_path: Path) -> None:
    training = count(tmp_path, line(1, epoch=0.2), steps=1)
    (record,) = training.records
    assert {key: record[key] for key in LOGGED} == LOGGED
    assert (record["judge/unparsable"], record["reflection/word/verify"], record["response_length/mean"]) == (1 / 4, 1.0, 30.0)
    assert (training.aha, training.stored_steps, training.problems) == (((1, 0),), (1,), ())
    assert training.length_bins is not None
    assert (training.length_bins.num_responses.sum(), training.length_bins.num_reflective_correct[0]) == (4, 1)  # the shortest


def test_another_judge_replaces_what_the_run_logged_of_verdicts(tmp_path: Path) -> None:
    strict = Rejudge(lambda responses, golds: [Verdict.WRONG] * len(responses))
    training = count(tmp_path, line(1, epoch=0.2), steps=1, rejudge=strict)
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
    training = count(tmp_path, bare)
    assert training.records[0] == bare
    assert [record.get("train/accuracy_in_epoch") for record in training.records] == [None, None, 1.0]
    assert "1 of 1 steps have no readable completions" in training.problems[0]


def test_a_half_written_file_costs_what_was_not_logged_of_its_own_step_only(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    path = write_completions(tmp_path, step=2, rows=FOUR)
    path.write_bytes(path.read_bytes()[:200])
    (path.parent / "step-old.parquet").write_bytes(b"")  # no file of a run
    training = count(tmp_path, line(1, epoch=0.5), line(2, epoch=1.0))
    assert (["judge/wrong" in record for record in training.records], training.stored_steps) == ([True, False], (1,))
    assert "step-000002.parquet cannot be read" in training.problems[0]


def test_steps_that_metrics_does_not_tell_of_are_known_by_their_texts(tmp_path: Path) -> None:
    training = count(tmp_path, line(2, epoch=2 / 3), steps=3)
    keys = ("generation_steps", "train/accuracy_in_epoch", "policy/kl")
    found = [tuple(record.get(key) for key in keys) for record in training.records]
    assert found == [(1, 0.5, None), (2, 0.8, 0.25), (3, 0.5, None)]
    assert "no line for 1 steps" in training.problems[0]  # the third may be written at this moment


def test_a_teachers_texts_are_no_responses_of_the_policy(tmp_path: Path) -> None:
    logged = {"event": "train", "generation_steps": 1, "epoch": 0.5, "policy/loss": 2.0}
    training = count(tmp_path, logged, steps=1, role="teacher")
    assert (training.records, training.length_bins, training.aha, training.stored_steps) == ((logged,), None, (), ())


def test_other_words_replace_those_that_were_logged_even_where_no_text_is_stored(tmp_path: Path) -> None:
    words = {"reflection/word/wait": 9, "reflection/reflection_ratio": 0.9}
    lines = [line(1, epoch=0.5, **words), line(2, epoch=1.0, **words)]
    first, second = count(tmp_path, *lines, steps=1, reflection=WholeWords(words=["says"])).records
    assert (first["reflection/word/says"], "reflection/word/wait" in first) == (1, False)
    assert not any(key.startswith("reflection/") for key in second)


def test_a_run_is_counted_by_the_rule_it_declares(tmp_path: Path) -> None:
    declared = {"_target_": "vlm_rl.evaluation.reflection.Substrings", "words": ["wait"]}
    training = count(tmp_path, line(1, epoch=0.5), steps=1, config={"evaluation": {"reflection": declared}})
    assert (training.records[0]["reflection/word/wait"], training.rule) == (3, Substrings(words=("wait",)))  # "waiter" too
    assert rule_of({}) == rule_of({"evaluation": {"reflection": {"words": None}}}) == WholeWords()


@pytest.mark.parametrize("target", ["my_rules.Hesitations", "my_rules.Substrings"])
def test_a_rule_of_the_users_own_is_replaced_only_by_one_that_a_person_asks_for(tmp_path: Path, target: str) -> None:
    logged = {"reflection/reflection_ratio": 0.4, "reflection/word/hmm": 3.0}
    own = {"evaluation": {"reflection": {"_target_": target, "words": ["hmm"]}}}
    training = count(tmp_path, line(1, epoch=0.5, **logged), steps=1, config=own)
    (record,) = training.records
    found = {key: value for key, value in record.items() if key.startswith("reflection/") or key == "judge/wrong"}
    assert found == logged | {"judge/wrong": 1 / 4}  # all else is counted
    assert (training.aha, training.length_bins, list(training.rule.words)) == ((), None, [])
    (problem,) = training.problems
    assert f"a rule of its own, {target}, which a report does not import" in problem
    assert f"evaluation.reflection._target_={target}." in problem
    asked_for = count(tmp_path, line(1, epoch=0.5), reflection=Substrings(words=["wait"]), config=own)
    assert (asked_for.records[0]["reflection/word/wait"], asked_for.problems) == (3, ())


def test_the_first_aha_cases_come_by_step_and_row(tmp_path: Path) -> None:
    plain, aha = ({"number": 1, "correct": True, "response": text} for text in ("5", "wait: 5"))
    for step, rows in ((1, [plain, plain]), (2, [plain, aha, aha]), (3, [aha, plain])):
        write_completions(tmp_path, step=step, rows=rows)
    assert count(tmp_path).aha == ((2, 1), (2, 2), (3, 0))


def test_a_line_without_its_step_is_no_step_and_a_file_is_named_by_its_step(tmp_path: Path) -> None:
    train = {"event": "train"}
    assert count(tmp_path, train, train | {"generation_steps": None}, train | {"generation_steps": "x"}).records == ()
    assert step_file(tmp_path, step=12) == tmp_path / "completions" / "step-000012.parquet"
