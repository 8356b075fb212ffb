"""A study and its report that many tests read and none changes."""

import shutil
from pathlib import Path

import pytest
from fake_runs import write_study
from hand_runs import records_of
from usual import usual_settings
from written_study import write_whole_study

from vlm_rl.evaluation.kpi import MinutesSaved, UncheckedShare
from vlm_rl.reports.composition import Content, content_of
from vlm_rl.reports.page.html import render_html
from vlm_rl.reports.reading.arms import Records


@pytest.fixture(scope="session")
def fake_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of RL and SFT over two epochs, and their vanilla model."""
    return write_study(tmp_path_factory.mktemp("studies") / "study", epochs=2)


@pytest.fixture(scope="session")
def fake_records(fake_study: Path) -> Records:
    return records_of(fake_study)


@pytest.fixture(scope="session")
def fake_content(fake_records: Records) -> Content:
    unchecked = UncheckedShare(confidence=0.9, threshold=0.75)
    kpis = (unchecked, MinutesSaved(unchecked=unchecked, by_hand=5.0, to_check=1.0, for_a_slip=30.0))
    return content_of(fake_records, settings=usual_settings(price_per_device_hour=2.0, kpis=kpis))


@pytest.fixture(scope="session")
def fake_page(fake_content: Content) -> str:
    return render_html(fake_content, language="en")


@pytest.fixture(scope="session")
def whole_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As real runs leave it, with their hashes."""
    return write_whole_study(tmp_path_factory.mktemp("whole") / "s")


@pytest.fixture
def written_study(whole_study: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return Path(shutil.copytree(whole_study, tmp_path / "s"))
