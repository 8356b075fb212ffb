"""One uninterrupted run that the others are compared with."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forking import Forking
from tiny_commands import BRIEF, TINY, content, only_run, train


@pytest.fixture(scope="session")
def whole(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `study=whole`, seed 0, ran from its beginning to its end."""
    cwd = tmp_path_factory.mktemp("whole")
    train(forking, cwd, *TINY, "study=whole")
    return cwd


@pytest.fixture(scope="session")
def seed_2(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What seed 2 alone leaves behind."""
    cwd = tmp_path_factory.mktemp("alone")
    train(forking, cwd, *BRIEF, "study=alone", "seed=2")
    return content(only_run(cwd, study="alone", seed=2))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system in memory of some size, which a second call changes; needs the right to mount."""
    mounted: list[Path] = []

    def resize(size: str) -> Path:
        options = f"remount,size={size}" if mounted else f"size={size}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(tmp_path)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("no right to mount a file system")
        mounted.append(tmp_path)
        return tmp_path

    yield resize
    if mounted:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=False)
