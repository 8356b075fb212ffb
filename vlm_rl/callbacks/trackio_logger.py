"""Trackio (local-first, no account) as a Lightning logger, which Lightning lacks. `pip install trackio`, then logger=trackio.

Everything lies in a SQLite file under TRACKIO_DIR, by default in Hugging Face's cache; `trackio show` draws it.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image


class TrackioLogger(Logger):
    """One run of a project; the same name goes on with the run of that name, so a resumed run stays one curve."""

    def __init__(self, *, project: str, name: str, group: str, version: str) -> None:
        super().__init__()
        self._project, self._run_name, self._group, self._version = project, name, group, version
        self._config: dict[str, Any] = {"run_id": version}
        self._run: Any = None
        trackio()  # a missing package is said before anything is computed

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """The id that is kept over restarts."""
        return self._version

    @property
    def experiment(self) -> Any:
        """The live run, begun when something is logged first: its config has to be known by then."""
        if self._run is None:
            self._run = trackio().init(
                project=self._project,
                name=self._run_name,
                group=self._group,
                config=self._config,
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,  # the machine's load is no part of the run
            )
        return self._run

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """The resolved config."""
        self._config |= vars(params) if isinstance(params, Namespace) else params

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Numbers at a generation step."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def log_table(self, key: str, *, columns: Sequence[str], data: Sequence[Sequence[Any]], step: int) -> None:
        """A table, whose pictures become media files."""
        library = trackio()
        cells = [[library.Image(cell) if isinstance(cell, Image.Image) else cell for cell in row] for row in data]
        self.experiment.log({key: library.Table(columns=list(columns), data=cells)}, step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Waits until everything is on the disk."""
        if self._run is not None:
            trackio().finish()
            self._run = None

    @property
    def save_dir(self) -> str | None:
        """Where Trackio keeps its files."""
        directory: Path = trackio().utils.TRACKIO_DIR
        return str(directory)


def trackio() -> Any:
    """The package, imported when it is needed: an extra."""
    try:
        import trackio as library
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "logger=trackio needs the package trackio: pip install 'vlm-rl[trackio]' (without constraints.txt: it asks for an "
            "older Pillow). logger=tensorboard and logger=csv need nothing else."
        ) from error
    return library
