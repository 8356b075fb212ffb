"""docs/new_algorithm.md is right: an algorithm from outside the package in under 40 lines has all that the shipped ones have."""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import every_algorithm
import pytest
import test_properties as properties
import torch
import trl_cases
from hydra.utils import instantiate
from safetensors.torch import load_file
from trajectories import bare, mini_batch

from vlm_rl.algorithms.policy_gradient import PolicyGradient
from vlm_rl.commands.build import composed

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_algorithm"
PAGE = (ROOT / "docs" / "new_algorithm.md").read_text(encoding="utf-8")
FILES = (EXAMPLE / "cispo.py", EXAMPLE / "conf" / "algorithm" / "cispo.yaml")
SMALL = (
    "num_threads=1",
    "dataset.source.train_rows=8",
    "dataset.source.val_rows=2",
    "dataset.source.test_rows=2",
    "dataset.batch_size=4",
    "dataset.epochs=1",
    "dataset.max_new_tokens=12",
    "evaluation.scheme.splits=[val]",
    "evaluation.pass_at_1_samples=1",
    "algorithm.group_size=4",
    "reward=random",
    "rollout.temperature=4",  # the tiny model's first words are always the same
)


@pytest.fixture(scope="module")
def built() -> PolicyGradient:
    """As `algorithm=cispo` builds it where Python and Hydra look into the example's folders."""
    cfg = composed(["algorithm=cispo"], searchpath=[f"file://{EXAMPLE / 'conf'}"])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        made: PolicyGradient = instantiate(cfg.algorithm)
    return made


