"""A set reads its own files and no others, whatever its card or its rows say."""

from pathlib import Path

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_files import png

from vlm_rl.datasets.columns import Columns
from vlm_rl.datasets.hub import HubSource
from vlm_rl.datasets.row import BadRow, LazyRows

COLUMNS = Columns(question="question", answer="answer", images=None)


def write_table(path: Path, answer: str) -> Path:
    """Parquet with one row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"question": ["Q"], "answer": [answer]}), path)
    return path


def write_card(folder: Path, path: str) -> None:
    """A README as sets of the hub have it, with the files of the training split."""
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {path}\n---\n# A set\n"
    (folder / "README.md").write_text(card)


def rows(folder: Path) -> LazyRows:
    """The training rows of a copy."""
    return HubSource(path=str(folder), splits={"train": "train"}, columns=COLUMNS).rows("train")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of a set, beside a file that is none of its own."""
    write_table(tmp_path / "secret.parquet", "secret")
    write_table(tmp_path / "copy" / "data" / "mine.parquet", "mine")
    return tmp_path / "copy"


def test_a_card_that_names_files_elsewhere_is_refused(copy: Path, cache: Path) -> None:
    own = (
        "../secret.parquet",
        "../*.parquet",
        "data/../../secret.parquet",
        "{above}/secret.parquet",
        "file://{above}/secret.parquet",
    )
    for path in own:
        write_card(copy, path.format(above=copy.parent))
        told = r"its card \(README\.md\) names .*secret\.parquet as one of its files, which it is not"
        with pytest.raises(ValueError, match=told):
            rows(copy)
    for path in ("http://127.0.0.1:9/secret.parquet", "zip://secret.parquet::{above}/secret.zip"):
        write_card(copy, path.format(above=copy.parent))
        with pytest.raises(ValueError, match=r"cannot be opened|its card"):
            rows(copy)
    assert not [*cache.rglob("*.arrow")]  # nothing was read


def test_a_link_that_leads_out_of_the_copy_is_refused(copy: Path) -> None:
    (copy / "data" / "mine.parquet").unlink()
    (copy / "data" / "train.parquet").symlink_to(copy.parent / "secret.parquet")
    with pytest.raises(ValueError, match="its card"):
        rows(copy)


def test_a_card_that_names_its_own_files_is_followed(copy: Path) -> None:
    write_card(copy, "data/*.parquet")
    assert [row.answer for row in rows(copy)] == ["mine"]


def test_a_snapshot_of_the_download_cache_is_a_copy_whose_links_lead_to_its_blobs(tmp_path: Path) -> None:
    blob = write_table(tmp_path / "datasets--o--n" / "blobs" / "0", "mine")
    snapshot = tmp_path / "datasets--o--n" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "train.parquet").symlink_to(blob)
    assert [row.answer for row in rows(snapshot)] == ["mine"]


def test_pictures_of_a_set_of_the_hub_are_those_of_its_own_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for repository in ("datasets--owner--name", "datasets--other--private"):
        (tmp_path / repository / "snapshots").mkdir(parents=True)
        (tmp_path / repository / "snapshots" / "a.png").write_bytes(png(3))
    source = HubSource(path="owner/name", splits={"train": "train"}, columns=COLUMNS)
    pictures = source._pictures(None)
    own = pictures.picture(str(tmp_path / "datasets--owner--name" / "snapshots" / "a.png"), where="row 0")
    assert own.load().getpixel((0, 0)) == (3, 0, 0)
    with pytest.raises(BadRow, match="leaves the folder"):
        pictures.picture(str(tmp_path / "datasets--other--private" / "snapshots" / "a.png"), where="row 1")
