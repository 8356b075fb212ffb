"""Studies as a person types them, in a folder that looks like a checkout, and what their runs leave there."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SITE = Path(__file__).parent / "site"
LONG = (
    "experiment=smoke",
    "dataset.epochs=12",
    "evaluation.scheme.every_epochs=6",
)  # 24 steps: there is time to interrupt them
LONGER = ("experiment=smoke", "dataset.epochs=120", "evaluation.scheme.every_epochs=60")  # more than two minutes
PATIENCE_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Where commands are typed, and the variables that they see."""

    folder: Path
    variables: Mapping[str, str]

    @classmethod
    def made(cls, folder: Path, variables: Mapping[str, str]) -> "Checkout":
        """One with the programs of this checkout and no outputs."""
        for name in ("train.py", "report.py", "launchers"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "endings").mkdir()
        own = {
            "PYTHON": os.environ["CLUSTERS_PYTHON"],
            "PYTHONPATH": f"{ROOT}{os.pathsep}{SITE}",
            "ENDINGS": str(folder / "endings"),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "CPUS": "1",
        }
        return cls(folder=folder, variables=os.environ | own | variables)

    def end_itself(self, run: "Run") -> None:
        """Have the process that trains a run call os._exit(7)."""
        Path(self.variables["ENDINGS"], str(run.process)).touch()

    def typed(self, command: str, *words: str, **variables: str) -> "Command":
        """A command that has begun."""
        output = self.folder / f"output-{time.monotonic_ns()}.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [str(Path("launchers", command)), *words],
                cwd=self.folder,
                env={**self.variables, **variables},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Command(process=process, output=output)

    def says(self, *command: str) -> str:
        """What a short command prints."""
        done = subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def run(self, study: str, *, seed: int, words: Sequence[str] = LONG) -> "Run":
        """A run of a study of these words."""
        variant = ",".join(word.replace("=", "-") for word in words)
        return Run(folder=self.folder / "outputs" / study / variant / f"seed-{seed}")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that somebody typed."""

    process: "subprocess.Popen[bytes]"
    output: Path

    def ended(self) -> tuple[int, str]:
        """Its exit code and all that it printed, once it has ended."""
        try:
            code = self.process.wait(timeout=PATIENCE_S)
        finally:
            self.stop()
        return code, self.output.read_text(errors="replace")

    def finishes(self) -> None:
        """Wait for its end, which must be a good one."""
        code, said = self.ended()
        assert code == 0, said

    def stop(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass(frozen=True, kw_only=True)
class Run:
    """The folder of a run."""

    folder: Path

    def has_steps(self, count: int) -> bool:
        """Whether so many steps are trained."""
        return sum(line["event"] == "train" for line in self.lines()) >= count

    def lines(self) -> list[dict[str, Any]]:
        """Of metrics.jsonl, without one that is being written."""
        file = self.folder / "metrics.jsonl"
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def metrics(self) -> bytes:
        """The whole file."""
        return (self.folder / "metrics.jsonl").read_bytes()

    @property
    def manifest(self) -> dict[str, Any]:
        """As it is now."""
        manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text())
        return manifest

    @property
    def is_finished(self) -> bool:
        """Whether it ran to its end."""
        return (self.folder / "manifest.json").exists() and self.manifest["status"] == "finished"

    @property
    def num_starts(self) -> int:
        """How often it was begun or taken up again."""
        return len(self.manifest["history"])

    @property
    def process(self) -> int:
        """The number of the process that trains."""
        holder: dict[str, Any] = json.loads((self.folder / ".holder.json").read_text())
        return int(holder["pid"])


def until(is_so: Callable[[], bool], *, command: Command | None = None) -> None:
    """Wait for something while a command runs."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "too late"
        assert command is None or command.process.poll() is None, command.output.read_text(errors="replace")
        time.sleep(0.3)
