"""The check of a large set costs as much for each row as that of a small one, and holds no pictures.

Measured in a process of its own, in CPU seconds: how busy the machine is changes little. The full size is benchmarks/preflight_scale.py.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NUM_IMAGES = 30
SIDE = 128  # pixels: 49,152 bytes, decoded
NUM_ROWS = (200, 1_500, 3_000)  # the first ones warm up
MOST_GROWTH = 2.6  # of time, where the rows double: 2 and what a busy machine adds
CHECK = """
import json, resource, sys, time
from hydra.utils import instantiate
from vlm_rl.commands.build import composed
from vlm_rl.models.loading import load_processor
from vlm_rl.models.prompts import Prompts
from vlm_rl.preflight.scan import RowScan
from vlm_rl.rewards.judge import Judge

processor, lines = load_processor("tiny", {}), []
for folder in sys.argv[1:]:
    dataset = instantiate(composed(["dataset=jsonl", f"dataset.source.folder={folder}"]).dataset)
    seconds = []
    for _ in range(2):
        begun = time.process_time()
        with Judge() as judge:
            prompts = Prompts(processor=processor, dataset=dataset)
            found = RowScan(decode="all", cache=None).check(dataset, prompts=prompts, judge=judge, needs_solutions=False)
        seconds.append(time.process_time() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    problems = sum(len(split.problems) for split in found.splits.values())
    lines.append({"seconds": min(seconds), "peak": peak, "pictures": len(found.pictures.by_name), "problems": problems})
print(json.dumps(lines))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """Of each number of rows over the same pictures, one after the other."""
    sys.path.append(str(ROOT / "benchmarks"))
    try:
        scale = importlib.import_module("preflight_scale")
    finally:
        sys.path.pop()
    folders = []
    for num_rows in NUM_ROWS:
        folders.append(tmp_path_factory.mktemp(str(num_rows)))
        images = scale.write_images(folders[-1], count=NUM_IMAGES, side=SIDE)
        scale.write_rows(folders[-1], images=images, num_train=num_rows)
    command = [sys.executable, "-c", CHECK, *map(str, folders)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return lines


def test_twice_the_rows_cost_about_twice_the_time(measured: list[dict[str, float]]) -> None:
    assert [line["pictures"] for line in measured] == [NUM_IMAGES] * 3
    assert [line["problems"] for line in measured] == [0] * 3
    assert measured[2]["seconds"] < MOST_GROWTH * measured[1]["seconds"]


def test_what_is_held_is_little_beside_the_pictures_of_all_rows(measured: list[dict[str, float]]) -> None:
    """Decoded for each of the 1,500 further rows they would be 74 MB."""
    assert measured[2]["peak"] - measured[1]["peak"] < (NUM_ROWS[2] - NUM_ROWS[1]) * SIDE * SIDE * 3 / 2
