"""The processes of one command, one for each device: started, joined to a group, watched, and ended together.

Lightning would type the command line again, which is wrong inside a sweep (each rank would run the whole sweep) and behind a
trailing `-m`. Here the other ranks get the one job that this process runs. What torchrun or SLURM started is only joined.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch.distributed as dist
from hydra.core.hydra_config import HydraConfig
from torch._C._distributed_c10d import Store, TCPStore

from vlm_rl.commands import searchpath
from vlm_rl.commands.placement import Placement

TIME_LIMIT = timedelta(minutes=30)  # of one collective
FINE = (None, 0, 130)  # exit codes: still running, done, stopped by a signal after its step
PATIENCE_S = 20.0  # for a collective to notice by itself that a rank is gone
LEAVING_S = 300.0  # for a rank to end after its work
FIRST_SPEAKS_S = 15.0  # an error of all ranks is told by the first one, which ends the others meanwhile
PARENT = "VLM_RL_FIRST_RANK"  # process id, in the environment of the ranks that it started


def again(command: str, *, own: Sequence[str]) -> list[str]:
    """Words after `python` that run the very job of this process, whatever sweep it belongs to; `own`: what only it has."""
    config = HydraConfig.get()
    name = [] if config.job.config_name == command else [f"--config-name={config.job.config_name}"]
    places = searchpath.as_overrides(searchpath.in_use())
    return ["-m", f"vlm_rl.commands.{command}", *name, *config.overrides.task, *places, "hydra.mode=RUN", *own]


class RankLost(RuntimeError):
    """Another rank of this run has ended before its time."""


@contextlib.contextmanager
def joined(placement: Placement, *, again: Sequence[str]) -> Iterator[None]:
    """All ranks of this command as one group; on a single rank nothing happens.

    `again`: words after `python` that run this very job. Raises RankLost where another rank died.
    """
    if placement.num_ranks == 1 or dist.is_initialized():  # ranks of torchrun or SLURM stay together over the jobs of a sweep
        with _quiet_but_for_the_first(placement):
            yield
        return
    if placement.are_started and PARENT not in os.environ:
        _join(placement, store=None)
        with _quiet_but_for_the_first(placement):
            yield
        return
    with _own_group(placement, again=again), _quiet_but_for_the_first(placement):
        yield


@contextlib.contextmanager
def _own_group(placement: Placement, *, again: Sequence[str]) -> Iterator[None]:
    if placement.num_nodes > 1:
        raise ValueError(
            f"trainer.num_nodes={placement.num_nodes}: who starts the processes of the other machines? SLURM does "
            "(launchers/slurm.sh), and torchrun on each of them."
        )
    if placement.local_rank > 0:
        with _as_started_rank(placement):
            yield
    else:
        with _as_first_rank(placement, again=again):
            yield


@contextlib.contextmanager
def _as_started_rank(placement: Placement) -> Iterator[None]:
    threading.Thread(target=_end_without, args=(int(os.environ[PARENT]),), daemon=True).start()
    store = TCPStore("127.0.0.1", int(os.environ["MASTER_PORT"]), placement.num_ranks, is_master=False)
    _join(placement, store=store)
    try:
        yield
    except Exception:
        time.sleep(FIRST_SPEAKS_S)
        raise
    dist.destroy_process_group()


@contextlib.contextmanager
def _as_first_rank(placement: Placement, *, again: Sequence[str]) -> Iterator[None]:
    store = TCPStore("127.0.0.1", 0, placement.num_ranks, is_master=True, wait_for_workers=False)
    with _environment(LOCAL_RANK="0", NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(store.port)):
        others = _Others(again, count=placement.num_ranks - 1)
        try:
            _join(placement, store=store)
            yield
        except (Exception, KeyboardInterrupt) as error:
            lost = others.lost(within_s=3.0)
            others.end()
            if lost is not None and isinstance(error, Exception):
                raise RankLost(lost) from error
            raise
        finally:
            others.leave()
            if dist.is_initialized():
                dist.destroy_process_group()


def _join(placement: Placement, *, store: Store | None) -> None:
    """Objects and the processor's tensors go by gloo, those of NVIDIA GPUs by NCCL."""
    backend = "cpu:gloo,cuda:nccl" if placement.device.type == "cuda" else "gloo"
    if store is None:  # torchrun has said where; of SLURM Lightning knows
        os.environ.setdefault("MASTER_ADDR", placement.address)
        os.environ.setdefault("MASTER_PORT", str(placement.port))
    dist.init_process_group(backend, store=store, rank=placement.rank, world_size=placement.num_ranks, timeout=TIME_LIMIT)


class _Others:
    """The ranks that the first one started, and a thread that watches them: a collective may hang where one has died."""

    def __init__(self, again: Sequence[str], *, count: int) -> None:
        command, environment = [sys.executable, *again], {**os.environ, PARENT: str(os.getpid())}
        self._processes = [
            subprocess.Popen(command, env=environment | {"LOCAL_RANK": str(i + 1)}, stdin=subprocess.DEVNULL)
            for i in range(count)
        ]
        self._is_over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def lost(self, *, within_s: float) -> str | None:
        """Which rank ended before its time, in words."""
        deadline = time.monotonic() + within_s
        while (found := self._ended()) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def end(self) -> None:
        """Politely, then not."""
        for process in self._processes:
            process.terminate()
        self._wait(5.0)
        for process in self._processes:
            process.kill()
            process.wait()

    def leave(self) -> None:
        """Waits for those that still finish."""
        self._wait(LEAVING_S)
        self._is_over.set()
        self.end()

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(process.poll() is None for process in self._processes) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _ended(self) -> str | None:
        for number, process in enumerate(self._processes, start=1):
            code = process.poll()
            if code not in FINE:
                assert code is not None
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                return f"Rank {number} {how}, so this run cannot go on. The same command goes on from the last checkpoint."
        return None

    def _watch(self) -> None:
        while not self._is_over.wait(1.0):
            lost = self._ended()
            if lost is not None and not self._is_over.wait(PATIENCE_S):
                print(f"\nError: {lost}", file=sys.stderr, flush=True)
                self.end()
                os._exit(1)


def _end_without(first: int) -> None:
    """A rank whose first rank was killed would wait for it in a collective."""
    while os.getppid() == first:
        time.sleep(1.0)
    print(
        "\nError: The first rank is gone, so this run cannot go on. The same command goes on from the last checkpoint.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


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
