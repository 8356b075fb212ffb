"""Pages whose tables a benchmark writes: the text between two marks, comments that Markdown does not show."""

from pathlib import Path


def write_between(page: Path, text: str, *, begin: str, end: str) -> None:
    """Replaces what stands between the marks. Raises ValueError where one of them is missing."""
    whole = page.read_text(encoding="utf-8")
    if not 0 <= whole.find(begin) < whole.find(end):
        raise ValueError(f"{page} has no place for the table: write the two lines {begin} and {end} where it belongs.")
    before, _, rest = whole.partition(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
