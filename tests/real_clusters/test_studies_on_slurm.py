"""Studies by launchers/slurm.sh on a real SLURM: killed, drained, preempted, out of time. Each ends as if nothing had happened."""

from collections.abc import Callable

import pytest
from studies import LONG, LONGER, Checkout, Run, until

Reference = Callable[[int], Run]
MANY = "seed=0,1,2,3"


def jobs(checkout: Checkout) -> dict[int, str]:
    """The running jobs of a study's array, by their place in it, which here is the seed."""
    running = checkout.says("squeue", "--noheader", "--states=RUNNING", "--format=%i").split()
    return {int(job.split("_")[1]): job for job in running if "_" in job}


def is_the_same(runs: dict[int, Run], reference: Reference) -> None:
    """Every run is finished, and its metrics have the bytes of a run that nothing disturbed."""
    for seed, run in runs.items():
        assert run.is_finished
        assert run.metrics == reference(seed).metrics


def test_a_job_that_is_killed_is_reported_and_taken_up_again_by_the_same_command(
    on_slurm: Checkout, undisturbed: Reference
) -> None:
    """By scancel, by SIGKILL, by os._exit in the process, and with its node, in one study; SLURM is asked not to start any again."""
    words = ("study=killed", *LONG, MANY)
    runs = {seed: on_slurm.run("killed", seed=seed) for seed in range(4)}
    command = on_slurm.typed("slurm.sh", *words, REQUEUE="0")
    until(lambda: all(run.has_steps(2) for run in runs.values()), command=command)
    running = jobs(on_slurm)
    on_slurm.says("scancel", running[0])
    on_slurm.says("scancel", "--full", "--signal=KILL", running[1])
    on_slurm.end_itself(runs[2])
    until(lambda: set(jobs(on_slurm)) == {3}, command=command)
    on_slurm.says("scontrol", "update", "nodename=one", "state=down", "reason=test")
    code, said = command.ended()
    on_slurm.says("scontrol", "update", "nodename=one", "state=resume")
    print(said)
    assert code == 2
    assert "4 of 4 jobs failed" in said
    lines = {int(line.split()[0].strip("#")): line for line in said.splitlines() if line.startswith("  #")}
    assert "CANCELLED" in lines[0] and "CANCELLED" in lines[1]
    assert "FAILED" in lines[2] and "exit code 7:0" in lines[2]
    assert "NODE_FAIL" in lines[3]
    assert all(str(run.folder) in lines[seed] for seed, run in runs.items())
    on_slurm.typed("slurm.sh", *words).finishes()
    is_the_same(runs, undisturbed)
    assert [run.num_starts for run in runs.values()] == [2, 2, 2, 2]


def test_what_runs_on_a_drained_node_ends_there_and_the_rest_waits(on_slurm: Checkout) -> None:
    short = ("experiment=smoke", "dataset.epochs=4")
    runs = [on_slurm.run("drained", seed=seed, words=short) for seed in range(3)]
    command = on_slurm.typed("slurm.sh", "study=drained", *short, "seeds=paper", CPUS="2")
    until(lambda: runs[0].has_steps(1) and runs[1].has_steps(1), command=command)
    on_slurm.says("scontrol", "update", "nodename=one", "state=drain", "reason=test")
    until(lambda: jobs(on_slurm) == {}, command=command)
    assert runs[0].is_finished and runs[1].is_finished
    assert not runs[2].folder.exists()
    on_slurm.says("scontrol", "update", "nodename=one", "state=resume")
    command.finishes()
    assert runs[2].is_finished


def test_a_job_whose_node_fails_goes_on_by_itself_when_the_node_is_back(on_slurm: Checkout, undisturbed: Reference) -> None:
    runs = {seed: on_slurm.run("failing", seed=seed) for seed in range(2)}
    command = on_slurm.typed("slurm.sh", "study=failing", *LONG, "seed=0,1")
    until(lambda: all(run.has_steps(2) for run in runs.values()), command=command)
    on_slurm.says("scontrol", "update", "nodename=one", "state=down", "reason=test")
    until(lambda: jobs(on_slurm) == {}, command=command)
    on_slurm.says("scontrol", "update", "nodename=one", "state=resume")
    command.finishes()
    is_the_same(runs, undisturbed)
    assert all(run.num_starts == 2 for run in runs.values())


def test_a_job_that_gets_a_signal_goes_on_by_itself(on_slurm: Checkout, undisturbed: Reference) -> None:
    """SIGUSR1, SIGUSR2 and SIGTERM: each run writes a checkpoint after its step and has SLURM start its job again."""
    runs = {seed: on_slurm.run("signalled", seed=seed) for seed in range(3)}
    command = on_slurm.typed("slurm.sh", "study=signalled", *LONG, "seeds=paper")
    until(lambda: all(run.has_steps(2) for run in runs.values()), command=command)
    running = jobs(on_slurm)
    for seed, name in enumerate(("USR1", "USR2", "TERM")):
        on_slurm.says("scancel", f"--signal={name}", running[seed])
    command.finishes()
    is_the_same(runs, undisturbed)
    assert all(run.num_starts == 2 for run in runs.values())
    checks_each_start_goes_on(runs)


def checks_each_start_goes_on(runs: dict[int, Run]) -> None:
    """What was trained before a signal is not trained again: each start goes on from a step that was finished."""
    for run in runs.values():
        print(run.manifest["history"])
        assert all(entry["generation_steps"] > 0 for entry in run.manifest["history"][1:])


@pytest.mark.parametrize("partition", ["low", "graceful"])
def test_a_job_that_is_preempted_goes_on_by_itself(on_slurm: Checkout, undisturbed: Reference, partition: str) -> None:
    """By a job of a partition of higher priority that takes the node; `graceful` has a time of grace (GraceTime)."""
    runs = {seed: on_slurm.run("preempted", seed=seed) for seed in range(2)}
    command = on_slurm.typed("slurm.sh", "study=preempted", *LONG, "seed=0,1", PARTITION=partition)
    until(lambda: all(run.has_steps(2) for run in runs.values()), command=command)
    on_slurm.says("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 5")
    command.finishes()
    is_the_same(runs, undisturbed)
    assert all(run.num_starts == 2 for run in runs.values())
    checks_each_start_goes_on(runs)


def test_a_time_limit_shorter_than_the_run_chains_jobs(on_slurm: Checkout) -> None:
    """SLURM announces the limit of two minutes after one, or up to half a minute later."""
    runs = {0: on_slurm.run("chained", seed=0, words=LONGER)}
    on_slurm.typed("slurm.sh", "study=chained", *LONGER, "seed=0", MINUTES="2").finishes()
    print("starts:", runs[0].num_starts)
    assert runs[0].num_starts > 1
    checks_each_start_goes_on(runs)
    on_slurm.typed("this_machine.sh", "study=whole", *LONGER, "seed=0").finishes()
    is_the_same(runs, lambda seed: on_slurm.run("whole", seed=seed, words=LONGER))
