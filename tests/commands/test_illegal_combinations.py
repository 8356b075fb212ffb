"""Keys that do not go together are an error that names them and the fix, before a data set is opened or a model loaded."""

import re
from dataclasses import dataclass

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig
from refusing import checked, refusal

from vlm_rl.commands.build import build, composed

pytestmark = pytest.mark.slow

NOWHERE = ("model.name=/nowhere", "dataset=jsonl", "dataset.source.folder=/nowhere")  # whatever is loaded fails by this name


@dataclass(frozen=True, kw_only=True)
class Illegal:
    """What is typed, words of the message, and the overrides that it proposes, each of which mends it."""

    typed: str
    told: str
    fixes: tuple[str, ...]


COMBINATIONS = (
    Illegal(
        typed="algorithm=sft bottleneck=training_accuracy dataset.epochs=9",
        told="SupervisedFineTuning learns from worked solutions: it has no training accuracy",
        fixes=("bottleneck=none",),
    ),
    Illegal(
        typed="bottleneck=training_accuracy dataset.epochs=6",
        told="a run can end early after epoch 6 at the earliest, and dataset.epochs=6",
        fixes=("dataset.epochs=7", "bottleneck=none"),
    ),
    Illegal(
        typed="algorithm=grpo algorithm.group_size=1",
        told="algorithm.group_size=1, but GroupRelativePolicyOptimization compares responses to one query",
        fixes=("algorithm.group_size=2",),
    ),
    Illegal(
        typed="algorithm=sft algorithm.group_size=4",
        told="algorithm.group_size=4; it is 1: a row has one solution",
        fixes=("algorithm.group_size=1",),
    ),
    Illegal(
        typed="algorithm=sft rollout=huggingface",
        told="SupervisedFineTuning learns from worked solutions, but rollout.engine=HuggingFaceEngine would have it imitate",
        fixes=("rollout=solutions",),
    ),
    Illegal(
        typed="algorithm=grpo rollout=solutions",
        told="learns from what the policy itself answers, but rollout=solutions",
        fixes=("rollout=huggingface", "algorithm=sft"),
    ),
    Illegal(
        typed="algorithm/dynamic_sampling=dapo",
        told="algorithm/dynamic_sampling keeps groups whose responses differ, but algorithm.group_size=1 makes no groups",
        fixes=("algorithm.group_size=8", "algorithm.dynamic_sampling=null"),
    ),
    Illegal(
        typed="algorithm=dapo reward=random",
        told="algorithm.dynamic_sampling.metric=accuracy keeps groups that are right and wrong, but with reward.accuracy_weight=0",
        fixes=("algorithm.dynamic_sampling.metric=score",),
    ),
    Illegal(
        typed="algorithm=sft algorithm/dynamic_sampling=dapo",
        told="no config key 'algorithm/dynamic_sampling' with what was chosen. It belongs to algorithm=dapo",
        fixes=("algorithm=dapo", "algorithm=grpo"),
    ),
    Illegal(
        typed="algorithm=sft algorithm.kl_loss_coef=0.1",
        told="no config key 'algorithm.kl_loss_coef' with what was chosen. It belongs to algorithm=dapo",
        fixes=("algorithm=rloo", "algorithm=reinforce_pp"),
    ),
    Illegal(
        typed="algorithm=grpo algorithm.score_at=last_token",
        told="no config key 'algorithm.score_at' with what was chosen",
        fixes=("algorithm=reinforce_pp",),
    ),
    Illegal(
        typed="algorithm=grpo algorithm.rollout_correction.max_ratio=3",
        told="no config key 'algorithm.rollout_correction.max_ratio' with what was chosen",
        fixes=("algorithm/rollout_correction=mask", "algorithm/rollout_correction=truncate"),
    ),
    Illegal(
        typed="algorithm=dapo algorithm/dynamic_sampling=null",
        told="switched off with dots: algorithm.dynamic_sampling=null",
        fixes=("algorithm.dynamic_sampling=null",),
    ),
    Illegal(
        typed="algorithm=grpo algorithm.dynamic_sampling=true",
        told="algorithm.dynamic_sampling=True puts a bare value where a config of its own belongs",
        fixes=("algorithm/dynamic_sampling=dapo", "algorithm.dynamic_sampling=null"),
    ),
    Illegal(
        typed="algorithm=grpo algorithm.rollout_correction=truncate",
        told="algorithm.rollout_correction=truncate puts a bare value where a config of its own belongs",
        fixes=("algorithm/rollout_correction=truncate", "algorithm/rollout_correction=none"),
    ),
    Illegal(
        typed="algorithm=gspo algorithm/rollout_correction=truncate",
        told="algorithm.rollout_correction.level=token corrects single tokens, but Gspo has one ratio for the whole response",
        fixes=("algorithm.rollout_correction.level=sequence",),
    ),
    Illegal(
        typed="+reward/term@reward.terms.truncation=truncation",
        told="reward.terms.truncation is against long responses, but with algorithm.score_at=eos those that were cut off",
        fixes=("algorithm.score_at=last_token", "reward.terms.truncation.weight=0"),
    ),
    Illegal(
        typed="+reward/term@reward.terms.length=length",
        told="reward.terms.length is against long responses, but with algorithm.score_at=eos those that were cut off",
        fixes=("algorithm.score_at=last_token", "reward.terms.length.weight=0"),
    ),
    Illegal(
        typed="algorithm=dapo reward.terms.length.term.buffer_share=20",
        told="buffer_share=20 is no share of the longest response",
        fixes=("reward.terms.length.term.buffer_share=0.2",),
    ),
    Illegal(
        typed="algorithm=grpo algorithm.num_minibatches=3",
        told="algorithm.num_minibatches=3 does not divide the 1024 responses of a generation step (dataset.batch_size x algorithm.group",
        fixes=(),  # "The nearest that do: 2, 4."
    ),
    Illegal(
        typed="algorithm=sft dataset.batch_size=24",
        told="ppo_batch_size=16 does not divide dataset.batch_size=24. The nearest that do: 8, 12.",
        fixes=("algorithm.num_minibatches=2",),
    ),
)


def begin(cfg: DictConfig) -> None:
    """As train.py does."""
    build(cfg, command="train")


def mended(words: list[str], fix: str) -> list[str]:
    """The words with the fix in the place of what it contradicts."""
    key = fix.split("=")[0].replace("/", ".")
    return [word for word in words if word.split("=")[0].lstrip("+").replace("/", ".") != key] + [fix]


@pytest.mark.parametrize("illegal", COMBINATIONS, ids=lambda illegal: illegal.typed)
def test_what_does_not_go_together_is_named_with_a_fix_that_mends_it(illegal: Illegal, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal([*NOWHERE, *illegal.typed.split()], monkeypatch, begin=begin)
    assert illegal.told in message
    assert "/nowhere" not in message
    for fix in illegal.fixes:
        assert re.search(rf"{re.escape(fix)}(?![\w])", message)
        cfg = composed([*NOWHERE, *mended(illegal.typed.split(), fix)])
        checked(cfg)
        instantiate(cfg.reward).close()


def test_what_does_go_together_gets_as_far_as_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above sees whether something was loaded."""
    assert "There is no folder /nowhere" in refusal([*NOWHERE, "algorithm=grpo"], monkeypatch, begin=begin)


@pytest.mark.parametrize(
    "typed",
    ["algorithm=grpo dataset.batch_size=126 algorithm.num_minibatches=3", "dataset.batch_size=10 dataset.ppo_batch_size=2"],
)
def test_the_nearest_numbers_that_are_proposed_divide(typed: str) -> None:
    checked(composed(typed.split()))
