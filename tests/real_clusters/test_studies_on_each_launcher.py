"""The same study by each launcher, and one study by all of them."""

import json
import os
from collections.abc import Callable, Mapping

import pytest
from studies import LONG, Checkout, Run, until

SMOKE = ("experiment=smoke",)


@pytest.fixture
def on_all(on_slurm: Checkout, ray_variables: Mapping[str, str]) -> Checkout:
    """A checkout from which SLURM and Ray are seen."""
    return Checkout(folder=on_slurm.folder, variables={**on_slurm.variables, **ray_variables})


@pytest.mark.parametrize("launcher", ["this_machine.sh", "slurm.sh", "ray.sh"])
def test_three_seeds_run_to_their_end(on_all: Checkout, launcher: str) -> None:
    on_all.typed(launcher, "study=three", *SMOKE, "seeds=paper").finishes()
    assert all(on_all.run("three", seed=seed, words=SMOKE).is_finished for seed in range(3))
    again, said = on_all.typed(launcher, "study=three", *SMOKE, "seeds=paper").ended()
    assert again == 0, said


def test_one_study_by_three_launchers_gives_one_report(on_all: Checkout) -> None:
    """CPU threads are part of an arm, and this_machine.sh sets one."""
    for seed, launcher in enumerate(("this_machine.sh", "slurm.sh", "ray.sh")):
        on_all.typed(launcher, "study=joined", *SMOKE, "num_threads=1", f"seed={seed}").finishes()
    on_all.says(os.environ["CLUSTERS_PYTHON"], "report.py", "studies=[outputs/joined]")
    report = json.loads((on_all.folder / "outputs/joined/report.json").read_text())
    assert {(row["arm"], row["seeds"]) for row in report["tables"]["accuracy"]} == {("reinforce_pp", 3)}


def test_a_killed_process_on_this_machine_is_reported_and_the_same_command_goes_on(
    tmp_path_factory: pytest.TempPathFactory, undisturbed: Callable[[int], Run]
) -> None:
    """joblib ends the other runs with it; all of them go on from their checkpoints."""
    checkout = Checkout.made(tmp_path_factory.mktemp("here"), {})
    runs = {seed: checkout.run("here", seed=seed) for seed in range(2)}
    command = checkout.typed("this_machine.sh", "study=here", *LONG, "seed=0,1")
    until(lambda: all(run.has_steps(2) for run in runs.values()), command=command)
    checkout.end_itself(runs[0])
    code, said = command.ended()
    print(said)
    assert code == 2
    assert "2 of 2 jobs failed" in said and "EXIT(7)" in said
    checkout.typed("this_machine.sh", "study=here", *LONG, "seed=0,1").finishes()
    assert all(run.metrics == undisturbed(seed).metrics for seed, run in runs.items())
