"""A few of the states and damages of `make torture`, so that the programs themselves are run by every test of the whole."""

from pathlib import Path

import pytest
from damages import ARGUMENTS, Trial, prepared, table_of, tried
from disk import KINDS, Record, lost_checkpoints, not_synced, states
from forking import Forking
from short_runs import Whole
from states import distinct, resumed, sampled

pytestmark = pytest.mark.slow  # whole runs

NUM_STATES = 5
DAMAGES = (  # some are noticed at the start, some when the run goes on; the words begin `stage | path: damage`
    "middle | outputs/torture/run/seed-0/checkpoints/step-000003/adapter_model.safetensors: one_bit",
    "middle | outputs/torture/run/seed-0/completions/step-000001.parquet: removed",
    "middle | data/val.jsonl: question changed",
    "middle | weights/model.safetensors: changed",
    "finished | outputs/torture/run/seed-0/manifest.json: one_bit",
    "finished | outputs/torture/run/seed-0/cost.jsonl: last_line_doubled",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of it happens."""
    return tmp_path_factory.mktemp("torture")


@pytest.fixture(scope="module")
def run(forking: Forking, folder: Path) -> tuple[Whole, Record]:
    """The undisturbed run and the recorded one."""
    return prepared(forking, folder=folder)


def test_some_states_of_each_kind_are_continued(forking: Forking, folder: Path, run: tuple[Whole, Record]) -> None:
    whole, record = run
    every = distinct(states(record))
    chosen = sampled(every, size=NUM_STATES)
    assert len(record.looks) > 100 and len(every) > 100
    assert {state.kind for state in chosen} >= {*KINDS} - {"grown", "torn"}  # of these there may be none
    results = [resumed(forking, state, whole=whole, cwd=folder / f"{state.kind}-{state.look}") for state in chosen]
    assert [(result.state, result.wrong) for result in results if result.wrong] == []


def test_no_checkpoint_and_no_record_of_a_finished_run_is_lost_with_the_power(run: tuple[Whole, Record]) -> None:
    assert lost_checkpoints(run[1]) == []
    assert not_synced(run[1]) == []


def test_some_damages_are_continued_or_refused_in_words(forking: Forking, folder: Path, run: tuple[Whole, Record]) -> None:
    whole, record = run
    table = {words(trial): trial for trial in table_of(record, folder=folder)}
    assert whole.arguments == ARGUMENTS and len(table) > 400
    outcomes = [tried(forking, table[name], whole=whole) for name in DAMAGES]
    assert [(words(outcome.trial), outcome.wrong, outcome.said) for outcome in outcomes if outcome.wrong] == []


def words(trial: Trial) -> str:
    """As the program prints it."""
    return f"{trial.stage} | {trial.damage}"
