"""Which reflection words a report counts when it is asked for another rule than the one that the runs were counted by."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.report import settings_of
from vlm_rl.evaluation.reflection import PAPER_REFLECTION_WORDS, ReflectionRule, Substrings, WholeWords

SUBSTRINGS = "evaluation.reflection._target_=vlm_rl.evaluation.reflection.Substrings"


def write_run(study: Path, *, arm: str, words: Sequence[str] | None) -> None:
    """No more than the manifest of a run that declares these words."""
    manifest = {"study": study.name, "variant": arm, "seed": 0, "arm": arm, "algorithm": "grpo", "status": "finished"}
    declared = {"_target_": "vlm_rl.evaluation.reflection.WholeWords", "words": words}
    folder = study / arm / "seed-0"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"config": {"evaluation": {"reflection": declared}}}))


def rule_for(study: Path, *overrides: str) -> ReflectionRule | None:
    """What `python report.py studies=[<study>] <overrides>` counts by."""
    with initialize_config_dir(CONF_DIR, version_base="1.3"):
        config = compose("report", overrides=[f"studies=[{study}]", *overrides])
    return settings_of(config, command="").reflection


def test_another_rule_counts_the_words_that_the_runs_declare(tmp_path: Path) -> None:
    for arm in "ab":
        write_run(tmp_path / "own", arm=arm, words=["hmm", "hold on"])
    write_run(tmp_path / "papers", arm="c", words=None)
    assert rule_for(tmp_path / "own", SUBSTRINGS) == Substrings(words=("hmm", "hold on"))
    assert rule_for(tmp_path / "papers", SUBSTRINGS) == Substrings(words=PAPER_REFLECTION_WORDS)
    assert rule_for(tmp_path / "own", "evaluation.reflection.words=[wait]") == WholeWords(words=("wait",))
    assert rule_for(tmp_path / "own") is None


def test_runs_that_count_different_words_need_one_list_for_another_rule(tmp_path: Path) -> None:
    write_run(tmp_path / "s", arm="a", words=["hmm"])
    write_run(tmp_path / "s", arm="b", words=None)
    with pytest.raises(ValueError, match=r"2 different lists of words.*evaluation\.reflection\.words="):
        rule_for(tmp_path / "s", SUBSTRINGS)
    assert rule_for(tmp_path / "s", SUBSTRINGS, "evaluation.reflection.words=[wait]") == Substrings(words=("wait",))
