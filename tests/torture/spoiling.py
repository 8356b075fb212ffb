"""Damages: what a bad disk, a bad copy or a hand does to one file of a run, of its data or of its base weights."""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LOCKS = {".lock", ".holder.json", ".evaluating"}
TEXTS = {".json", ".jsonl", ".md"}
OUTPUTS = Path("outputs")


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One damage of one file or folder."""

    name: str
    path: Path  # relative to the folder of the command
    spoil: Callable[[Path], None]  # is given the whole path
    names: tuple[str, ...]  # a refusal has one of these words
    told: str | None = None  # a run that goes on says this word

    def __str__(self) -> str:
        return f"{self.path}: {self.name}"


def half(path: Path) -> None:
    """The second half is not there."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def emptied(path: Path) -> None:
    """Nothing is in it."""
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    """Zeros, as many bytes as before."""
    path.write_bytes(b"\0" * path.stat().st_size)


def one_bit(path: Path) -> None:
    """The lowest bit of the byte in the middle is another."""
    flip(path, place=path.stat().st_size // 2)


def one_bit_early(path: Path) -> None:
    """The same after a quarter."""
    flip(path, place=path.stat().st_size // 4)


def one_bit_late(path: Path) -> None:
    """The same after three quarters."""
    flip(path, place=path.stat().st_size * 3 // 4)


def flip(path: Path, *, place: int) -> None:
    """Changes the lowest bit of one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def removed(path: Path) -> None:
    """A file or a folder is not there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def replaced(path: Path) -> None:
    """By the content of another file: of the same name, else of the same suffix, else of the same folder."""
    top = next(folder for folder in path.parents if folder.name == OUTPUTS.name)
    others = [
        other for other in sorted(top.rglob("*")) if other.is_file() and other.read_bytes() not in (b"", path.read_bytes())
    ]
    kinds = [(other.name != path.name, other.suffix != path.suffix, other.parent != path.parent) for other in others]
    shutil.copyfile(min(zip(kinds, others, strict=True))[1], path)


def last_line_doubled(path: Path) -> None:
    """As two processes leave it."""
    *_, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(path.read_bytes() + last)


def first_line_removed(path: Path) -> None:
    """All that follows is whole."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def not_utf8(path: Path) -> None:
    """A byte in the middle that is in no text."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" + content[len(content) // 2 :])


def file_beside(path: Path) -> None:
    """A copy, as a file manager names it."""
    shutil.copyfile(path, path.with_name(f"{path.stem} (copy){path.suffix}"))


def folder_beside(path: Path) -> None:
    """A folder with a copy in it."""
    (path.parent / "backup").mkdir()
    shutil.copyfile(path, path.parent / "backup" / path.name)


OF_FILES = (half, emptied, zeroed, one_bit, removed, replaced)
OF_TEXTS = (not_utf8,)
OF_RECORDS = (one_bit_early, one_bit_late)  # manifests and hashes: what is said of a bit depends on its place
OF_LINES = (last_line_doubled, first_line_removed)
BESIDE = (file_beside, folder_beside)


def of_outputs(cwd: Path) -> Iterator[Damage]:
    """Every damage of every file of a study; of its pictures, the first one; and every folder removed."""
    pictures = 0
    for path in sorted((cwd / OUTPUTS).rglob("*")):
        relative = path.relative_to(cwd)
        pictures += path.suffix == ".png"
        if path.name in LOCKS or path.name == "train.log" or (path.suffix == ".png" and pictures > 1):
            continue
        for spoil in (removed,) if path.is_dir() else ways(path):
            yield Damage(name=spoil.__name__, path=relative, spoil=spoil, names=named_by(relative))


def ways(path: Path) -> Iterator[Callable[[Path], None]]:
    """The damages that a file can have; each folder gets one file and one folder that do not belong there."""
    yield from OF_FILES if path.stat().st_size else (removed,)
    if path.suffix in TEXTS:
        yield from OF_TEXTS
    if path.name in ("manifest.json", "hashes.json"):
        yield from OF_RECORDS
    if path.suffix == ".jsonl" and path.stat().st_size:
        yield from OF_LINES
    if path == min(file for file in path.parent.iterdir() if file.is_file()):
        yield from BESIDE


def named_by(path: Path) -> tuple[str, ...]:
    """Its own name; a file of a checkpoint may go by that of the checkpoint, too."""
    return (path.name, path.parent.name) if path.parent.name.startswith("step-") else (path.name,)


def of_inputs(cwd: Path) -> Iterator[Damage]:
    """Changes of the data, of the base weights and of what the manifest says of the software."""
    data = [("train", "answer", "77"), ("train", "solution", "Another way."), ("val", "question", "<image>How many?")]
    for split, key, value in data:
        yield edit(Path("data", f"{split}.jsonl"), f"{key} changed", set_in_rows(key, value), (split, "data"))
    yield edit(Path("data/train.jsonl"), "a row less", first_line_removed, ("train", "data"))
    yield edit(Path("data/train.jsonl"), "order of rows", in_another_order, ("train", "data"))
    yield edit(Path("data/images/a.png"), "another picture", another_picture, ("a.png", "val", "data"))
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja", "config.json"):
        yield edit(Path("weights", name), "changed", slightly_changed, (name, "weights"))
    for manifest in sorted(path.relative_to(cwd) for path in (cwd / OUTPUTS).glob("*/run/seed-0/manifest.json")):
        for keys, value in (("versions", "torch"), "1.0.0"), (("judge_version",), -1), (("git", "commit"), "0" * 40):
            yield edit(manifest, f"{'.'.join(keys)} changed", set_in_json(keys, value), ("manifest.json", keys[-1]), keys[-1])
        for keys, value in (("data", "val"), "0" * 16), (("config", "seed"), 7), (("status",), "finished"):
            yield edit(manifest, f"{'.'.join(keys)} changed", set_in_json(keys, value), ("manifest.json", keys[-1]))


def edit(path: Path, name: str, spoil: Callable[[Path], None], names: tuple[str, ...], told: str | None = None) -> Damage:
    """A change made by a hand."""
    return Damage(name=name, path=path, spoil=spoil, names=names, told=told and told.removesuffix("_version"))


def set_in_rows(key: str, value: str) -> Callable[[Path], None]:
    """In every row of a JSONL file."""

    def spoil(path: Path) -> None:
        rows = [json.loads(line) | {key: f"{value}{place}"} for place, line in enumerate(path.read_text().splitlines())]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    return spoil


def set_in_json(keys: tuple[str, ...], value: object) -> Callable[[Path], None]:
    """One value of a JSON file."""

    def spoil(path: Path) -> None:
        whole = part = json.loads(path.read_text())
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        path.write_text(json.dumps(whole, indent=1, sort_keys=True))

    return spoil


def in_another_order(path: Path) -> None:
    """The same rows, the last one first."""
    *first, last = path.read_text().splitlines(keepends=True)
    path.write_text("".join([last, *first]))


def another_picture(path: Path) -> None:
    """Of the same name and size."""
    shutil.copyfile(path.with_name("b.png"), path)


def slightly_changed(path: Path) -> None:
    """One weight by one bit, a space more in a template, two tokens by each other's numbers, a setting more: still a whole file."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    elif path.suffix == ".jinja":
        path.write_bytes(b" " + content)
    elif path.name == "tokenizer.json":
        whole = json.loads(content)
        *_, first, second = vocabulary = whole["model"]["vocab"]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
        path.write_text(json.dumps(whole))
    else:
        path.write_text(json.dumps(json.loads(content) | {"comment": "changed"}))


def every_damage(cwd: Path) -> Iterator[Damage]:
    """The whole table for one state of a run."""
    return itertools.chain(of_outputs(cwd), of_inputs(cwd))
