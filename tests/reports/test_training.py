import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from fake_runs import write_completions

from vlm_rl.evaluation.reflection import ReflectionRule, Substrings, WholeWords
from vlm_rl.reports.reading.roles import Role
from vlm_rl.reports.reading.training import CompletionPlace, Training, count_training, rule_of, step_file
from vlm_rl.rewards.foreign_letters import MAYBE_FOREIGN_RE2, _is_foreign, foreign_share

LOGGED = {"event": "train", "gradient_steps": 4, "policy/kl": 0.25, "train/accuracy": 0.9, "train/accuracy_in_epoch": 0.8}

FOUR = [
    {"number": 1, "correct": True, "response": "Wait, I verify: 5.", "response_length": 10},
    {"number": 2, "correct": True, "response": "The waiter says 7.", "response_length": 20, "finish_reason": "length"},
    {"number": 3, "correct": False, "response": "не 9, wait", "response_length": 30},
    {"number": 5, "correct": False, "response": "No box.", "response_length": 60},
]


def line(step: int, *, epoch: float, **changes: Any) -> dict[str, Any]:
    return LOGGED | {"generation_steps": step, "epoch": epoch} | changes


def count(
    run: Path,
    *,
    lines: Sequence[dict[str, Any]],
    role: Role = "policy",
    reflection: ReflectionRule | None = None,
    **config: Any,
) -> Training:
    return count_training(lines, run_folder=run, role=role, config=config, reflection=reflection, rejudge=None)


