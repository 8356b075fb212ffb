"""A cache of the library `datasets` where tests may write, a folder for somebody else's data, and a judge."""

from collections.abc import Iterator
from pathlib import Path

import datasets.config
import pytest
from hostile_data import SECRET
from own_files import png

from vlm_rl.rewards.judge import Judge


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of each test its own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the data; beside it lie a secret, and a place where a canary would appear."""
    (tmp_path / "secret.png").write_bytes(png())
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "good.png").write_bytes(png())
    monkeypatch.chdir(tmp_path)
    datasets.disable_progress_bars()
    yield tmp_path / "data"
    assert not (tmp_path / "canary").exists()


@pytest.fixture
def judge() -> Iterator[Judge]:
    """Starts no process for plain numbers."""
    made = Judge(num_workers=1, timeout_s=2.0)
    yield made
    made.close()
