"""Which files a set of the hub, or a folder with a copy of one, consists of: its card may name others, which are not read."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from vlm_rl.datasets.row_file import check_regular
from vlm_rl.datasets.shown import shortened
from vlm_rl.datasets.written_picture import blobs_of

CARDS = ("README.md", ".huggingface.yaml")  # what the library reads of a folder before it says which files there are
LONGEST_HEAD = 2**22  # characters of a card that are looked at
TABLES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")


def check_card(card: Path, *, name: str) -> None:
    """Raises ValueError for a card with names of files inside of others: the library would open those to look for them."""
    check_regular(card)
    if not card.exists():
        return
    with card.open(encoding="utf-8", errors="replace") as text:
        named = text.read(LONGEST_HEAD).split("\n---", 1)[0]
    if "data_files" in named and "::" in named:
        raise ValueError(
            f"{name}: its card ({card.name}) names files inside of other files by '::', which are not read. "
            "Correct data_files there: unpack them and name the files themselves."
        )


def check_files(files: Iterable[str], *, folder: Path | None, name: str) -> None:
    """The card of a set says which files it consists of. Raises ValueError for others than its own, before they are read."""
    allowed = [path.resolve() for path in (folder, *blobs_of(folder.absolute()))] if folder else []
    for file in files:
        own = any(map(Path(file).resolve().is_relative_to, allowed)) if folder else file.startswith("hf://datasets/")
        if not own or "::" in file:
            raise ValueError(
                f"{name}: its card (README.md) names {shortened(file, most=200)} as one of its files, which it is not. "
                "Only files of the set itself are read; correct data_files there if you trust it."
            )
        if folder:
            check_regular(Path(file))


def files_of(builder: Any) -> list[str]:
    """All files of a builder of the library `datasets`."""
    return [*chain.from_iterable((builder.config.data_files or {}).values())]


def tables_beside(files: Sequence[str], *, folder: Path | None) -> dict[str, list[str]]:
    """The tables of a folder, where the library would read the archives or pictures beside them as rows; nothing elsewhere."""
    from datasets.data_files import DataFilesDict, get_data_patterns

    names = [Path(file).name.lower() for file in files]
    if folder is None or not names or all(name.endswith(TABLES) for name in names):
        return {}
    if any(name.startswith("metadata.") for name in names):  # of pictures in a folder: the library reads both
        return {}
    everything = DataFilesDict.from_patterns(get_data_patterns(str(folder)), base_path=str(folder))
    for kind in TABLES:
        found = {str(split): [file for file in members if file.lower().endswith(kind)] for split, members in everything.items()}
        if any(found.values()):
            return {split: members for split, members in found.items() if members}
    return {}
