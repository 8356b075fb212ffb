"""What a run folder holds is read only where it lies in that folder: its links and its words may name any file of this machine."""

from pathlib import Path

from vlm_rl.reports.phrase import Phrase, say, say_named


def leads_out(path: Path, *, folder: Path) -> Phrase | None:
    """Why a file of a folder is not read, None where nothing speaks against it; one that is not there is no matter.

    Links above the folder are its owner's. Those in it must stay inside.
    """
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return say_named("gaps.link_outside", path=path, folder=folder)
        if path.exists() and not path.is_file():
            return say("{path} is no regular file and is not read. Remove it.", path=path)
    except (OSError, ValueError, RuntimeError):  # a circle of links, a null byte
        return say("{path} leads nowhere and is not read. Remove it.", path=path)
    return None


EVALUATED = "evaluate"  # the folder in a run where evaluate.py puts what it makes of it; it is part of the variant's name
IN_VARIANT = 1  # which parent of a run folder is its study: <study>/<variant>/seed-0
EVALUATED_IN_RUN = 4  # <study>/<variant>/seed-0/evaluate/<what>/seed-0


def study_of(run_folder: Path, variant: str) -> Path:
    """The study folder of a run."""
    place = EVALUATED_IN_RUN if EVALUATED in Path(variant).parts else IN_VARIANT
    return run_folder.parents[min(place, len(run_folder.parents) - 1)]


def below(folder: Path, *, name: str, study: Path) -> Path | None:
    """A folder by a name that stands in somebody's file; None where it would be outside of the study."""
    if "\x00" in name or Path(name).is_absolute():
        return None
    try:
        found = (folder / name).resolve()
    except (OSError, RuntimeError):
        return None
    return found if found.is_relative_to(study.resolve()) else None
