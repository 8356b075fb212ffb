import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_study
from hand_runs import ENDPOINT, records_of
from hand_training import run_of
from usual import usual_settings

from vlm_rl.evaluation.reflection import ReflectionRule, Substrings, WholeWords
from vlm_rl.reports.page.reader import Reader, case_of, marked_parts, page_data, reader_of, script_json, visible
from vlm_rl.reports.phrase import catalogue_of, in_language, say
from vlm_rl.reports.reading.completions import Completion

HOSTILE = "</script><script>alert(1)</script> <!-- & \u2028\u2029\u202e\u0000 \ud800 ]]>"


def completion(**changes: Any) -> Completion:
    values: dict[str, Any] = dict.fromkeys([field.name for field in fields(Completion)], "")  # of what no test looks at
    values |= {"arm": "grpo", "run": run_of(seed=1), "phase": "training", "split": "train", "epoch": 0.1, "generation_steps": 7}
    values |= {"image_ids": ("a", "b"), "question": "How long is $AC$?", "answer": "5", "response": "Wait, 5."}
    values |= {"num_characters_left_out": 0, "sample": 0, "verdict": "correct", "score": None, "rewards": {"accuracy": 1.0}}
    return Completion(**values | {"finish_reason": "stop", "response_length": 3, "is_aha": True} | changes)


def shown(*completions: Completion, language: str = "en") -> dict[str, Any]:
    """What the script on the page reads."""
    cases = tuple(map(case_of, completions))
    reader = Reader(note=say("note"), cases=cases, images={"a": b"\x89PNG"})
    data: dict[str, Any] = json.loads(script_json(page_data(reader, catalogue=catalogue_of(language))))
    return data


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
    assert ([word for word, is_marked in parts if is_marked], "".join(word for word, _ in parts)) == (marked, text)
    assert sum(rule.count(text).values()) == len(marked)


def test_the_data_block_can_neither_end_its_script_element_nor_lose_a_character() -> None:
    text = script_json({"question": HOSTILE})
    assert text.isascii() and not set("<>&") & set(text)
    assert json.loads(text) == {"question": HOSTILE}
    (case,) = shown(completion(question=HOSTILE, answer=HOSTILE, response=HOSTILE))["cases"]
    seen = visible(HOSTILE)
    assert (case["question"], case["answer"], case["parts"]) == (seen, seen, [[seen, False]])


def test_control_characters_are_shown_as_signs_and_line_breaks_stay() -> None:
    assert visible("a\u0000b\u001b[0m\r\n\tc\ud800\u007f\u0085\u00a0") == "a␀b␛[0m␍\n\tc\ufffd\ufffd\ufffd\u00a0"


def test_a_case_says_in_the_language_of_the_page_where_it_comes_from_and_carries_the_pictures_that_we_have() -> None:
    trained = completion(num_characters_left_out=9, score=0.5)
    evaluated = completion(phase="evaluation", split="val", epoch=2.0, is_aha=False, finish_reason="length", rewards={})
    data = shown(trained, evaluated)
    first, second = data["cases"]
    expected = {"title": "grpo, seed 1, step 7, train", "arm": "grpo", "seed": 1, "phase": "training", "at": "step 7"}
    expected |= {"split": "train", "verdict": "correct", "aha": True, "insight": "right, with a reflection word"}
    expected |= {"scores": "accuracy 1, weighted sum 0.5", "question": "How long is $AC$?", "answer": "5", "images": ["a"]}
    expected |= {"parts": [["Wait", True], [", 5.", False]], "left_out": "… and 9 more characters."}
    assert first | expected | {"length": "3 tokens, ended by itself"} == first
    expected = {"title": "grpo, seed 1, epoch 2, val", "phase": "evaluation", "insight": "others", "left_out": ""}
    expected |= {"scores": "none: evaluations are judged, not rewarded", "length": "3 tokens, cut off at the limit"}
    assert second | expected == second
    assert data["images"] == {"a": "data:image/png;base64,iVBORw=="}  # once; of b there is no picture
    assert data["words"]["count"] == "Shown: {shown} of {found}."
    assert {"Mark", "Reflection"} <= {one["title"] for one in data["filters"]}  # a mark of the judge is no verdict
    japanese = shown(trained, language="ja")
    assert (japanese["labels"]["verdict"]["correct"], japanese["cases"][0]["at"]) == ("正解", "ステップ 7")


def test_reward_terms_of_ours_are_translated_and_those_of_others_keep_their_names() -> None:
    rewards = {"accuracy": 1.0, "language": -0.0, "brevity": 0.5}
    scores = case_of(completion(rewards=rewards))["scores"]
    japanese = in_language(scores, catalogue=catalogue_of("ja"))
    assert (scores, japanese) == ("accuracy 1, language 0, brevity 0.5", "正解 1、言語 0、brevity 0.5")


def test_pictures_are_carried_in_the_order_of_the_cases_until_they_are_full(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s", seeds=(0,), epochs=1, questions=4)
    (study / "images").mkdir()
    pictures = ["image-0000", "image-0001"]
    for key in pictures:
        (study / "images" / f"{key}.png").write_bytes(b"0123456789")
    for most, count in ((20, 2), (19, 1), (9, 0)):
        size = usual_settings(reader={"image_bytes": most}).reader
        reader = reader_of(records_of(study), endpoint=ENDPOINT, size=size)
        assert reader.images == dict.fromkeys(pictures[:count], b"0123456789")
        assert (f"{2 - count} pictures did not fit" in reader.note) is (most < 20)
