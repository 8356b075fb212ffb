"""Data of one's own: round gauges, drawn when they are needed. Yours would open files; `rows(split)` is all that is asked for."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.randomness import stream

SIDE = 112  # pixels
SWEEP = 270.0  # degrees from 0 to the end of the scale


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """A picture is a key that tells its content, a size in pixels, and something that loads it."""

    reading: int
    end: int  # of the scale
    tilt: float  # degrees by which the whole gauge hangs askew

    @property
    def key(self) -> str:
        return hashlib.sha256(f"gauge {self.reading} {self.end} {self.tilt}".encode()).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        return SIDE, SIDE

    def load(self) -> Image.Image:
        image = Image.new("RGB", self.size, "white")
        draw = ImageDraw.Draw(image)
        draw.ellipse((4, 4, SIDE - 4, SIDE - 4), outline="black", width=2)
        for tick in range(11):
            draw.line([self._point(tick / 10, radius=44), self._point(tick / 10, radius=50)], fill="black", width=2)
        draw.line([self._point(0, radius=0), self._point(self.reading / self.end, radius=40)], fill="red", width=3)
        for share, number in ((0.0, 0), (1.0, self.end)):
            draw.text(self._point(share, radius=32), str(number), fill="black", anchor="mm")
        return image

    def _point(self, share: float, *, radius: float) -> tuple[float, float]:
        angle = math.radians(135 + SWEEP * share + self.tilt)
        return SIDE / 2 + radius * math.cos(angle), SIDE / 2 + radius * math.sin(angle)


class GaugeSource:
    """Three splits of gauges; what a row shows is a function of `data_seed`, the split and its number alone."""

    def __init__(self, *, train_rows: int, val_rows: int, test_rows: int, data_seed: int) -> None:
        self._sizes = {"train": train_rows, "val": val_rows, "test": test_rows}
        self._data_seed = data_seed

    def rows(self, split: str) -> Sequence[Row]:
        return [self._row(split, number) for number in range(self._sizes[split])]

    def _row(self, split: str, number: int) -> Row:
        draw = stream(self._data_seed, "gauge", split, number)
        end = int(draw.choice([50, 100]))
        gauge = Gauge(reading=int(draw.integers(end + 1)), end=end, tilt=float(draw.uniform(-20, 20)))
        return Row(
            id=f"{split}-{number}",
            question=f"{IMAGE_MARKER}What does the gauge read?",
            answer=str(gauge.reading),
            solution=f"The needle points at {gauge.reading}. The answer is \\boxed{{{gauge.reading}}}.",  # for algorithm=sft
            images=(gauge,),
            kind="gauge",
            modality="vision",
            fields={"scale": f"0 to {end}"},  # report.breakdown=[scale] tells them apart
        )
