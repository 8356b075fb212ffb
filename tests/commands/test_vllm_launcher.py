"""launchers/vllm.sh: which servers it starts with which words, and that none of them is left, however it ends."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launcher_scripts import ROOT
from serving_app import free_port
from tiny_commands import NUM_STEPS, TINY, only_run, trained_steps
from vllm_launches import Launch

Start = Callable[..., Launch]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts launchers, of which nothing is left after the test."""
    begun: list[Launch] = []

    def started(*typed: str, **settings: object) -> Launch:
        settings = {"BASE_PORT": str(free_port())} | settings
        begun.append(Launch(tmp_path, *typed, **settings))  # type: ignore[arg-type]
        return begun[-1]

    yield started
    for launch in begun:
        launch.close()


@pytest.mark.parametrize(
    ("visible", "settings", "of_servers", "of_trainer"),
    [
        ("", {}, ["unset"], "unset"),
        ("", {"SERVERS": "2"}, ["unset", "unset"], "unset"),
        ("GPU-7f", {}, ["GPU-7f"], "GPU-7f"),
        ("0,1,GPU-7f", {}, ["1", "GPU-7f"], "0"),
        ("4,5,6,7", {"SERVERS": "2"}, ["6", "7"], "4,5"),
    ],
    ids=["no GPU", "two without a GPU", "one GPU", "all but one", "as many as told"],
)
def test_each_server_has_a_gpu_and_train_py_the_rest(
    visible: str, settings: dict[str, str], of_servers: list[str], of_trainer: str, start: Start
) -> None:
    launch = start("study=a", "seed=range(5)", "-m", VISIBLE=visible, **settings)
    assert launch.wait() == 0, launch.err
    assert not launch.running()
    servers = launch.servers()
    assert [words[0] for words in servers.values()] == of_servers
    share = ["--gpu-memory-utilization", "auto"] if visible == "GPU-7f" else []
    for port, (_, *words) in servers.items():
        flags = ["--port", str(port), *share, "--host", "127.0.0.1"]
        assert words == ["1", "serve", "a model", '{"image": 1}', *flags]
    _, *inherited = launch.out.splitlines()
    urls = ",".join(f"http://127.0.0.1:{port}" for port in servers)
    devices = [f"trainer.devices={len(of_trainer.split(','))}"] if visible else []
    typed = ["study=a", "seed=range(5)", "-m"]
    assert inherited == [of_trainer, "train.py", "rollout=vllm", f"rollout.engine.servers=[{urls}]", *devices, *typed]


def test_ports_that_are_taken_are_left_out_and_a_share_is_handed_on(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        launch = start(BASE_PORT=str(port), VISIBLE="0,1", MEMORY_SHARE="0.4")
        assert launch.wait() == 0, launch.err
    ((used, words),) = launch.servers().items()
    assert used > port
    assert words[-4:-2] == ["--gpu-memory-utilization", "0.4"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"VISIBLE": "0,1", "SERVERS": "2"}, "SERVERS=2 leaves no GPU for train.py; 2 are visible here"),
        ({"VISIBLE": "0", "SERVERS": "2"}, "SERVERS=2 leaves no GPU for train.py; 1 are visible here"),
        ({"SERVERS": "none"}, "SERVERS=none is no number of servers"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(settings: dict[str, str], told: str, start: Start) -> None:
    launch = start(**({"VISIBLE": ""} | settings))
    assert launch.wait() == 2
    assert told in launch.err and not launch.servers()


def test_a_server_that_dies_while_it_starts_ends_the_launcher_with_its_last_lines(start: Start) -> None:
    dies = 'if ((port % 2)); then seq 30; echo "no kernel image"; exit 1; else sleep 100; fi'
    begun = time.monotonic()
    launch = start(VISIBLE="", SERVERS="2", SERVER=dies)
    assert launch.wait() == 1
    assert time.monotonic() - begun < 20
    assert "ended while it was starting" in launch.err and launch.err.splitlines()[-2:] == ["30", "no kernel image"]
    assert len(launch.err.splitlines()) == 21
    assert len(launch.servers()) == 2 and not launch.running()
    assert "train.py" not in launch.out


def test_a_server_that_never_answers_ends_the_launcher_too(start: Start) -> None:
    launch = start(VISIBLE="", SERVER="echo loading; sleep 100", START_MINUTES="0")
    assert launch.wait() == 1
    assert "did not answer within START_MINUTES=0" in launch.err
    assert not launch.running()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_before_train_py_a_signal_ends_all_at_once(number: signal.Signals, code: int, start: Start) -> None:
    launch = start(VISIBLE="", SERVER="exec sleep 100")
    launch.wait_until(lambda: bool(launch.running()))
    launch.process.send_signal(number)
    assert launch.wait() == code
    assert not launch.running()


def test_sigterm_is_handed_on_and_the_servers_stay_until_train_py_has_ended(start: Start) -> None:
    train = (
        "trap 'kill -0 $(head -n 1 $RECORDS/*[0-9]) && echo served && exit 7' TERM; echo trains; while :; do sleep 0.1; done"
    )
    launch = start(VISIBLE="", TRAIN=train)
    launch.wait_until(lambda: "trains" in launch.out)
    launch.process.terminate()
    assert launch.wait() == 7
    assert launch.out.splitlines()[-1] == "served" and not launch.running()


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_no_server(start: Start, tmp_path: Path) -> None:
    """By the real commands, as typed; that the same command goes on, test_vllm_runs.py shows."""
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    server = f"exec $REAL_PYTHON {ROOT}/tests/rollout/stand_in.py --port $port"
    launch = start(*TINY, "study=s", "checkpoint.every=100", is_real=True, CUDA_VISIBLE_DEVICES="", SERVER=server)
    launch.wait_until(lambda: bool(list(tmp_path.glob("outputs/s/*/seed-0/completions/step-*"))))
    assert launch.running()
    launch.interrupt()
    assert launch.wait() == 130, launch.out + launch.err
    assert "SIGINT: finishing this step, then a checkpoint." in launch.out
    assert not launch.running()
    run = only_run(tmp_path, study="s")
    done = trained_steps(run)
    assert done and len(done) < NUM_STEPS
    assert list(run.path.glob(f"checkpoints/step-{done[-1]:06d}"))
