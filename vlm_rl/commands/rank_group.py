"""The processes of one command, one for each device: they join a process group before training and leave it together.

Lightning would start the other ranks by the command line again, which is wrong inside a sweep (each rank would run the whole
sweep) and behind a trailing `-m`. Here they get the one job that this process runs. What torchrun or SLURM started is only joined.
"""

import contextlib
import functools
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NoReturn

import torch.distributed as dist
from hydra.core.hydra_config import HydraConfig
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch._C._distributed_c10d import Store, TCPStore
from torch.distributed.rendezvous import rendezvous

from vlm_rl import ranks
from vlm_rl.commands import errors, lifeline, rank_logs, searchpath
from vlm_rl.commands.leaving import leave_at_once, watch
from vlm_rl.commands.placement import Placement
from vlm_rl.commands.started_ranks import PARENT, StartedRanks, done_key, watch_the_first
from vlm_rl.commands.storable import overrides_as_written

TIME_LIMIT = timedelta(minutes=30)  # of one collective; ranks.collective_minutes
JOINING = timedelta(minutes=10)  # for all ranks to come, which torchrun and SLURM start within seconds
PARTING_S = 30.0  # for a group whose other ranks are dead
FIRST_SPEAKS_S = 15.0  # an error of all ranks is told by the first one, which ends the others meanwhile
_lifelines: list[lifeline.Lifeline] = []  # that of this process, over the jobs of a sweep


class RankLost(RuntimeError):
    """Another rank of this run has ended before its time."""


def again(command: str, *, own: Sequence[str]) -> list[str]:
    """Words after `python` that run the very job of this process, whatever sweep it belongs to; `own`: what only it has."""
    config = HydraConfig.get()
    name = [] if config.job.config_name == command else [f"--config-name={config.job.config_name}"]
    places = searchpath.as_words()
    flags = [word for word in places if word.startswith("--")]  # before all overrides, or Hydra does not know those behind
    overrides = [*overrides_as_written(), *(word for word in places if word not in flags), "hydra.mode=RUN", *own]
    return ["-m", f"vlm_rl.commands.{command}", *name, *flags, *overrides]


@contextlib.contextmanager
def joined(placement: Placement, *, again: Sequence[str], limit: timedelta = TIME_LIMIT) -> Iterator[None]:
    """All ranks as one group, none for a single rank; `again`: words after `python` for this job. Raises RankLost where one died.

    `limit`: of a collective.
    """
    if placement.num_ranks == 1:
        yield
    elif placement.are_started and PARENT not in os.environ:
        with _among_others(placement, limit=limit):
            yield
    elif placement.num_nodes > 1:
        raise ValueError(
            f"trainer.num_nodes={placement.num_nodes}: who starts the processes of the other machines? SLURM does "
            "(launchers/slurm.sh), and torchrun on each of them."
        )
    elif placement.local_rank > 0:
        with _as_started_rank(placement, limit=limit):
            yield
    else:
        with _as_first_rank(placement, again=again, limit=limit):
            yield


