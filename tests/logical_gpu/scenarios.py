"""What runs on the logical GPU: whole commands as a person types them, on models and data as small as they can be."""

from dataclasses import dataclass

from families.trials import CONFIGS

SIZES = (
    "num_threads=1",
    "preflight.cache=null",
    "pictures.max_side=null",
    "dataset.batch_size=2",
    "dataset.epochs=1",
    "dataset.max_new_tokens=3",
    "algorithm.num_minibatches=1",
    "evaluation.scheme.splits=[val]",
    "reward=random",
    "parity.every=1",
    "study=s",
    "hydra.run.dir=outputs/s/run/seed-0",
    "hydra/job_logging=disabled",
    "hydra/hydra_logging=disabled",
)
TINY = (
    "experiment=smoke",
    "dataset.source.train_rows=2",
    "dataset.source.val_rows=1",
    "dataset.source.test_rows=1",
)
_SETTING = "_target_: vlm_rl.evaluation.settings.GenerationSetting, k: 1, temperature: 0.6, top_p: 0.9, num_samples: 1"
BRIEF = (f"evaluation.scheme.settings=[{{{_SETTING}}}]",)  # in place of the three of the scheme
WHOLE_SCHEME = (
    "evaluation.pass_at_1_samples=1",
    "evaluation.scheme.settings.0.k=2",
    "evaluation.scheme.settings.0.num_samples=2",
)
TWO_STEPS = ("dataset.source.train_rows=4", "algorithm.num_minibatches=2")
MIXED = ("dataset=jsonl", "dataset.source.folder=data", "dataset.max_pixels=12544")  # no picture, one and several
VARIED = ("model=tiny_untrained",)  # responses of a group differ, where those of the trained model may all be the same
BF16 = ("model.dtype=bfloat16", "model.gradient_checkpointing=true", "model.autocast=true")
FULL = ("model.lora=null", "algorithm.kl_loss_coef=0.1")  # the reference is a frozen copy
RUN = "outputs/s/run/seed-0"


@dataclass(frozen=True, kw_only=True)
class Command:
    """`python <name>.py <words>`."""

    name: str
    words: tuple[str, ...]
    stopped_after: int | None = None  # generation steps; the next command goes on


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Commands one after the other in one folder."""

    commands: tuple[Command, ...]
    family: str | None = None  # whose model lies in the folder "model"
    has_data: bool = False  # rows with no picture, one and several lie in the folder "data"
    says: str = ""  # what stands in the output if it really went the way that it is here for


def train(*words: str, stopped_after: int | None = None) -> Command:
    """A training of the tiny model."""
    settings = () if set(WHOLE_SCHEME) <= set(words) else BRIEF
    return Command(name="train", words=(*TINY, *SIZES, *settings, *words), stopped_after=stopped_after)


def of_family(name: str) -> Scenario:
    """A generation step with update and evaluations, on prompts with no picture, with one and with several."""
    model = (f"model={CONFIGS[name]}", "model.name=model", "model.dtype=float32", "model.lora.rank=4")
    words = (*model, *MIXED, *SIZES, *BRIEF, "algorithm=grpo", "algorithm.group_size=2", "dataset.batch_size=3")
    return Scenario(commands=(Command(name="train", words=words),), family=name, has_data=True)


def of_groups(algorithm: str, *words: str, stopped_after: int | None = None) -> Command:
    """A training in groups of two."""
    return train(f"algorithm={algorithm}", "algorithm.group_size=2", *words, stopped_after=stopped_after)


SELECTED = (
    *VARIED,
    "algorithm/dynamic_sampling=dapo",
    "algorithm.dynamic_sampling.metric=score",
    "dataset.source.train_rows=6",
)
GOES_ON = "Resuming from"
EVALUATE = Command(name="evaluate", words=(f"checkpoint={RUN}",))
EXPORT = Command(name="export", words=(f"checkpoint={RUN}", "folder=merged", "merge=true"))
SCENARIOS: dict[str, Scenario] = {
    "dry run": Scenario(commands=(train("dry_run=rollouts"),)),
    "training, a stop and a second training that goes on": Scenario(
        commands=(train(*TWO_STEPS, *WHOLE_SCHEME, stopped_after=1), train(*TWO_STEPS, *WHOLE_SCHEME)), says=GOES_ON
    ),
    "groups selected by the reward, a stop and a training that goes on": Scenario(
        commands=(of_groups("grpo", *SELECTED, stopped_after=1), of_groups("grpo", *SELECTED)), says=GOES_ON
    ),
    "groups selected by accuracy": Scenario(
        commands=(of_groups("dapo", *VARIED, "dataset.source.train_rows=3", "reward=accuracy"),)
    ),
    "solutions, then evaluate.py and export.py": Scenario(commands=(train("algorithm=sft"), EVALUATE, EXPORT)),
    "full fine-tuning in bfloat16 with a reference, evaluated afterwards": Scenario(
        commands=(train(*BF16, *FULL), EVALUATE), says="keeps a frozen copy"
    ),
    "bfloat16 adapters under autocast with gradient checkpointing": Scenario(commands=(train(*BF16),)),
    "vision trained, scores at the last token": Scenario(
        commands=(train("model.freeze=[]", "model.lora=null", "algorithm=reinforce_pp", "algorithm.score_at=last_token"),)
    ),
    "rollout correction of tokens": Scenario(commands=(of_groups("dr_grpo", "algorithm/rollout_correction=truncate"),)),
    "rollout correction of responses": Scenario(
        commands=(of_groups("gspo", "algorithm/rollout_correction=truncate", "algorithm.rollout_correction.level=sequence"),)
    ),
    **{f"family {name}": of_family(name) for name in ("gemma3", "qwen3_vl", "llava_onevision")},
}
# What must be found when a move to the GPU is missing: a method that then does nothing, by the name of the control.
CONTROLS = {"queries stay on the CPU": "vlm_rl.types.QueryBatch.to", "the policy stays on the CPU": "torch.nn.Module.to"}
