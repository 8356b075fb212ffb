import json
from typing import Any

import pytest

from vlm_rl.evaluation.reflection import ReflectionRule, Substrings, WholeWords
from vlm_rl.reports.page.reader import Case, Reader, case_of, marked_parts, reader_json, visible
from vlm_rl.reports.phrase import catalogue_of, in_language, say
from vlm_rl.reports.reading.completions import Completion

HOSTILE = "</script><script>alert(1)</script> <!-- & \u2028\u2029\u202e\u0000 \ud800 ]]>"


def case(**changes: Any) -> Case:
    values = {
        "arm": "grpo",
        "seed": 1,
        "phase": say("training"),
        "at": say("step {step}", step=7),
        "split": "train",
        "setting": "rollout",
        "verdict": "correct",
        "is_aha": True,
        "images": ("a", "b"),
        "question": "How long is $AC$?",
        "answer": "5",
        "parts": (("Wait", True), (", 5.", False)),
        "left_out": "",
        "scores": "accuracy 1",
        "length": say("{tokens} tokens", tokens=3),
    }
    return Case(**(values | changes))


def reader(*cases: Case) -> Reader:
    return Reader(note=say("note"), cases=cases, images={"a": b"\x89PNG"})


@pytest.mark.parametrize(
    ("rule", "text", "marked"),
    [
        (WholeWords(), "Wait, the waiter said: re-check!", ["Wait", "re-check"]),
        (Substrings(), "Wait, the waiter said: re-check!", ["Wait", "wait", "re-check"]),
        (WholeWords(), "not yet; yeti; Kuwait; wait-list; double-check; re-verify", ["yet"]),
        (WholeWords(), "check\n again, re\u2011think", ["check\n again", "re\u2011think"]),
        (WholeWords(words=["a", "hmm"]), "Hmm a,ab", ["Hmm", "a"]),
        (WholeWords(words=[]), "wait", []),
        (WholeWords(), "", []),
    ],
)
def test_what_is_marked_is_what_the_rule_counts(rule: ReflectionRule, text: str, marked: list[str]) -> None:
    parts = marked_parts(text, rule=rule)
    assert [word for word, is_marked in parts if is_marked] == marked
    assert "".join(word for word, _ in parts) == text
    assert sum(rule.count(text).values()) == len(marked)


def test_the_data_block_can_neither_end_its_script_element_nor_lose_a_character() -> None:
    text = reader_json(reader(case(question=HOSTILE, parts=((HOSTILE, False),))), catalogue={})
    assert not set("<>&\u2028\u2029") & set(text)
    assert text.isascii()
    (found,) = json.loads(text)["cases"]
    assert found["question"] == visible(HOSTILE)
    assert found["parts"] == [[visible(HOSTILE), False]]


def test_control_characters_are_shown_as_signs_and_line_breaks_stay() -> None:
    assert visible("a\u0000b\u001b[0m\n\tc\ud800\u0085") == "a␀b␛[0m\n\tc\ufffd\ufffd"


def test_each_picture_is_carried_once_and_words_are_those_of_the_page() -> None:
    data = json.loads(
        reader_json(reader(case(), case(seed=2)), catalogue={"correct": "正解", "step {step}": "ステップ {step}"})
    )
    assert data["images"] == {"a": "data:image/png;base64,iVBORw=="}
    assert [entry["images"] for entry in data["cases"]] == [["a"], ["a"]]  # b is no picture that we have
    assert data["labels"]["verdict"]["correct"] == "正解"
    assert data["cases"][0]["at"] == "ステップ 7"
    assert data["words"]["count"] == "Shown: {shown} of {found}."


def test_reward_terms_of_ours_are_translated_and_those_of_others_keep_their_names() -> None:
    values = {
        "arm": "grpo",
        "run": "s/v/seed-0",
        "seed": 0,
        "phase": "training",
        "split": "train",
        "setting": "rollout",
        "epoch": 0.1,
    }
    values |= {"generation_steps": 1, "row_id": "q", "sample": 0, "image_ids": (), "kind": "", "modality": "", "question": "q"}
    values |= {"answer": "5", "response": "5", "num_characters_left_out": 0, "verdict": "correct", "score": None}
    values |= {"finish_reason": "stop", "response_length": 2, "is_aha": False}
    completion = Completion(rewards={"accuracy": 1.0, "language": -0.0, "brevity": 0.5}, **values)
    scores = case_of(completion, rule=WholeWords()).scores
    assert scores == "accuracy 1, language 0, brevity 0.5"
    assert in_language(scores, catalogue=catalogue_of("ja")) == "正解 1、言語 0、brevity 0.5"


def test_right_answers_with_a_reflection_word_are_called_no_more_than_that() -> None:
    """At step 1 they are the untrained model's habit; and a mark of the judge is no verdict of the statistics."""
    data = json.loads(reader_json(reader(case(is_aha=True), case(seed=2, is_aha=False)), catalogue={}))
    assert [entry["insight"] for entry in data["cases"]] == ["right, with a reflection word", "others"]
    assert {"Mark", "Reflection"} <= {one["title"] for one in data["filters"]}
