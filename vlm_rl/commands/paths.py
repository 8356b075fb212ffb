"""Where the configs are: beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
_CHECKOUT = PACKAGE.parent / "conf"
CONF_DIR: str = str(_CHECKOUT if (_CHECKOUT / "train.yaml").exists() else PACKAGE / "conf")