def test_all_that_texts_and_verdicts_say_is_counted_again_by_hand(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    training = count(tmp_path, lines=[line(1, epoch=0.2)])
    (record,) = training.records
    expected = {
        "policy/kl": 0.25,  # only the trainer knew it
        "train/accuracy": 2 / 4,
        "train/accuracy_in_epoch": 2 / 4,
        "train/reward": 2 / 4,
        "train/reward_accuracy": 2 / 4,
        "train/reward_language": 0.0,
        "judge/correct": 2 / 4,
        "judge/wrong": 1 / 4,
        "judge/unparsable": 1 / 4,  # question 5 is wrong and not boxed
        "judge/timed_out": 0.0,
        "response_length/mean": 30.0,
        "response_length/mean_terminated": 100 / 3,
        "response_length/mean_truncated": 20.0,
        "response_length/truncated": 1 / 4,
        "response_length/min": 10.0,
        "response_length/max": 60.0,
        "reflection/reflection_ratio": 2 / 4,
        "reflection/correct_ratio_in_reflection_texts": 1 / 2,
        "reflection/word/wait": 2.0,
        "reflection/word/verify": 1.0,
        "language/foreign_share": (2 / 6) / 4,  # two Cyrillic letters of six, in one response of four
    }
    assert {key: record[key] for key in expected} == pytest.approx(expected)
    assert training.aha == (CompletionPlace(generation_steps=1, row=0),)
    assert training.stored_steps == (1,)
    assert training.problems == ()
    assert training.length_bins is not None
    assert training.length_bins.num_responses.sum() == 4
    assert training.length_bins.num_reflective_correct.tolist()[0] == 1  # the shortest one


def test_the_accuracy_of_an_epoch_adds_up_over_its_steps_and_begins_again(tmp_path: Path) -> None:
    right, wrong = ({"number": 1, "correct": correct} for correct in (True, False))
    for step, rows in enumerate(([right], [right, wrong, wrong], [wrong]), start=1):
        write_completions(tmp_path, step=step, rows=rows)
    lines = [line(step, epoch=step / 2) for step in (1, 2, 3)]
    records = count(tmp_path, lines=lines).records
    assert [record["train/accuracy_in_epoch"] for record in records] == [1.0, 2 / 4, 0.0]


def test_a_step_without_completions_keeps_what_was_logged_and_so_does_the_rest_of_its_epoch(tmp_path: Path) -> None:
    for step in (2, 3):
        write_completions(tmp_path, step=step, rows=[{"number": 1, "correct": True}])
    logged = [line(step, epoch=step / 2, **{"reflection/reflection_ratio": 0.4}) for step in (1, 2, 3)]
    training = count(tmp_path, lines=logged)
    first, second, third = training.records
    assert first == logged[0]
    assert (second["train/accuracy"], second["train/accuracy_in_epoch"]) == (1.0, 0.8)
    assert third["train/accuracy_in_epoch"] == 1.0
    (problem,) = training.problems
    assert "1 of 3 steps have no readable completions" in problem


def test_a_half_written_file_costs_its_own_step_only(tmp_path: Path) -> None:
    for step in (1, 2):
        path = write_completions(tmp_path, step=step, rows=FOUR)
    path.write_bytes(path.read_bytes()[:200])
    training = count(tmp_path, lines=[line(1, epoch=0.5), line(2, epoch=1.0)])
    assert [record["train/accuracy"] for record in training.records] == [0.5, 0.9]
    assert "step-000002.parquet cannot be read" in training.problems[0]
    assert training.stored_steps == (1,)


def test_steps_that_metrics_does_not_tell_of_are_known_by_their_texts(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write_completions(tmp_path, step=step, rows=FOUR, epoch=step / 3)
    training = count(tmp_path, lines=[line(2, epoch=2 / 3)])
    assert [record["generation_steps"] for record in training.records] == [1, 2, 3]
    assert [record["train/accuracy_in_epoch"] for record in training.records] == [0.5, 0.5, 0.5]
    assert ["policy/kl" in record for record in training.records] == [False, True, False]
    assert "no line for 1 steps" in training.problems[0]  # the third may be written at this moment


def test_a_teachers_texts_are_no_responses_of_the_policy(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    logged = {"event": "train", "generation_steps": 1, "epoch": 0.5, "policy/loss": 2.0}
    training = count(tmp_path, lines=[logged], role="teacher")
    assert training.records == (logged,)
    assert training.length_bins is None
    assert training.aha == training.stored_steps == ()


def test_other_words_replace_those_that_were_logged_even_where_no_text_is_stored(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    words = {"reflection/word/wait": 9, "reflection/reflection_ratio": 0.9}
    first, second = count(
        tmp_path, lines=[line(1, epoch=0.5, **words), line(2, epoch=1.0, **words)], reflection=WholeWords(words=["says"])
    ).records
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


def test_a_rule_of_the_users_own_is_never_replaced_by_ours_and_what_it_logged_is_kept(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    logged = {"reflection/reflection_ratio": 0.4, "reflection/word/hmm": 3.0}
    for target in ("my_rules.Hesitations", "my_rules.Substrings"):
        own = {"evaluation": {"reflection": {"_target_": target, "words": ["hmm"]}}}
        training = count(tmp_path, lines=[line(1, epoch=0.5, **logged)], **own)
        (record,) = training.records
        assert {key: value for key, value in record.items() if key.startswith("reflection/")} == logged
        assert record["train/accuracy"] == 2 / 4  # all else is counted
        assert (training.aha, training.length_bins, list(training.rule.words)) == ((), None, [])
        (problem,) = training.problems
        assert f"a rule of its own, {target}, which a report does not import" in problem
        assert f"evaluation.reflection._target_={target}." in problem


def test_the_rule_that_a_person_asks_for_counts_a_run_with_a_rule_of_its_own(tmp_path: Path) -> None:
    write_completions(tmp_path, step=1, rows=FOUR)
    own = {"evaluation": {"reflection": {"_target_": "my_rules.Hesitations"}}}
    training = count(tmp_path, lines=[line(1, epoch=0.5)], reflection=Substrings(words=["wait"]), **own)
    assert training.records[0]["reflection/word/wait"] == 3
    assert training.problems == ()


def test_the_first_aha_cases_come_by_step_and_row(tmp_path: Path) -> None:
    plain, aha = ({"number": 1, "correct": True, "response": text} for text in ("5", "wait: 5"))
    for step, rows in ((1, [plain, plain]), (2, [plain, aha, aha]), (3, [aha, plain])):
        write_completions(tmp_path, step=step, rows=rows)
    training = count(tmp_path, lines=[line(step, epoch=step / 3) for step in (1, 2, 3)])
    assert [(place.generation_steps, place.row) for place in training.aha] == [(2, 1), (2, 2), (3, 0)]


@pytest.mark.parametrize("broken", [{"generation_steps": None}, {"generation_steps": "x"}, {}])
def test_a_line_without_its_step_is_no_step(tmp_path: Path, broken: dict[str, Any]) -> None:
    assert count(tmp_path, lines=[{"event": "train"} | broken]).records == ()


def test_no_letter_is_missed_by_looking_only_where_a_foreign_one_may_be() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    may_be = pc.match_substring_regex(pa.array(characters), MAYBE_FOREIGN_RE2).to_pylist()
    foreign = [character for character in characters if _is_foreign(character)]
    assert not set(foreign) - {character for character, found in zip(characters, may_be, strict=True) if found}
    assert all(foreign_share(character) == 1.0 for character in foreign)


def test_the_files_of_steps_are_named_as_the_run_names_them(tmp_path: Path) -> None:
    assert step_file(tmp_path, step=12) == tmp_path / "completions" / "step-000012.parquet"
