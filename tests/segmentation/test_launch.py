import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
from detectron2.utils import comm

from deepmucs_utils.cli import main
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation import launch, training
from deepmucs_utils.segmentation.launch import TORCHRUN, Launch, settle
from deepmucs_utils.segmentation.run_files import load, write_config
from deepmucs_utils.segmentation.trainer import Trainer
from tests.tiny import tiny_config, write_set

ADDRESS = "tcp://127.0.0.1:5555"
BY_TORCHRUN = dict(zip(TORCHRUN, ("3", "1", "4", "2", "127.0.0.1", "5555"), strict=True))


@pytest.fixture(autouse=True)
def no_torchrun(monkeypatch):
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)


def torchrun(monkeypatch, **changes):
    for name, value in (BY_TORCHRUN | changes).items():
        monkeypatch.setenv(name, value)


def with_gpus(monkeypatch, number):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)


@pytest.mark.parametrize(
    ("gpus", "batch", "machines", "processes"),
    [(0, 4, 1, 1), (1, 2, 1, 1), (4, 8, 1, 4), (8, 12, 1, 6), (8, 16, 2, 4), (2, 3, 1, 1)],
)
def test_the_visible_gpus_are_used_as_far_as_they_can_share_the_batch(
    monkeypatch, gpus, batch, machines, processes
):
    with_gpus(monkeypatch, gpus)
    chosen = settle(Launch(machines=machines, address=ADDRESS), batch, on_gpu=gpus > 0)
    assert chosen == Launch(processes, machines, 0, ADDRESS)
    assert settle(Launch(), batch, on_gpu=False) == Launch(1, 1, 0, "auto")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (Launch(machines=2), "--machines 2: expected the address .* --address tcp://10.0.0.1:5555"),
        (Launch(1, 2, 2, ADDRESS), "--machine 2: expected a number below 2"),
        (Launch(machine=1), "--machine 1: expected a number below 1"),
        (Launch(3), "--processes 3: this machine has 2 visible GPUs"),
        (Launch(1, 2, 1, "tcp://no-host.invalid:5555"), "invalid:5555: the host is not known here"),
    ]
    + [
        (Launch(1, 2, 1, address), f"--address {re.escape(address)}: expected tcp://HOST:PORT")
        for address in ("127.0.0.1:5555", "tcp://127.0.0.1", "tcp://:5555", "http://a:80")
        + ("tcp://a:b", "tcp://a:70000", "tcp://a:0", "tcp://a:5/b", "tcp://[::1:5")
    ],
)
def test_a_launch_that_is_not_possible_is_refused(monkeypatch, given, sentence):
    with_gpus(monkeypatch, 2)
    with pytest.raises(DeepMuCSError, match=sentence):
        settle(given, 8, on_gpu=True)


def test_torchruns_variables_say_which_process_this_is(monkeypatch):
    torchrun(monkeypatch)
    expected = Launch(2, 2, 1, "env://")
    assert settle(Launch(), 8, on_gpu=False) == expected
    assert settle(Launch(2, 2, 1, ADDRESS), 8, on_gpu=False) == expected


@pytest.mark.parametrize(
    ("given", "changes", "sentence"),
    [
        (Launch(3), {}, "--processes 3: torchrun started this process with 2; leave the option"),
        (Launch(machine=0), {}, "--machine 0: torchrun started this process with 1"),
        (Launch(address="tcp://a:1"), {}, f"--address tcp://a:1: torchrun .* with {ADDRESS}"),
        (Launch(), {"WORLD_SIZE": "5"}, "expected equally many processes on all machines"),
        (Launch(), {"RANK": "two"}, "RANK two: expected a whole number"),
    ],
)
def test_what_contradicts_torchrun_is_refused(monkeypatch, given, changes, sentence):
    torchrun(monkeypatch, **changes)
    with pytest.raises(DeepMuCSError, match=sentence):
        settle(given, 8, on_gpu=False)


def test_some_of_torchruns_variables_are_too_few(monkeypatch):
    torchrun(monkeypatch)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    with pytest.raises(DeepMuCSError, match="are set without LOCAL_WORLD_SIZE; expected all"):
        settle(Launch(), 8, on_gpu=False)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def open_run(rank, port, folder, cfgs, out):
    """A process's part of a training, up to the error that ends it."""
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", None, 2, rank)
    with pytest.raises(DeepMuCSError) as found:
        training._train(cfgs[rank], None, None, out[rank], resume=False)
    (folder / f"{rank}.txt").write_text(str(found.value))


@pytest.mark.parametrize(
    ("seed", "sentence"), [(0, "run: holds a run; .* --resume"), (1, "different: SEED")]
)
def test_all_machines_end_with_what_is_wrong_on_the_first(tmp_path, seed, sentence):
    """Forked, as the start of a process takes seconds otherwise."""
    cfgs = [tiny_config(), tiny_config(seed=seed)]
    out = [tmp_path / "run", tmp_path / "nowhere"]
    out[0].mkdir()
    write_config(cfgs[0], out[0])
    args = (free_port(), tmp_path, cfgs, out)
    torch.multiprocessing.start_processes(open_run, args, nprocs=2, start_method="fork")
    one, two = ((tmp_path / f"{rank}.txt").read_text() for rank in (0, 1))
    assert one == two and re.search(sentence, one)
    assert not out[1].exists()


