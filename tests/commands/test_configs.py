"""Every config composes; what can be built without a download is built; the paper's numbers are the paper's."""

from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from vlm_rl.arm_hash import arm_of, vanilla_of
from vlm_rl.commands.build import composed
from vlm_rl.commands.checks import refuse
from vlm_rl.commands.errors import flat
from vlm_rl.commands.paths import CONF_DIR

pytestmark = pytest.mark.slow

GROUPS = (
    *("model", "dataset", "reward", "algorithm", "rollout", "evaluation", "trainer", "logger", "seeds", "experiment", "alerts"),
    "bottleneck",
    *("algorithm/dynamic_sampling", "algorithm/rollout_correction", "evaluation/image"),
)
OFFLINE = ("dataset", "reward", "algorithm", "rollout", "evaluation", "trainer")
SETTINGS = sorted(Path(CONF_DIR, "experiment", "settings").glob("*/*.yaml"))  # of single algorithms
PAPER = [f"{data}_{model}" for data in ("geo", "mm_math") for model in ("qwen2_vl_7b", "qwen2_5_vl_7b")]


def config(*overrides: str) -> dict[str, Any]:
    """The resolved config but for what names the run on disk."""
    cfg = composed([*overrides, "study=s"])
    cfg.logger = None
    resolved: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return resolved


def options(*groups: str) -> list[tuple[str, str]]:
    """Every file of the groups, those in folders below as groups of their own."""
    files = [(group, file) for group in groups for file in sorted(Path(CONF_DIR, group).glob("*.yaml"))]
    return [(group, file.stem) for group, file in files]


def override(group: str, option: str) -> list[str]:
    """What a person types; data of one's own needs to be named."""
    needed = {"jsonl": "folder", "image_folder": "folder", "parquet": "folder", "hub": "path"}
    return [f"{group}={option}", *([f"dataset.source.{needed[option]}=somewhere"] if option in needed else [])]


@pytest.mark.parametrize(("group", "option"), options(*GROUPS))
def test_every_option_composes_with_the_right_types_and_is_built_where_no_download_is_needed(group: str, option: str) -> None:
    cfg = composed([*override(group, option), "study=s"])
    refuse("train", "settings", cfg)
    if group not in OFFLINE:
        return
    parts = {"rollout": ["engine", "evaluation_engine"], "evaluation": ["scheme", "reflection"]}.get(group)
    for node in [cfg[group][part] for part in parts] if parts else [cfg[group]]:
        built = instantiate(node)
        getattr(built, "close", lambda: None)()


def test_every_reward_term_can_be_added() -> None:
    others = [option for _, option in options("reward/term") if option != "language"]  # which is always there
    reward = instantiate(composed([f"+reward/term@reward.terms.{term}={term}" for term in others]).reward)
    reward.close()
    assert len(reward.weights) == len(("accuracy", "language", *others))


def test_model_and_dataset_alone_compose_to_the_papers_experiment() -> None:
    assert config("model=qwen", "dataset=geo") == config("experiment=geo_qwen2_5_vl_7b")


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize("full", [False, True])
def test_the_papers_hyper_parameters(name: str, full: bool) -> None:
    cfg = config(f"experiment={name}{'_full' if full else ''}")
    model, data, algorithm = cfg["model"], cfg["dataset"], cfg["algorithm"]
    assert (model["lora"] is None) == full
    assert model["optimization"]["learning_rate"] == (5e-6 if full else 2e-5)
    assert model["optimization"]["warmup_share"] == 0.1
    assert model["freeze"] == ["vision", "connector"]
    assert model["name"] == ("Qwen/Qwen2.5-VL-7B-Instruct" if "2_5" in name else "Qwen/Qwen2-VL-7B-Instruct")
    assert (data["batch_size"], data["max_new_tokens"]) == (896, 2048)
    assert (algorithm["num_minibatches"], algorithm["group_size"], algorithm["ppo_epochs"]) == (32, 1, 1)
    assert (algorithm["clip_low"], algorithm["clip_high"], algorithm["kl_loss_coef"]) == (0.2, 0.2, 0.001)
    assert (algorithm["gamma"], algorithm["kl_reward_coef"]) == (1.0, 0.0)
    assert (cfg["rollout"]["temperature"], cfg["rollout"]["top_p"]) == (1.0, 1.0)
    rows, epochs, steps = (2101, 50, 100) if name.startswith("geo") else (5000, 30, 150)
    assert data["epochs"] == epochs
    assert rows // data["batch_size"] * epochs == steps


def test_the_pilot_takes_four_optimizer_steps_of_32_responses_and_sft_takes_batches_of_16() -> None:
    assert config()["algorithm"]["num_minibatches"] == 4
    assert config("algorithm=sft")["algorithm"]["num_minibatches"] == 128 / 16
    assert config("algorithm=sft", "model=qwen", "dataset=geo")["algorithm"]["num_minibatches"] == 896 / 16


@pytest.mark.parametrize(("group", "seeds"), [("paper", 3), ("five", 5), ("ten", 10)])
def test_seed_groups_are_the_first_integers(group: str, seeds: int) -> None:
    text = OmegaConf.load(Path(CONF_DIR, "seeds", f"{group}.yaml"))
    assert text.hydra.mode == "MULTIRUN"
    assert text.hydra.sweeper.params.seed == ",".join(map(str, range(seeds)))


def test_experiments_compose_as_a_list() -> None:
    both, study = config("experiment=[smoke,quickstart]"), config("experiment=quickstart")
    assert both["study"] == "s"  # typed
    assert both["dataset"]["source"] == study["dataset"]["source"] | {"train_rows": 16}
    assert (both["algorithm"]["num_minibatches"], both["num_threads"]) == (2, 1)  # smoke's, quickstart's
    last = config("experiment=[quickstart,smoke]")
    assert last["dataset"]["source"]["val_rows"] == 8 != both["dataset"]["source"]["val_rows"]


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_what_an_experiment_sets_for_one_algorithm_reaches_that_algorithm(file: Path) -> None:
    """Hydra says nothing of a file that no algorithm is called by."""
    assert file.stem in {option for _, option in options("algorithm")}
    assert (Path(CONF_DIR, "per_algorithm") / file.parent.name).with_suffix(".yaml").is_file()
    said = flat(OmegaConf.to_container(OmegaConf.load(file)))
    composition = flat(config(f"experiment={file.parent.name}", f"algorithm={file.stem}"))
    assert said.items() <= composition.items()


def test_a_package_directive_is_the_very_first_line() -> None:
    for file in Path(CONF_DIR).rglob("*.yaml"):
        assert not any("@package" in line for line in file.read_text().splitlines()[1:]), file


@pytest.mark.parametrize("plan", ["reference=sft", "smallest_effect=0.05", "planned_seeds=5", "planned_looks=2"])
def test_a_declared_plan_is_no_other_arm_and_needs_no_other_vanilla_model(plan: str) -> None:
    usual, planned = config(), config(f"evaluation.scheme.endpoint.{plan}")
    assert usual["evaluation"]["scheme"]["endpoint"] != planned["evaluation"]["scheme"]["endpoint"]
    assert (arm_of(usual), vanilla_of(usual)) == (arm_of(planned), vanilla_of(planned))
    judged_elsewhere = config("evaluation.scheme.endpoint.setting=pass@8_t1.0")
    assert arm_of(usual) != arm_of(judged_elsewhere)
