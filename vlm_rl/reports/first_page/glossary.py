"""Plain meanings of the technical words of the decision page; a page carries those that it uses."""

import re
from collections.abc import Iterable

from vlm_rl.reports.phrase import Phrase, phrase_of, words

Entry = tuple[Phrase, Phrase]  # term, meaning


def glossary_of(texts: Iterable[str]) -> tuple[Entry, ...]:
    """The entries of words/glossary.toml whose words occur, in its order."""
    everything = "\n".join(texts)
    found = [entry for looked_for, entry in words("glossary").items() if re.search(looked_for, everything, re.IGNORECASE)]
    return tuple((phrase_of(term, {}), phrase_of(meaning, {})) for term, meaning in found)
