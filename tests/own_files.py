"""Small data sets in the formats that people have: the authors' JSONL, Parquet as on the hub, a folder of pictures."""

import io
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

Item = Mapping[str, Any]
SPLITS = {"train": "train", "val": "validation", "test": "test"}


def png(shade: int = 0, *, size: tuple[int, int] = (56, 28)) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises a size, with hardly anything behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def write_lines(path: Path, items: Sequence[Item]) -> None:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")


def write_authors(folder: Path, splits: Mapping[str, Sequence[Item]], *, pictures: Mapping[str, bytes]) -> None:
    """JSONL with pictures beside it, as the authors publish geometry3k."""
    for split, items in splits.items():
        write_lines(folder / f"{split}.jsonl", items)
    write_pictures(folder, pictures)


def write_pictures(folder: Path, pictures: Mapping[str, bytes]) -> None:
    """Files by name."""
    for name, content in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_hub_copy(folder: Path, splits: Mapping[str, Sequence[Item]]) -> None:
    """What `hf download` makes of a set like hiyouga/geometry3k: Parquet with embedded pictures, written by `datasets`."""
    features = datasets.Features(
        {
            "images": datasets.List(datasets.Image(decode=False)),
            "problem": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    datasets.disable_progress_bars()
    for split, items in splits.items():
        path = folder / "data" / f"{SPLITS[split]}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_list([dict(item) for item in items], features=features).to_parquet(path)


def embedded(*pictures: bytes) -> list[dict[str, Any]]:
    """Pictures as `datasets` keeps them in a table."""
    return [{"bytes": picture, "path": None} for picture in pictures]


def write_image_folder(folder: Path, splits: Mapping[str, Sequence[Item]], *, pictures: Mapping[str, bytes]) -> None:
    """A folder for each split with its pictures and a metadata.jsonl."""
    for split, items in splits.items():
        write_lines(folder / SPLITS[split] / "metadata.jsonl", items)
        write_pictures(folder / SPLITS[split], pictures)