def kill_the_second():
    if comm.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def lose_the_second():
    if comm.get_rank() == 0:
        torch.distributed.barrier()
    time.sleep(1)
    os._exit(0)


@pytest.fixture()
def forked(monkeypatch):
    """The start of a process takes seconds otherwise."""
    fork = partial(torch.multiprocessing.start_processes, start_method="fork")
    monkeypatch.setattr(torch.multiprocessing, "start_processes", fork)


def test_a_killed_process_is_named(forked):
    with pytest.raises(DeepMuCSError, match=r"process 1 of .* \(SIGKILL\); .* --resume continues"):
        launch.start(Launch(2, 1, 0, "auto"), kill_the_second)


def test_the_loss_of_another_process_is_one_sentence(forked):
    with pytest.raises(DeepMuCSError, match=r"\(auto\) was lost .*\(Connection closed by peer"):
        launch.start(Launch(2, 1, 0, "auto"), lose_the_second)


def test_an_address_in_use_is_one_sentence(forked):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        address = f"tcp://127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(DeepMuCSError, match=f"{address}.*never made .*address already in use"):
            launch.start(Launch(1, 2, 0, address), kill_the_second)


def test_machines_that_do_not_come_are_not_waited_for_for_ever(forked, monkeypatch):
    monkeypatch.setattr(launch, "TIMEOUT", timedelta(seconds=1))
    with pytest.raises(DeepMuCSError, match="never made .Timed out after .* 1/2 clients joined"):
        launch.start(Launch(1, 2, 0, f"tcp://127.0.0.1:{free_port()}"), kill_the_second)


def tiny(iterations, seed, batch, **_):
    cfg = tiny_config(iterations, seed=seed)
    cfg.SOLVER.IMS_PER_BATCH = batch
    return cfg


def killed(self, batch, step=Trainer.step):
    if self.iteration == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch)


def deepmucs(arguments, variables=None, said=None, step=Trainer.step):
    """The command of a machine, which is a process here; it trains a tiny network."""
    os.environ.update(variables or {})
    sys.stderr = open(said, "w") if said else sys.stderr
    training.training_config, Trainer.step = tiny, step
    fork = partial(torch.multiprocessing.start_processes, start_method="fork")
    torch.multiprocessing.start_processes = fork
    sys.exit(main(arguments))


@pytest.fixture()
def machine():
    """Starts machines by forks of a process that has imported everything, once."""
    forks, started = multiprocessing.get_context("forkserver"), []
    forks.set_forkserver_preload([__name__])

    def machine(*arguments, **options):
        started.append(forks.Process(target=deepmucs, args=arguments, kwargs=options))
        started[-1].start()
        return started[-1]

    yield machine
    for process in started:
        process.kill()


def end(process):
    process.join(600)
    return process.exitcode


@pytest.mark.slow
def test_killed_machines_resume_to_the_weights_of_an_uninterrupted_training(machine, tmp_path):
    folder, shared, own = write_set(tmp_path / "set"), tmp_path / "shared", tmp_path / "own"
    command = ["train", str(folder), "--val", str(folder), "--iterations", "4", "--batch", "4"]

    script = tmp_path / "train.py"
    script.write_text(f"import sys\nfrom {__name__} import deepmucs\ndeepmucs(sys.argv[1:])\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    whole = ["--out", str(tmp_path / "whole")]
    subprocess.run([*torchrun, str(script), *command, *whole], check=True, env=environment)
    weights = load(tmp_path / "whole" / "last.pth")["model"]

    def by_torchrun(number, port, out, *options, **others):
        values = (str(number), "0", "2", "1", "127.0.0.1", str(port))
        variables = dict(zip(TORCHRUN, values, strict=True))
        return machine([*command, "--out", str(out), *options], variables, **others)

    def by_options(number, port, out, *options):
        where = [
            "--machines",
            "2",
            "--machine",
            str(number),
            "--address",
            f"tcp://127.0.0.1:{port}",
        ]
        return machine([*command, "--out", str(out), *options, *where])

    port, said = free_port(), tmp_path / "said.txt"
    left = by_torchrun(0, port, shared, said=said)
    assert end(by_torchrun(1, port, shared, step=killed)) == -signal.SIGKILL
    assert end(left) == 2
    sentence = said.read_text().splitlines()[-1]
    assert re.match("deepmucs: error: the connection to the other processes .* was lost", sentence)
    assert load(shared / "last.pth")["iteration"] == 2

    shutil.copytree(shared, own)
    for start, folders in {by_options: (own, tmp_path / "no"), by_torchrun: (shared,) * 2}.items():
        port = free_port()
        both = [start(number, port, out, "--resume") for number, out in enumerate(folders)]
        assert [end(process) for process in both] == [0, 0]
        resumed = load(folders[0] / "last.pth")
        assert resumed["iteration"] == 4
        assert all(torch.equal(resumed["model"][name], weight) for name, weight in weights.items())
    assert not (tmp_path / "no").exists()
