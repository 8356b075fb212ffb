"""Imported first by scripts: pytest finds the other modules of the tests by pyproject.toml, a plain Python does not."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("", "commands", "logical_gpu", "models")]
