"""SLURM with accounting on this machine: its daemons, started by hand from a folder of their own, with ports of their own."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from serving_app import free_port

CORES = 4  # that SLURM shares out, whatever the machine has
PATIENCE_S = 180.0
ENDING_S = 30.0
PASSWORD = "only-on-this-machine"
SEARCHED = f"/usr/sbin{os.pathsep}{os.environ.get('PATH', '')}"

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=0
KillWait=60
SlurmctldTimeout=300
SlurmdTimeout=300
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePass={folder}/munge.socket
AccountingStoragePort={slurmdbd_port}
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=low Nodes=one Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=graceful Nodes=one MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=high Nodes=one MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""
SLURMDBD_CONF = """
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={slurmdbd_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
"""


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """The variables by which sbatch and the other commands find this SLURM. All daemons are stopped at the end."""
    ports = {f"{name}_port": free_port() for name in ("slurmctld", "slurmd", "slurmdbd", "database")}
    values = {"folder": folder, "host": socket.gethostname(), "cores": CORES, "password": PASSWORD, **ports}
    for name, text in (("slurm.conf", SLURM_CONF), ("slurmdbd.conf", SLURMDBD_CONF)):
        (folder / name).write_text(text.format_map(values))
        (folder / name).chmod(0o600)
    for name in ("state", "spool", "database"):
        (folder / name).mkdir()
    environment = os.environ | {"PATH": SEARCHED, "SLURM_CONF": str(folder / "slurm.conf")}
    with contextlib.ExitStack() as daemons:

        def start(*command: str, ready: Callable[[], bool]) -> None:
            daemons.enter_context(_daemon(command, folder=folder, environment=environment, ready=ready))

        def answers(*command: str, says: str = "") -> Callable[[], bool]:
            return lambda: (said := _output(command, environment=environment)) is not None and says in said

        _munge(folder, start, answers)
        _database(folder, ports["database_port"], start, answers, environment=environment)
        start("slurmdbd", "-D", ready=answers("sacctmgr", "-n", "show", "cluster"))
        _checked("sacctmgr", "-i", "add", "cluster", "test", environment=environment)
        start("slurmctld", "-D", "-c", ready=answers("scontrol", "ping", says="UP"))
        start("slurmd", "-D", ready=answers("sinfo", "-h", "-o", "%T", says="idle"))
        yield {"PATH": SEARCHED, "SLURM_CONF": str(folder / "slurm.conf")}
        _output(("scancel", "--user=root"), environment=environment)
        _until(lambda: _output(("squeue", "-h"), environment=environment) == "", what="an empty queue")


def _munge(folder: Path, start: Callable[..., None], answers: Callable[..., Callable[[], bool]]) -> None:
    key, sock = folder / "munge.key", folder / "munge.socket"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = {
        "key-file": key,
        "pid-file": folder / "munge.pid",
        "seed-file": folder / "munge.seed",
        "log-file": folder / "munge.log",
    }
    flags = [f"--{name}={path}" for name, path in files.items()]
    start(
        "munged",
        "--foreground",
        "--force",
        f"--socket={sock}",
        *flags,
        ready=answers("munge", "-n", f"--socket={sock}", says="MUNGE"),
    )


def _database(
    folder: Path,
    port: int,
    start: Callable[..., None],
    answers: Callable[..., Callable[[], bool]],
    *,
    environment: Mapping[str, str],
) -> None:
    own = ("--no-defaults", f"--datadir={folder}/database", "--user=root")
    normal = "--auth-root-authentication-method=normal"
    _checked("mariadb-install-db", *own, normal, "--skip-test-db", environment=environment)
    sock = f"--socket={folder}/database.socket"
    start(
        "mariadbd",
        *own,
        sock,
        "--bind-address=127.0.0.1",
        f"--port={port}",
        ready=answers("mariadb-admin", "--no-defaults", sock, "ping", says="alive"),
    )
    made = f"create user slurm@'127.0.0.1' identified by '{PASSWORD}'; grant all on slurm_acct_db.* to slurm@'127.0.0.1';"
    _checked("mariadb", "--no-defaults", sock, "-e", made, environment=environment)


@contextlib.contextmanager
def _daemon(
    command: tuple[str, ...], *, folder: Path, environment: Mapping[str, str], ready: Callable[[], bool]
) -> Iterator[None]:
    with (folder / f"{command[0]}.output").open("wb") as output:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=output, start_new_session=True)
    try:
        _until(lambda: process.poll() is not None or ready(), what=" ".join(command))
        assert process.poll() is None, (folder / f"{command[0]}.output").read_text()[-3000:]
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=ENDING_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until(is_so: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {PATIENCE_S:.0f} s: {what}")
        time.sleep(0.2)


def _output(command: tuple[str, ...], *, environment: Mapping[str, str]) -> str | None:
    """What a command prints, None where it fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _checked(*command: str, environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
