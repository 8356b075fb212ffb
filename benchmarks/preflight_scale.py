"""How long the preflight of a large data set takes, and how much memory: 100,000 rows over 1,000 JPEGs of 512 x 512 by default.

    python benchmarks/preflight_scale.py            # cold cache, then warm
    python benchmarks/preflight_scale.py --rows 10000 --images 100
    python benchmarks/preflight_scale.py --rows 20000 --images 20000 --sizes varied     # a size for each picture

The data are made in a temporary folder; CPU seconds are those of the command without the judge's workers. The bar: under 3 minutes on 2
cores, memory that does not grow with the pictures. Measured at full size on 2 cores that did much else (Linux x86-64, 24 GiB): 86 s, 38 CPU
seconds with a cold cache; 57 s, 32 CPU seconds with a warm one; 1.1 GiB at most, of which 0.9 GiB are the libraries.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
SIDE = 512  # pixels
LEAST, SPREAD = 150, 200  # pixels: of varied pictures the least side, and how many widths there are for each height
DISTINCT_GOLDS = 5_000
HELD_OUT = 200  # rows of validation and of test
LIMITS = ("dataset.batch_size=128", "dataset.ppo_batch_size=32", "dataset.max_prompt_tokens=1024")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one process and those that it started."""

    wall_s: float
    cpu_s: float
    peak_bytes: int  # resident


def write_images(folder: Path, *, count: int, side: int = SIDE, varied: bool = False) -> list[str]:
    """Photograph-like JPEGs: a gradient with noise, some 60 kB each at 512 x 512; if `varied`, no two of one size."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    names = [f"images/{i}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        height, width = (LEAST + i // SPREAD, LEAST + i % SPREAD) if varied else (side, side)
        slope = np.linspace(0, 160, height)[:, None, None] + np.linspace(0, 60, 3)
        noise = rng.integers(0, 36, (height, width, 3)) + rng.integers(0, 60)
        Image.fromarray(np.clip(slope + noise, 0, 255).astype(np.uint8)).save(folder / name, quality=85)
    return names


def write_rows(folder: Path, *, images: list[str], num_train: int) -> None:
    """Three JSONL files in the authors' format; every thirtieth answer is a root, which the judge's workers must parse."""
    first = 0
    for split, num_rows in (("train", num_train), ("val", HELD_OUT), ("test", HELD_OUT)):
        with (folder / f"{split}.jsonl").open("w") as file:
            for i in range(first, first + num_rows):
                number = i % DISTINCT_GOLDS
                question = (
                    f"<image>Problem {i}: triangle ABC has a right angle at C and AC = {i}. How long is AB in the figure above?"
                )
                answer = rf"{number}\sqrt{{3}}" if number % 30 == 7 else str(number)
                row = {"id": i, "question": question, "answer": answer, "image": images[i % len(images)]}
                file.write(json.dumps(row) + "\n")
        first += num_rows


def preflight(folder: Path, *, overrides: tuple[str, ...] = ()) -> Cost:
    """One run of the command in a process of its own."""
    words = ["preflight=true", "dataset=jsonl", f"dataset.source.folder={folder}", *LIMITS, *overrides]
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words],
        cwd=folder,
        env=os.environ | {"VLM_RL_CACHE": str(folder / "cache")},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    told = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(told)
    return Cost(wall_s=time.perf_counter() - begun, cpu_s=usage.ru_utime + usage.ru_stime, peak_bytes=usage.ru_maxrss * 1024)


def main() -> None:
    """Prints a line for a cold and for a warm cache."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--sizes", choices=("same", "varied"), default="same")
    parser.add_argument("overrides", nargs="*", help="further overrides of train.py")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = write_images(Path(folder), count=chosen.images, varied=chosen.sizes == "varied")
        write_rows(Path(folder), images=images, num_train=chosen.rows)
        for state in ("cold", "warm"):
            cost = preflight(Path(folder), overrides=tuple(chosen.overrides))
            print(
                f"{state} cache: {chosen.rows:,} rows, {chosen.images:,} images, sizes {chosen.sizes}: {cost.wall_s:.1f} s, "
                f"{cost.cpu_s:.1f} s of CPU, {cost.peak_bytes / 2**20:,.0f} MiB at most",
                flush=True,
            )


if __name__ == "__main__":
    main()
