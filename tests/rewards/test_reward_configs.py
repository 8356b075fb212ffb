"""conf/reward composes, instantiates, and takes the overrides that the README names."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from vlm_rl.rewards.reward import Reward

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root config of three lines, so that this folder stands on conf/reward alone."""
    (tmp_path / "root.yaml").write_text(
        f"defaults:\n  - reward: accuracy\n  - _self_\nseed: 7\ndataset: {{max_new_tokens: 48}}\n"
        f"hydra: {{searchpath: ['file://{CONF}']}}\n"
    )
    return tmp_path


def composed(root: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(config_dir=str(root), version_base="1.3"):
        return compose("root", overrides=list(overrides))


def built(root: Path, *overrides: str) -> Reward:
    reward = instantiate(composed(root, *overrides).reward)
    assert isinstance(reward, Reward)
    return reward


@pytest.mark.parametrize(
    ("overrides", "weights"),
    [
        ([], {"accuracy": 1.0, "language": 1.0}),
        (["reward=accuracy_format"], {"accuracy": 1.0, "language": 1.0, "format": 0.1}),
        (["reward=random"], {"accuracy": 0.0, "random": 1.0}),
        (["reward.terms.language.weight=0.5"], {"accuracy": 1.0, "language": 0.5}),
        (["~reward.terms.language"], {"accuracy": 1.0}),
        (["+reward/term@reward.terms.length=length"], {"accuracy": 1.0, "language": 1.0, "length": 1.0}),
        (["+reward/term@reward.terms.cut=truncation"], {"accuracy": 1.0, "language": 1.0, "truncation": 1.0}),
    ],
)
def test_a_reward_is_chosen_and_changed_from_the_command_line(
    root: Path, overrides: list[str], weights: dict[str, float]
) -> None:
    assert built(root, *overrides).weights == weights


@pytest.mark.slow
def test_every_reward_file_composes_and_instantiates(root: Path) -> None:
    for path in sorted((CONF / "reward").glob("*.yaml")):
        built(root, f"reward={path.stem}")
    for path in sorted((CONF / "reward" / "term").glob("*.yaml")):
        built(root, "~reward.terms.language", f"+reward/term@reward.terms.one={path.stem}")


def test_the_root_seed_and_the_token_limit_reach_the_terms(root: Path) -> None:
    config = composed(root, "reward=random", "+reward/term@reward.terms.length=length")
    assert config.reward.terms.random.term.seed == 7
    assert config.reward.terms.length.term.max_length == 48


def test_the_judge_s_limits_stand_in_the_config(root: Path) -> None:
    config = composed(root, "reward.judge.num_workers=4")
    assert (config.reward.judge.num_workers, config.reward.judge.timeout_s) == (4, 2.0)