def test_the_files_of_the_page_are_these_and_have_fewer_than_40_lines_together() -> None:
    assert sum(len(file.read_text().splitlines()) for file in FILES) < 40
    blocks = re.findall(r"^```(?:python|yaml)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert blocks == [file.read_text(encoding="utf-8") for file in FILES]


def test_the_page_names_every_method_that_there_is_to_override() -> None:
    table = PAGE.partition("## What you may override")[2].partition("\n##")[0]
    # for use, or for no policy gradient
    loop = {"check", "num_updates", "queries_of_step", "learns_from_own_responses", "groups", "loss"}
    names = {name for name in dir(PolicyGradient) if not name.startswith("_")}
    methods = {name for name in names if callable(value := getattr(PolicyGradient, name)) or isinstance(value, property)}
    assert methods - loop | {"min_group_size"} == set(re.findall(r"`(\w+)", "".join(re.findall(r"^\| (`.*?) \|", table, re.M))))


def test_the_weight_is_capped_and_every_token_keeps_its_gradient(built: PolicyGradient) -> None:
    """Eight responses of one token, four of them right: advantages of +-0.5 / (sqrt(2 / 7) + 1e-4); the first ratio is e^2 = 7.4 > 5."""
    trajectory = bare([1] * 8, scores=[1.0, 0.0] * 4, old=torch.full((8, 1), -3.0))
    batch = mini_batch(trajectory, advantages=built.advantages(trajectory), weights=torch.full((8, 1), 0.125))
    logprobs = torch.tensor([[-1.0], *[[-3.0]] * 7], requires_grad=True)
    result = built.loss(logprobs, batch)
    result.loss.backward()
    advantage = 0.5 / (math.sqrt(2 / 7) + 1e-4)  # four of eight are right: variance 8 * 0.25 / 7
    assert logprobs.grad is not None
    assert logprobs.grad[:3, 0].tolist() == pytest.approx([-5 * advantage / 8, advantage / 8, -advantage / 8], rel=1e-5)
    assert result.clipped is not None and result.clipped[:, 0].tolist() == [True] + [False] * 7


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("seed", range(4))
def test_loss_and_gradient_are_those_of_trl(built: PolicyGradient, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(every_algorithm, "shipped", lambda name: built)
    monkeypatch.setitem(trl_cases.PAIRS, "cispo", trl_cases.Pair(algorithm="cispo", settings={}, trl={"loss_type": "cispo"}))
    case = trl_cases.random_case(
        "cispo", seed=seed, clip_low=1.0, clip_high=0.1, trl={"epsilon_high": 1.1}
    )  # theirs is the weight itself
    trl_cases.assert_equal(trl_cases.our_outcome(case), trl_cases.their_outcome(case))
    clipped = trl_cases.our_loss(case, case.model.logprobs()).clipped
    assert clipped is not None and bool(clipped.any()) == (case.ours.num_updates > 1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "holds",
    [
        properties.test_the_order_of_rows_only_orders_the_results,
        properties.test_padding_and_what_stands_in_it_do_not_count,
        properties.test_what_all_responses_to_a_query_get_does_not_matter,
        properties.test_a_response_without_tokens_has_no_share_in_the_loss,
        properties.test_a_batch_without_any_token_is_worth_nothing,
        properties.test_when_all_are_cut_off_and_masked_nothing_is_learned,
        properties.test_equal_scores_teach_exactly_nothing,
        properties.test_a_group_of_equal_scores_teaches_exactly_nothing_whatever_the_others_do,
        properties.test_the_losses_and_gradients_of_micro_batches_add_up_to_those_of_the_whole,
    ],
)
def test_it_has_the_properties_of_the_shipped_ones(
    built: PolicyGradient, monkeypatch: pytest.MonkeyPatch, holds: Callable[..., None]
) -> None:
    monkeypatch.setattr(every_algorithm, "shipped", lambda name: built)
    holds(name="cispo")


def typed_lines() -> list[str]:
    """The trainings that the page tells people to type."""
    return [line for line in PAGE.splitlines() if line.startswith("PYTHONPATH=. vlm-rl-train ")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that the command of the page makes, small, in a folder that holds nothing but the two files."""
    folder = tmp_path_factory.mktemp("mine")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (line,) = (line for line in typed_lines() if "experiment=smoke" in line)
    path, _, *words = shlex.split(line)
    environment = os.environ | dict([path.split("=")]) | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "train.py"), *words, *SMALL]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (folder / "outputs" / "try").glob("algorithm-cispo*/seed-0")
    return made


@pytest.mark.slow
def test_it_trains_by_the_command_of_the_page_from_another_folder(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["algorithm"], manifest["config"]["algorithm"]["_target_"]) == (
        "finished",
        "cispo",
        "cispo.Cispo",
    )
    steps = [line for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if line["event"] == "train"]
    assert [line["gradient_steps"] for line in steps] == [2, 4]
    assert all(line["policy/gradient_norm"] > 0 and math.isfinite(line["policy/loss"]) for line in steps)
    assert steps[1]["policy/ratio"] != 1  # it moved
    adapter = load_file(sorted(run.glob("checkpoints/*/adapter_model.safetensors"))[-1])
    moved = [float(weight.abs().max()) for name, weight in adapter.items() if "lora_B" in name]  # 0 before training
    assert moved
    assert min(moved) > 0


def test_the_study_of_the_page_is_judged_against_grpo_and_takes_options_by_a_word() -> None:
    (line,) = (line for line in typed_lines() if "experiment=algorithms" in line)
    assert "algorithm=cispo,grpo" in line
    words = [word for word in shlex.split(line)[2:] if not word.startswith(("hydra.searchpath", "algorithm="))]
    words += ["algorithm=cispo", "algorithm/dynamic_sampling=dapo", "algorithm/rollout_correction=truncate"]
    cfg: Any = composed(words, searchpath=[f"file://{EXAMPLE / 'conf'}"])
    assert (cfg.evaluation.scheme.endpoint.reference, cfg.algorithm._target_, cfg.study) == ("grpo", "cispo.Cispo", "cispo")
    assert instantiate(cfg.algorithm.dynamic_sampling).metric == "accuracy"
    assert instantiate(cfg.algorithm.rollout_correction).level == "token"
