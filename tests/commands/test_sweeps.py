"""Sweeps over groups whose files have different keys, and sweeps of which several jobs fail."""

import sys
from pathlib import Path

import pytest
from forking import Forking
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from tiny_commands import BRIEF

from vlm_rl.commands.errors import message_of
from vlm_rl.commands.job_log import LOG, innermost, portable
from vlm_rl.commands.preflight_jobs import Job, jobs
from vlm_rl.commands.swept_groups import left_to_jobs

pytestmark = pytest.mark.slow


def composed_jobs(typed: str) -> list[Job]:
    """The jobs of a sweep, as Hydra composes them."""
    return sorted(jobs([*left_to_jobs(typed.split()), "-m"]), key=lambda job: job.overrides)


def told(typed: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of a sweep that cannot be composed."""
    monkeypatch.setattr(sys, "argv", ["train.py", *left_to_jobs(typed.split()), "-m"])
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind; the message is what is looked at
        composed_jobs(typed)
    assert isinstance(caught.value, Exception)
    message = message_of(caught.value)
    assert message is not None
    return message


def test_a_key_that_all_swept_algorithms_have_and_the_default_has_not() -> None:
    found = composed_jobs("algorithm=grpo,dapo algorithm.std_epsilon=1e-6 study=a")
    assert [job.overrides[0] for job in found] == ["algorithm=dapo", "algorithm=grpo"]
    assert [job.cfg.algorithm.std_epsilon for job in found] == [1e-6, 1e-6]
    (single,) = jobs(["algorithm=dapo", "algorithm.std_epsilon=1e-6", "study=a"])
    assert found[0].overrides == ["algorithm=dapo", "algorithm.std_epsilon=1e-06", "study=a"]
    assert found[0].cfg == single.cfg


@pytest.mark.parametrize(
    ("typed", "key", "value"),
    [
        ("algorithm=grpo,dapo algorithm.std_epsilon=1e-6,1e-4", "algorithm.std_epsilon", None),
        ("algorithm.std_epsilon=1e-6 algorithm=grpo,gspo", "algorithm.std_epsilon", 1e-6),  # in any order
        ("algorithm=grpo,dapo ++algorithm.std_epsilon=1e-6", "algorithm.std_epsilon", 1e-6),
        ("algorithm=dapo,grpo +algorithm.note=mine", "algorithm.note", "mine"),
        ("dataset=jsonl,parquet dataset.source.files.train=[a.x,b.x]", "dataset.source.files.train", ["a.x", "b.x"]),
        ("dataset=jsonl,parquet dataset.source.columns={images:null}", "dataset.source.columns.images", None),
        ("experiment=smoke,quickstart dataset.batch_size=4", "dataset.batch_size", 4),
        ("experiment=mm_math_qwen2_vl_7b,geo_qwen2_vl_7b dataset.source.folder=/d", "dataset.source.folder", "/d"),
    ],
)
def test_each_job_composes_with_its_own_file(typed: str, key: str, value: object) -> None:
    found = composed_jobs(typed)
    assert len(found) >= 2
    for job in found:
        node, last = key.rsplit(".", 1)
        assert last in OmegaConf.select(job.cfg, node)
        if value is not None:
            assert OmegaConf.select(job.cfg, key) == value


def test_a_part_of_a_swept_algorithm_can_be_chosen() -> None:
    found = composed_jobs("algorithm=grpo,rloo algorithm/rollout_correction=truncate")
    assert [job.cfg.algorithm.rollout_correction._target_ is not None for job in found] == [True, True]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "algorithm=grpo,rloo algorithm.std_epsilon=1e-6",
            "algorithm=rloo of this sweep has no config key 'algorithm.std_epsilon'",
        ),
        (
            "algorithm=rloo,grpo,sft algorithm.std_epsilon=1,2",
            "algorithm=rloo and algorithm=sft of this sweep has no config key",
        ),
        (
            "dataset=jsonl,parquet dataset.source.columns.solution=null",
            "dataset.source.columns.solution=null cannot be set for all",
        ),
        ("dataset=micro_geometry,jsonl dataset.source.folder=.", "dataset=micro_geometry of this sweep has no config key"),
    ],
)
def test_a_key_that_only_one_has_is_refused_naming_the_other(typed: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(typed, monkeypatch).startswith(said)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("algorithm=grpo,dapo algorithm.std_epsilonn=1", "There is no config key 'algorithm.std_epsilonn'"),
        ("algorithm=grpo,dapo algorithm.score_at=eos", "It belongs to algorithm=reinforce_pp"),
    ],
)
def test_a_key_that_none_has_is_told_as_ever(typed: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said in told(typed, monkeypatch)


@pytest.mark.parametrize(
    "typed",
    [
        "seed=0,1 algorithm=grpo algorithm.std_epsilon=1e-6 -m",  # no group is swept
        "algorithm=grpo,dapo trainer.devices=2 hydra.launcher.n_jobs=2 study=a -m",  # what a launcher must know before
        "algorithm=grpo,dapo ~reward.terms.language lr=1e-5 --config-dir=x model=tiny -m",
        "algorithm=grpo,dapo algorithm.std_epsilon=1,2 algorithm.kl_loss_coef= -m",
        "algorithm=grpo,dapo algorithm.note=[1,2 -m",  # which Hydra itself will refuse
    ],
)
def test_other_words_stay_as_they_are(typed: str) -> None:
    assert left_to_jobs(typed.split()) == typed.split()


class Picky(Exception):
    """Cannot be made again from its text alone, as errors of some HTTP clients."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


def test_an_error_arrives_from_another_process() -> None:
    wrapped = InstantiationException("Error in call")
    wrapped.__cause__ = ValueError("lr=-1 is below 0")
    assert portable(wrapped) is innermost(wrapped) is wrapped.__cause__
    assert str(portable(Picky(code=3))) == "Picky: code 3"
    kept = KeyError("x")
    assert portable(kept) is kept


SWEPT = ("algorithm=grpo", "algorithm.group_size=1,4", "algorithm.std_epsilon=-1,1e-4", "study=s", "dry_run=rollouts", "-m")
FIRST_WORDS = [word for word in BRIEF if not word.startswith("algorithm.")]


@pytest.mark.parametrize(
    "launcher",
    [[], pytest.param(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], marks=pytest.mark.slow)],
    ids=["basic", "joblib"],
)
def test_every_failed_job_is_told_and_the_sane_one_runs(forking: Forking, tmp_path: Path, launcher: list[str]) -> None:
    finished = forking.run("train.py", [*FIRST_WORDS, *launcher, *SWEPT], cwd=tmp_path)
    assert finished.code == 2
    assert finished.err.count("Error executing job with overrides") == 3
    _, summary = finished.err.split("3 of 4 jobs failed; the others ran to their end. Each folder has a train.log:\n")
    lines = summary.splitlines()
    assert [line.split()[0] for line in lines] == ["#0", "#1", "#2"]
    assert "algorithm.group_size=1 algorithm.std_epsilon=0.0001" in lines[1]
    assert "group_size=1, but GroupRelativePolicyOptimization compares responses to one query" in lines[1]
    assert "algorithm.group_size=4 algorithm.std_epsilon=-1" in lines[2]
    assert "algorithm.std_epsilon=-1; it is 0 or more" in lines[2]
    for line in lines:
        text = (Path(line.rpartition("(")[2].rstrip(")")) / LOG).read_text()
        assert "INFO Begun: " in text and "ERROR Failed.\nTraceback" in text and "ValueError: algorithm." in text
    logs = sorted((tmp_path / "outputs" / "s").glob(f"*/seed-0/{LOG}"))
    assert len(logs) == 4
    (sane,) = (log for log in logs if "Failed." not in log.read_text())
    assert sane.read_text().splitlines()[-1].endswith("INFO Ended.")
