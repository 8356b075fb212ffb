"""From records to the content of a report: the endpoint, the verdicts on it, the first page, the sections and the reader."""

from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.content import Content
from vlm_rl.reports.first_page.decision import decision_page
from vlm_rl.reports.page.reader_cases import reader_of
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.other_settings import with_setting
from vlm_rl.reports.reading.rejudge import Judging, Rejudge
from vlm_rl.reports.reading.runs import ReportError
from vlm_rl.reports.sections import Sources, sections_of
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.control_tables import control_table
from vlm_rl.reports.tables.judged_again import judged_again_problems
from vlm_rl.reports.verdicts.endpoint_scores import choose_endpoint
from vlm_rl.reports.verdicts.family import verdicts_of


def content_of(records: Records, *, settings: ReportSettings, judge: Judging | None = None) -> Content:
    """Everything the records say; `judge` is the one that judged them again, if they were."""
    records, override = overridden(records, settings=settings)
    choice = choose_endpoint(records, override=override)
    endpoint = choice.endpoint
    verdicts = verdicts_of(records, endpoint=override, reference=settings.reference, smallest_effect=settings.smallest_effect)
    controls = control_table(records, endpoint=endpoint, rejudge=None if judge is None else Rejudge(judge))
    sources = Sources(records=records, endpoint=endpoint, verdicts=verdicts, controls=controls, settings=settings, judge=judge)
    studies = dict.fromkeys(run.run.study for arm in records.arms for run in arm.runs)
    return Content(
        title=", ".join(studies),
        command=settings.command,
        decision=decision_page(records, verdicts=verdicts, choice=choice, controls=controls, settings=settings),
        sections=sections_of(sources),
        reader=reader_of(records, endpoint=endpoint, size=settings.reader, judge=judge),
        problems=(*records.problems, *judged_again_problems(records)),
    )


def overridden(records: Records, *, settings: ReportSettings) -> tuple[Records, Endpoint | None]:
    """The records with the setting that the report was asked to judge by, and that endpoint; None: as the runs declared."""
    if settings.split is None and settings.setting is None:
        return records, None
    declared = choose_endpoint(records).endpoint
    split, setting = settings.split or declared.split, settings.setting or declared.setting
    if split == declared.picked_by:
        raise ReportError(
            f"report.split={split} also picks the epochs, and a maximum over epochs is not judged. Pass another split."
        )
    title_of(setting)  # refuses what is not the name of a setting
    records = with_setting(records, setting=setting)
    for key, asked, present in (("setting", setting, records.settings()), ("split", split, records.splits())):
        if present and asked not in present:
            raise ReportError(
                f"report.{key}={asked}, but the runs were evaluated under {', '.join(present)}. Pass one of these."
            )
    return records, Endpoint(split=split, setting=setting, picked_by=declared.picked_by)
