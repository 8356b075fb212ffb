"""How often the host waits for the GPU, by what a person turns: one more sampled token, text layer or micro-batch."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from families.build import build
from families.family import TEXT_SIZES
from logical.findings import Findings
from logical.gpu import logical_gpu

from vlm_rl.commands.build import Experiment, composed
from vlm_rl.commands.build import build as built
from vlm_rl.models import parts
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step4_policy_update import Stepper
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine

WORDS = ("experiment=smoke", "model.name=model", "dataset.max_new_tokens=3", "algorithm=grpo", "algorithm.num_minibatches=1")
ROWS = ("dataset.source.train_rows=2", "dataset.source.val_rows=1", "dataset.source.test_rows=1")
TWO_PROMPTS = ("dataset.batch_size=2", "algorithm.group_size=2")
ONE_PROMPT = ("dataset.batch_size=1", "algorithm.group_size=4")  # all sequences are as long: nothing is padded
SAMPLED, LONGER = 3, 5  # tokens
_LINE = re.compile(r"(?P<what>.*?) @ (?P<file>.*?):\d+ in (?P<function>[^,]*)")


def by_place(counter: Counter[str]) -> Counter[str]:
    """Counts by file and function, without the numbers of lines, which any edit would change."""
    found: Counter[str] = Counter()
    for text, count in counter.items():
        told = _LINE.match(text.split(" | ")[-1])
        assert told is not None, text
        found[f"{told['file']}:{told['function']}: {told['what']}"] += count
    return found


def waited(findings: Findings, *, do: Callable[[], object]) -> Counter[str]:
    """Every wait and every copy that doing something takes; a copy from memory that is not pinned waits as well."""
    before = findings.host_values + findings.in_libraries + findings.copies
    do()
    return by_place(findings.host_values + findings.in_libraries + findings.copies - before)


@contextmanager
def on_gpu(*words: str, layers: int) -> Iterator[tuple[Experiment, Findings]]:
    """An experiment with a text model of so many layers, whose responses never end by themselves."""
    with mock.patch.dict(TEXT_SIZES, num_hidden_layers=layers):
        build("qwen2_5_vl", Path("model"))
    endless = mock.patch.object(Policy, "stop_ids", property(lambda _: [-1]))
    with endless, logical_gpu() as findings:
        experiment = built(composed([*WORDS, *ROWS, *words]))
        try:
            yield experiment, findings
        finally:
            experiment.reward.close()


def sampling(*, layers: int) -> tuple[Counter[str], Counter[str]]:
    """Waits of sampling SAMPLED tokens, and those of LONGER - SAMPLED more."""
    with on_gpu(*TWO_PROMPTS, layers=layers) as (experiment, findings):
        module, policy = experiment.module, experiment.policy
        queries = module.data_flow.queries(0).to(policy.device)
        engine = HuggingFaceEngine(forward_batch_size=256)
        engine.load(policy)
        settings, seeds = module._collection._settings, module._collection.seeds(queries)
        counts = [
            waited(findings, do=lambda n=n: engine.generate(queries, replace(settings, max_new_tokens=n), seeds))
            for n in (SAMPLED, LONGER)
        ]
    return counts[0], counts[1] - counts[0]


def updating() -> tuple[Counter[str], int]:
    """Waits of an update cut into a micro-batch for each response that are not there in one of a single micro-batch; and of how
    many more micro-batches they are."""
    with on_gpu(*ONE_PROMPT, layers=2) as (experiment, findings):
        module, policy = experiment.module, experiment.policy
        queries = module.data_flow.queries(0).to(policy.device)
        trajectory = module.generate_trajectory(queries, module.collect_responses(queries)).trajectory
        counts = []
        for most in (10**6, 1):
            policy.optimization = replace(policy.optimization, micro_batch_tokens=most)
            counts.append(waited(findings, do=lambda: module._update.update(trajectory, policy, stepper(policy), step=0)))
    return counts[1] - counts[0], len(trajectory) - 1


def counted() -> Findings:
    """All of it. What depends on the number of layers is a fault."""
    told = Findings()
    (few, more), (of_many_layers, _) = sampling(layers=2), sampling(layers=4)
    for place, count in (of_many_layers - few).items():
        told.faults[f"{count} more waits or copies with 4 layers than with 2: {place}"] += 1
    told.for_one_token = per(more, LONGER - SAMPLED)
    told.for_one_micro_batch = per(*updating())
    return told


def per(counts: Counter[str], number: int) -> Counter[str]:
    """For one of so many."""
    assert all(count % number == 0 for count in counts.values()), counts
    return Counter({place: count // number for place, count in counts.items()})


def stepper(policy: Policy) -> Stepper:
    """Without Lightning."""
    settings = policy.optimization
    optimizer = settings.optimizer(parts.trained(policy.vlm), scale=1.0)
    schedule = settings.schedule(optimizer, num_updates=10)
    return Stepper(
        backward=torch.Tensor.backward,
        optimizer=optimizer,
        step=optimizer.step,
        schedule=schedule,
    )
