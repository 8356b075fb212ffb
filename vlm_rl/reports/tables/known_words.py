"""Words that come from data and configs and yet are the project's own, so that a page can say them in its language."""

from vlm_rl.reports.phrase import say

KNOWN = (
    *(say("modality"), say("kind"), say("text"), say("vision")),  # columns of a row, and what `modality` holds
    *(say("answers that need no check"), say("share of questions")),  # vlm_rl/evaluation/kpi.py
    *(say("time saved"), say("minutes for each 100 questions")),
)


def known_word(word: str) -> str:
    """The phrase for it, or the word as it is: what a team named itself stays."""
    return next((phrase for phrase in KNOWN if phrase == word), word)
