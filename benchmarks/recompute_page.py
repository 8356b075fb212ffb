"""The numbers inside the sentences of the first page, held against recomputed ones, for recompute_report.py.

A pattern says which number stands where; `{gain}` in it is a number, `{found*}` a range such as `about 9 (4 to 150)`, `{cost$}` a
cost, `{arm}` an arm by its label. A number that no pattern reads is left out by name, and so is seen.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recompute_compare import NUMBER, Comparison
from recompute_study import Study
from recompute_values import of_arm, of_study
from recompute_verdicts import Judged

NUM = r"(?:more than )?[-+]?\d+(?:,\d{3})*(?:\.\d+)?"
INTERVAL = r"(?:widened )?{confidence} % interval(?:, widened for {family} arms)?"
AGREEING = INTERVAL + " {low} to {high}"
MAYBE = rf"(?: \({AGREEING}\))?"  # an interval that may stand there
CARD = (
    rf"{{gain}} points \({AGREEING}",
    rf"differ by less than {{delta}} points: {{gain}} \({AGREEING}",
    rf"{{gain}} points were measured, but the true difference may lie anywhere from {{low}} to {{high}} \({INTERVAL}",
    r"rests on {seeds} seeds and {questions} questions(?: on {images} images)?",
    r"rests on {seeds_of_arm} and {seeds_of_reference} seeds and {questions} questions(?: on {images} images)?",
    r"between {low_alone} and {high_alone} points for new seeds and new questions like these, and between {low_same} and {high_same} "
    r"for new seeds on these very questions \({p!}",
    r"{low_alone} to {high_alone} \(95 %, new seeds and new questions\), {low_same} to {high_same} for new seeds .*?\({p!}",
    r"With {family} arms compared it counts as {adjusted_p!}",
    r"at {confidence} %, as Holm's correction tests this arm",
    r"each is tested at {look_level} %, so that together they are wrong in at most 5 %",
    r"The {narrow} % interval lies inside ±{delta} points",
    r"\({now} so far\).* With 80 % power, a true gain of {delta} points takes {for_delta*} \w+ .*? the measured one, {size} points, "
    r"takes {for_measured*}",
    r"do not find {delta} points; \w+ {four_times} \w+ it takes {with_four_times*}",
    r"no practical number of \w+ finds {delta} points, even \w+ {four_times}",
    r"a true gain below {found*} points .*? because {seeds} seeds",
    r"in one seed of five, {unseen} % of studies with {seeds} seeds",
    r"Measured: {gain} points",
    r"With 95 % confidence",
    r"This run only: {gain} points, between {low_run} and {high_run} on other questions like these \(95 %",
    r"rests on one seed and {questions} questions(?: on {images} images)?",
    r"it leaves out 0 exactly",
)
HEADLINE = (
    rf"{{arm}}\)? \w+ accuracy on \w+ from {{before}} % to {{after}} % \({{gain}} points, {AGREEING}",
    rf"{{arm}}\)? has {{after}} % accuracy on \w+, [^%]*? {{before}} % \({{gain}} points, {AGREEING}",
    rf"{{arm}}\)? \({{gain}} points, {AGREEING}",
    rf"{{arm}}\)? against [^%]*?, {{gain}} points \({AGREEING}",
    r"larger than {delta} points: [^:]*?{arm}\)? against [^%]*?, {gain} points",
    r"beyond ±{delta} points",
    r"smaller than {delta} points, too small",
    r"The {narrow} % interval, {low_narrow} to {high_narrow} points, lies within ±{delta} points",
    r"within ±{delta} points: the effect",
    r"Improvement: {improvement} of {all} arms",
    r"Harm: {harm} of {all} arms",
    r"No difference that matters: {no_difference} of {all} arms",
    r"No evidence either way: {open} of {all} arms",
    r"Not judged: {not_judged} of {all} arms",
)
ACTION = (
    rf"Scale up .*?{{arm}}\)?, because .*?: {{gain}} points{MAYBE}\. Running it again \({{seeds_of_arm}} runs\) takes {{again$}}",
    r"among the other arms: {other_improvements}",
    rf"Train {{plan_runs}} more runs of .*?{{arm}}\)?, up to {{plan_seeds*}} seeds on {{plan_questions*}} questions, .*?: {{gain}} points"
    rf"{MAYBE}.*? difference of {{plan_size}} points .*? takes {{plan_cost$}}",
    rf"questions of .*?{{arm}}\)? \({{plan_questions*}} in all\), .*?: {{gain}} points{MAYBE}",
    r"difference of {plan_size} points in four studies of five, and takes no training",
    r"all {planned_seeds} seeds and {planned_questions} questions",
    r"again with a declared endpoint .*? {redone_runs} runs take {redone_cost$}",
    r"Train {all_missing_runs} more runs, so that .*? They take {all_missing_cost$}",
    r"Train {missing_runs} more seeds of .*?{arm}\)?, because .*? They take {missing_cost$}",
    r"Train one more seed of .*?{arm}\)?, because .*? takes {missing_cost$}",
    rf"Stop .*?{{arm}}\)?, because accuracy is {{size}} points lower .*?{MAYBE}",
    r"Stop .*?{arm}\)?, because it differs from .*? by less than {delta} points \({gain} measured",
    rf"Stop .*?{{arm}}\)?, because its gain is smaller than {{delta}} points.*?{MAYBE}",
    rf"Stop .*?{{arm}}\)?, or look for a larger effect.*?: {{gain}} points{MAYBE}",
    r"none of the {all} arms is",
    *(
        rf"{badge} \({{{name}}}\)"
        for badge, name in (
            *(("Improvement", "improvement"), ("Harm", "harm"), ("No difference that matters", "no_difference")),
            *(("No evidence either way", "open"), ("Not judged", "not_judged")),
        )
    ),
)
NEXT_STAGE = (
    r"{arm}(?:, [^:]*)?: (?:scale up|stop)",
    r"was highest at the last epoch for {late} of {seeds_of_arm} seeds",
    r"the whole arm again \({seeds_of_arm} runs\) takes {again$}",
    r"{arm}: decide whether a difference of {plan_size} points .*?: {plan_seeds*} seeds \(now {seeds}\) and {plan_questions*} questions "
    r"\(now {questions}\)",
    r"{plan_runs} more runs take {plan_cost$}",
    r"One more run takes {plan_cost$}",
    r"all {planned_seeds} seeds and {planned_questions} questions",
    r"{arm}: one more seed, .*? takes {missing_cost$}",
    r"{arm}: {missing_runs} more runs, .*? take {missing_cost$}",
    r"{arm}: stop\. Its \w+ is smaller than {delta} points",
)
COST = (
    r"^{arm}(?:, [^:]*)?: {one$} a run(?: \({shortest} to {longest} minutes\))?, {of_all_runs$} for all {used} runs",
    r"{minutes_of_a_point} device minutes for each point",
    r"All {all_runs} runs together: {all_cost$}",
    r"^{arms_without_times} arms: the time",
    r"When {untold} of {told} runs were at work is not known",
    r"^{arms_with_times} arms, {all_runs} runs: {all_cost$} together",
    r"from {cheapest$} \(.*?\) to {dearest$} \(",
)
RISKS = (
    r"^{arm}: the measured gain \({gain} points\).*? true gain is {truth} points,.*? measure {factor} times as much",
    r"^{arm}: {cut_off} % of the responses on \w+ were cut off at the length limit \(Vanilla: {cut_off_before} %",
    r"^{arm}: .*? fewer questions are solved: .*? changed by {solved} points \(95 % {low_solved} to {high_solved},",
    r"^{arm}: language drift: .*? went from {foreign_first} % to {foreign_last} % of",
    r"^{arm}: alerts in {alarmed} of {runs} runs",
    r"missing for {models} models",
    r"^{problems} things were missing",
    r"^{unverified} of {finished} finished runs are unverified",
)
PARTS = {"headline": HEADLINE, "action": ACTION, "next_stage": NEXT_STAGE, "cost": COST, "risks": RISKS}
QUESTION = (r"±{delta} points",)


def read_page(report: Mapping[str, Any], *, study: Study, judged: Sequence[Judged], found: Comparison) -> None:
    """Every number of every sentence of the first page."""
    whole = of_study(study, judged=judged, problems=len(report["problems"]))
    verdicts = {one.label: one for one in judged}
    by_arm = {arm.label: whole | of_arm(study, arm, verdicts.get(arm.label)) for arm in study.arms}
    page = report["decision"]
    for card in page["verdicts"]:
        for text in (card["said"], *card["more"]):
            read("first page, verdict cards", text, patterns=CARD, by_arm=by_arm, default=by_arm[card["arm"]], found=found)
    for part, patterns in PARTS.items():
        for text in [page[part]] if isinstance(page[part], str) else page[part]:
            read(f"first page, {part}", text, patterns=patterns, by_arm=by_arm, default=whole, found=found)
    some = next(iter(by_arm.values()), whole)
    read("first page, question", page["question"], patterns=QUESTION, by_arm=by_arm, default=some, found=found)


def read(
    part: str,
    text: str,
    *,
    patterns: Sequence[str],
    by_arm: Mapping[str, Mapping[str, float]],
    default: Mapping[str, float],
    found: Comparison,
) -> None:
    """A paragraph from left to right; what names no arm speaks of the one that was named last."""
    forms = {form: arm for arm in by_arm for form in (arm, arm.replace(" (", ", ").rstrip(")"))}
    text = re.sub(r"pass@\d+, T = [\d.]+|\bseeds? \d+(?:, \d+)*(?! (?:seeds|more))", "this one", text)  # names
    matches = [match for pattern in patterns for match in re.finditer(compiled(pattern, arms=tuple(forms)), text)]
    values, left = default, text
    for match in sorted(matches, key=lambda match: match.start()):
        groups = match.groupdict()
        values = by_arm[forms[groups.pop("arm")]] if "arm" in groups else values
        for name, token in ((name, token) for name, token in groups.items() if token is not None):
            hold(f"{part}: {name} in “{match[0][:90]}”", token, name=name, values=values, found=found)
        left = left[: match.start()] + " " * len(match[0]) + left[match.end() :]
    for form in sorted(forms, key=len, reverse=True):
        left = left.replace(form, "")
    if unread := list(NUMBER.finditer(left)):
        around = " ".join(left[max(0, unread[0].start() - 80) : unread[0].end() + 40].split())
        found.left_out[part, ", ".join(each[0] for each in unread), f"no pattern reads “{around}”"] += len(unread)


def hold(where: str, token: str, *, name: str, values: Mapping[str, float], found: Comparison) -> None:
    """One number of a sentence."""
    part = where.partition(":")[0]
    name = name.removesuffix("_again")
    if name not in values:
        found.differences.append(f"{where}: the page says {token}, and the files give no such number")
    elif token.startswith("< "):
        found.compared[part] += 1
        if not values[name] < float(token[2:]):
            found.differences.append(f"{where}: the page says {token}, the files give {values[name]!r}")
    else:
        digits = 3 if name.endswith(("_minutes", "_hours", "confidence", "shortest", "longest", "of_a_point")) else None
        found.printed(where, token.removeprefix("= "), part=part, ours=values[name], digits=digits)


def compiled(pattern: str, *, arms: Sequence[str]) -> re.Pattern[str]:
    """A pattern as a regular expression with a group for each number."""
    alternatives = "|".join(re.escape(arm) for arm in sorted(arms, key=len, reverse=True))

    def group(match: re.Match[str]) -> str:
        name, kind = match[1], match[2]
        if name == "arm":
            return rf"(?<![\w-])(?P<arm>{alternatives})(?![\w-])"
        return "".join(of_kind(name, kind))

    return re.compile(re.sub(r"\{([a-z_]\w*)([*$!]?)\}", group, pattern))


def of_kind(name: str, kind: str) -> Iterator[str]:
    """The expression for a number, a range, a cost or a p-value."""
    if kind == "*":
        yield rf"(?:about )?(?P<{name}>{NUM})(?: \((?P<{name}_low>{NUM}) to (?P<{name}_high>{NUM})\))?"
    elif kind == "$":
        yield rf"(?:(?P<{name}_minutes>{NUM}) device minutes|(?P<{name}_hours>{NUM}) device hours|an unknown time)"
    elif kind == "!":
        yield rf"p (?P<{name}>[=<] \d\.\d+)"
    else:
        yield rf"(?P<{name}>{NUM})"
