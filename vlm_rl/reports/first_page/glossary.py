"""Plain meanings of the technical words of the decision page; a page carries those that it uses."""

import re
from collections.abc import Iterable, Sequence

from vlm_rl.reports.phrase import Phrase, say

Entry = tuple[Phrase, Phrase]  # term, meaning

# What to look for in the English text, the term, its meaning.
GLOSSARY: tuple[tuple[str, Phrase, Phrase], ...] = (
    (
        r"\barms?\b",
        say("Arm"),
        say("All runs that were trained in the same way and differ only in their seed; a way of training that is on trial."),
    ),
    (
        r"\bseeds?\b",
        say("Seed"),
        say(
            "The number from which a run draws its chance. Training again with another seed shows how much of a result was luck."
        ),
    ),
    (
        r"\bvanilla\b|untrained",
        say("Vanilla"),
        say("The model before any of this training, asked the same questions."),
    ),
    (
        r"reinforce_pp|grpo|rloo|dapo|gspo",
        say("RL"),
        say(
            "Reinforcement learning: the model is rewarded for right answers that it found itself. "
            "reinforce_pp, grpo, rloo, dapo and gspo are kinds of it."
        ),
    ),
    (r"\bsft\b", say("SFT"), say("Supervised fine-tuning: the model imitates worked solutions.")),
    (r"accuracy", say("Accuracy"), say("The share of questions whose final answer is right.")),
    (r"points?\b", say("Point"), say("A percentage point: from 40 % to 42 % is 2 points.")),
    (r"pass@", say("pass@k"), say("A question counts as solved if one of k answers is right; pass@1 is plain accuracy.")),
    (
        r"\bT = ",
        say("T"),
        say("Temperature: how freely the model varies its answers; near 0 it always gives its first choice."),
    ),
    (
        r"\bval\b|validation",
        say("Validation, val"),
        say("Questions kept aside to choose when to stop; never trained on, and never judged by."),
    ),
    (r"\btest\b", say("Test"), say("Questions kept aside for the verdict; they neither trained nor chose anything.")),
    (r"\bepochs?\b", say("Epoch"), say("One pass over all training questions.")),
    (
        r"interval",
        say("95 % interval"),
        say(
            "The range that holds the true effect in at least 95 of 100 studies like this one, "
            "given new seeds and new questions of the same kind."
        ),
    ),
    (
        r"\(p [<=]",
        say("p"),
        say(
            "How often chance alone would show an effect at least as large; Holm's correction allows for looking at several arms."
        ),
    ),
    (
        r"improvement|harm",
        say("Improvement, harm"),
        say(
            "Said only where chance alone would show such a difference in fewer than 5 of 100 studies, "
            "all arms of the study taken together."
        ),
    ),
    (
        r"no evidence",
        say("No evidence either way"),
        say("The study was too small or too noisy: the true effect may be a gain, a loss or nothing."),
    ),
    (
        r"delta|δ|smallest effect",
        say("Smallest effect that matters, δ"),
        say("Set before looking: a smaller difference would not change what one does."),
    ),
    (
        r"could (not )?have (seen|found|missed)|80 %",
        say("What the design could have seen"),
        say("The smallest true gain that a study of this size finds four times out of five."),
    ),
    (
        r"collaps",
        say("Collapse"),
        say("A run that suddenly loses most of what it could do. It is rare, so few seeds may miss it."),
    ),
    (r"alert", say("Alert"), say("Written down while training, by a rule fixed before: something left its healthy range.")),
    (r"cut off", say("Cut off"), say("The response reached the length limit before it ended.")),
    (
        r"blind",
        say("Blind control"),
        say("The same questions without their figure. If accuracy stays, the figure was never read."),
    ),
    (
        r"foreign|language drift",
        say("Language drift"),
        say("The model slides into letters of another script than the question's."),
    ),
    (
        r"device (hour|minute)s?",
        say("Device hour"),
        say("One accelerator card, or one machine without any, in use for one hour."),
    ),
    (r"endpoint", say("Endpoint"), say("The one measure that a study is judged by, declared before its first run.")),
)


def glossary_of(texts: Iterable[str], *, glossary: Sequence[tuple[str, Phrase, Phrase]] = GLOSSARY) -> tuple[Entry, ...]:
    """The entries whose words occur, in the order of the list."""
    everything = "\n".join(texts)
    return tuple((term, meaning) for words, term, meaning in glossary if re.search(words, everything, re.IGNORECASE))
