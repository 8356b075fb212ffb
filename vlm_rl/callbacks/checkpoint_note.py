"""The README.md of a checkpoint inside a run, in place of the form to be filled in that PEFT leaves there."""

from pathlib import Path

TEXT = """\
A checkpoint of a training run, as vlm-rl left it. The run's `manifest.json`, two folders up, says what was trained and how. This is no
model card: nothing is said here of whether training helped.

    python export.py checkpoint=<this folder> folder=my-adapter

makes a folder to share, whose model card carries the verdict of the study's report.
"""


def write_note(folder: Path) -> None:
    """Says what the files beside it are."""
    (folder / "README.md").write_text(TEXT, encoding="utf-8")