@contextlib.contextmanager
def by_first(context: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    """The first rank enters a context for all of them. Its ValueError is told once: the other ranks end after it without a word."""
    with contextlib.ExitStack() as entered:
        refused: ValueError | None = None
        try:
            if ranks.is_first():
                entered.enter_context(context)
        except ValueError as error:
            refused = error
        is_entered = ranks.from_first(refused is None)
        if refused is not None:
            raise refused
        if not is_entered:
            time.sleep(FIRST_SPEAKS_S)
            raise SystemExit(errors.EXIT_CODE)
        yield


@contextlib.contextmanager
def _among_others(placement: Placement, *, limit: timedelta) -> Iterator[None]:
    """Ranks of torchrun or SLURM stay together over the jobs of a sweep.

    An error ends the whole process: Hydra would go on to the next job, and the ranks would be in different ones.
    """
    try:
        if not dist.is_initialized():
            _join_others(placement, limit=limit)
        with _quiet_but_for_the_first(placement), contextlib.ExitStack() as around:
            for line in _lifelines:
                around.enter_context(line.at_work())
            yield
    except Exception as error:
        for line in _lifelines:
            _leave_together(placement, line, error)
        errors.leave_with(error)


def _join_others(placement: Placement, *, limit: timedelta) -> None:
    """torchrun has said where the first rank is; of SLURM Lightning knows."""
    os.environ.setdefault("MASTER_ADDR", placement.address)
    os.environ.setdefault("MASTER_PORT", str(placement.port))
    places = {"rank": placement.rank, "num_ranks": placement.num_ranks}
    store, _, _ = next(rendezvous("env://", placement.rank, placement.num_ranks, timeout=JOINING))
    _lifelines[:] = [lifeline.held(store, **places, limit=JOINING, leave=functools.partial(_leave_for, placement))]
    if TorchElasticEnvironment.detect():
        watch(os.getppid(), then=functools.partial(_leave_without_torchrun, placement))
    store.set_timeout(limit)
    _join(placement, store=store, limit=limit)


def _leave_without_torchrun(placement: Placement) -> NoReturn:
    """It was killed, and would have ended this process."""
    what = f"has lost torchrun on {socket.gethostname()}, which was killed"
    (line,) = _lifelines
    _leave_for(placement, line.failed(what, blames_another=False) or lifeline.Lost(rank=placement.rank, what=what))


def _leave_for(placement: Placement, lost: lifeline.Lost) -> NoReturn:
    """End this process because another rank is lost; the first rank of a machine says so there."""
    why = (
        f"Rank {lost.rank} {lost.what}. This run cannot go on without it; the same command goes on from the last checkpoint."
        f"{rank_logs.last_words(lost.rank)}"
    )
    if placement.local_rank == 0 or (placement.rank == 1 and lost.rank == 0):
        leave_at_once(why)
    print(why, file=sys.stderr, flush=True)
    os._exit(1)


def _leave_together(placement: Placement, line: lifeline.Lifeline, error: Exception) -> None:
    """Tell all ranks of an error, and end with what they agree on as the first. Returns where nobody answers."""
    message = errors.message_of(error) or f"{type(error).__name__}: {error}"
    what = f"failed: {message.strip().splitlines()[0]}"
    lost = line.failed(what, blames_another="gloo" in str(error) or isinstance(error, dist.DistError))
    if lost is None:
        return
    if placement.rank > 0 or lost.what != what:
        _leave_for(placement, lost)
    try:
        errors.leave_with(error)
    except SystemExit as end:
        os._exit(int(end.code or 1))  # NCCL may wait at the end of a process, for ranks that have failed


@contextlib.contextmanager
def _as_started_rank(placement: Placement, *, limit: timedelta) -> Iterator[None]:
    watch_the_first()
    store = TCPStore("127.0.0.1", int(os.environ["MASTER_PORT"]), placement.num_ranks, is_master=False)
    _join(placement, store=store, limit=limit)
    try:
        yield
    except Exception:
        time.sleep(FIRST_SPEAKS_S)
        if rank_logs.last_words(placement.rank):  # the first rank quotes them
            raise SystemExit(errors.EXIT_CODE) from None
        raise
    except SystemExit:
        _part(store, placement)
        raise
    _part(store, placement)


@contextlib.contextmanager
def _as_first_rank(placement: Placement, *, again: Sequence[str], limit: timedelta) -> Iterator[None]:
    store = TCPStore("127.0.0.1", 0, placement.num_ranks, is_master=True, wait_for_workers=False)
    with _environment(LOCAL_RANK="0", NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(store.port)):
        others = StartedRanks(again, count=placement.num_ranks - 1, port=store.port)
        try:
            _join(placement, store=store, limit=limit)
            yield
            _part(store, placement)
        except SystemExit:  # stopped after a step, as the others are
            _part(store, placement)
            raise
        except BaseException as error:
            lost = others.lost(within_s=3.0)
            others.end()
            _abandon()
            if lost is not None and isinstance(error, Exception):
                raise RankLost(lost) from error
            raise
        finally:
            others.leave()


def _join(placement: Placement, *, store: Store, limit: timedelta) -> None:
    """Objects and the processor's tensors go by gloo, those of NVIDIA GPUs by NCCL."""
    backend = "cpu:gloo,cuda:nccl" if placement.device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=placement.rank, world_size=placement.num_ranks, timeout=limit)


def _part(store: Store, placement: Placement) -> None:
    """By all ranks at the same time, before any of them ends: NCCL waits here for the others."""
    store.set(done_key(placement.rank), "")
    dist.destroy_process_group()


def _abandon() -> None:
    """After the other ranks are dead: NCCL may wait for them without end."""
    if not dist.is_initialized():
        return
    thread = threading.Thread(target=dist.destroy_process_group, daemon=True)
    thread.start()
    thread.join(PARTING_S)
    if thread.is_alive():
        leave_at_once("A rank has ended before its time, and the group of ranks does not come apart.")


@contextlib.contextmanager
def _quiet_but_for_the_first(placement: Placement) -> Iterator[None]:
    """Each line for a person is said once; errors, on stderr, by every rank that has one."""
    if placement.rank == 0:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """For Lightning, which reads there that nothing is left to start; as before afterwards: a sweep has other jobs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
