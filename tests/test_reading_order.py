"""README names the files of the loop in the order to read them. Here they are counted, and a training step says whether any is missing."""

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import pytest
from code_lines import code_lines
from tiny_runs import small

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vlm_rl"
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Read it in an afternoon")[2].partition("\n## ")[0]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| \[([\w/]+\.py)\]\(vlm_rl/([\w/]+\.py)\) \| (\d+) \| \S", flags=re.MULTILINE)
OWN_FILES = {"reinforce_pp": ("REINFORCE++", "GRPO"), "grpo": ("GRPO", "REINFORCE++")}  # algorithm -> its heading, the other's
BEHIND_DOORS = (  # what a step runs as well, and the file of the list that is its door
    "datasets/micro_geometry/",  # dataset.py: where the rows come from
    "datasets/picture.py",  # dataset.py: how a picture is read and shrunk
    "datasets/row.py",  # dataset.py: the hash of a row's content
    "pipeline/balanced_ranks.py",  # step4_policy_update.py: rows change ranks, where there are several
    "rewards/",  # judge.py: its rules; reward.py: the other terms
    "algorithms/rollout_correction.py",  # policy_gradient.py: an option that is off
    "models/precision.py",  # policy.py: what autocast rounds to
    "models/prompt_sharing.py",  # policy.py: whether responses share a copy of their prompt
    "models/shared_prompts.py",  # policy.py: how they do
    "models/decode_masks.py",  # huggingface_engine.py: which columns of the cache a token sees
    "models/lean_adapters.py",  # policy.py: the products of a LoRA layer
    "rollout/",  # huggingface_engine.py: its cache, its slots, a draw, and what was written as text
    "stopwatch.py",  # module.py: seconds of a step
    "device.py",
)


def files_of(heading: str) -> dict[str, int]:
    """File -> lines as README gives them, of one table."""
    table = SECTION.partition(f"**{heading}")[2].partition("\n**")[0]
    return {file: int(lines) for file, target, lines in ROW.findall(table) if file == target}


RING_ONE, SHARED = files_of("The loop"), files_of("Around it")


def ring_two(algorithm: str) -> dict[str, int]:
    """All files that README lists for a step of an algorithm."""
    return RING_ONE | SHARED | files_of(OWN_FILES[algorithm][0])


def test_the_tables_of_the_readme_are_read() -> None:
    counts = [len(RING_ONE), len(SHARED), *(len(files_of(heading)) for heading, _ in OWN_FILES.values())]
    assert sum(counts) == len(ROW.findall(SECTION)) and min(counts) >= 2


@pytest.mark.parametrize("file", sorted(RING_ONE | SHARED | files_of("REINFORCE++") | files_of("GRPO")))
def test_a_file_has_as_many_lines_of_code_as_the_readme_says(file: str) -> None:
    listed = (RING_ONE | SHARED | files_of("REINFORCE++") | files_of("GRPO"))[file]
    assert listed == code_lines(PACKAGE / file), "write the number into the table of README.md"


def test_the_loop_is_read_in_an_afternoon() -> None:
    assert sum(RING_ONE.values()) <= 700
    for algorithm in OWN_FILES:
        ring = ring_two(algorithm)
        assert len(ring) <= 28 and sum(ring.values()) <= 2300


def test_the_readme_says_how_much_that_is() -> None:
    most = max(sum(ring_two(algorithm).values()) for algorithm in OWN_FILES)
    assert f"{len(RING_ONE)} files, {sum(RING_ONE.values())} lines" in SECTION
    assert f"{len(ring_two('grpo'))} files, {most:,} lines" in SECTION


class Watched(lightning.Callback):
    """Which files of the package run between the start of training and the end of its first step."""

    def __init__(self) -> None:
        self.files: set[str] = set()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        sys.setprofile(self._note)

    def on_train_batch_end(self, *_: Any) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(PACKAGE)):
            self.files.add(file.removeprefix(f"{PACKAGE}/"))


@pytest.fixture(scope="module", params=OWN_FILES)
def a_step(request: pytest.FixtureRequest) -> tuple[str, set[str]]:
    """An algorithm, and the files that one training step of it runs."""
    experiment, watched = small(f"algorithm={request.param}"), Watched()
    before = sys.getprofile()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        max_epochs=1,
        limit_train_batches=1,
        **dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
        callbacks=[watched],
    )
    trainer.fit(experiment.module, experiment.module.data_flow)
    sys.setprofile(before)
    return request.param, watched.files


def test_a_training_step_runs_what_is_listed_and_nothing_else(a_step: tuple[str, set[str]]) -> None:
    """The commands compose and build before it."""
    algorithm, ran = a_step
    listed = set(ring_two(algorithm))
    assert {file for file in ran - listed if not file.startswith(BEHIND_DOORS)} == set()
    assert listed - ran == {"commands/training.py", "commands/build.py"}


def test_a_question_passes_at_most_25_files_on_its_way_to_the_weights() -> None:
    way = ARCHITECTURE.partition("## One question's way")[2].partition("\n## ")[0]
    opened = set(re.findall(r"\(\.\./vlm_rl/([\w/]+\.py)\)", way))
    assert 20 <= len(opened) <= 25 and opened <= set(ring_two("grpo"))


@pytest.mark.parametrize("room", sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()))
def test_the_page_of_the_house_names_every_room(room: str) -> None:
    assert re.search(rf"^  {room}/ ", ARCHITECTURE, flags=re.MULTILINE)
