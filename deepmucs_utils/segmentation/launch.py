"""The processes that share a training: which they are, what all take from the first, how they end.

detectron2's ``launch`` starts them, or torchrun did.
"""

import os
import re
import socket
from dataclasses import asdict, astuple, dataclass, replace
from datetime import timedelta
from urllib.parse import urlsplit

import torch
from detectron2.engine import launch as launch_processes
from detectron2.engine.launch import _distributed_worker
from detectron2.utils import comm
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from deepmucs_utils.errors import DeepMuCSError

#: A process that has waited this long for another one ends. One that is killed ends the others as
#: soon as its connections are closed; one that falls silent, after this time.
TIMEOUT = timedelta(minutes=30)
TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: What the loss of another process is, at the end of a traceback: torch's errors, and gloo's.
_LOST = re.compile(
    r"^torch\.distributed\.Dist\w+: (.*)|^\S*RuntimeError: \[\S*/gloo/\S+ (.*?)(?:\. |$)", re.M
)


@dataclass(frozen=True)
class Launch:
    """The processes that share a training; what is None is torchrun's or the default.

    Parameters
    ----------
    processes : int, optional
        Processes on each machine, one per GPU. Default as many of the visible GPUs as can share
        the batch; one on the CPU.
    machines : int, optional
        Number of machines. Default 1.
    machine : int, optional
        Number of this machine, from 0. Default 0.
    address : str, optional
        Address of machine 0 for all of them, e.g. ``tcp://10.0.0.1:5555``. One machine needs none.
    """

    processes: int | None = None
    machines: int | None = None
    machine: int | None = None
    address: str | None = None


def settle(launch, batch, on_gpu):
    """A launch with nothing left open.

    Parameters
    ----------
    launch : Launch
    batch : int
        Images that all processes together see at once.
    on_gpu : bool
        Whether the network is trained on GPUs.

    Returns
    -------
    Launch
        With torchrun's address as ``env://``.

    Raises
    ------
    DeepMuCSError
        If the launch is not possible, or torchrun started other processes than it says.
    """
    started = _by_torchrun()
    given = {name: value for name, value in asdict(launch).items() if value is not None}
    for name, value in given.items():
        if value != started.get(name, value):
            raise DeepMuCSError(
                f"--{name} {value}: torchrun started this process with {started[name]}; leave the "
                "option out."
            )
    chosen = {"machines": 1, "machine": 0, "address": "auto"} | given | started
    gpus = torch.cuda.device_count() if on_gpu else 0
    shared = (n for n in range(gpus, 0, -1) if can_share(batch, n * chosen["machines"]))
    launch = Launch(**{"processes": next(shared, 1)} | chosen)
    if launch.machine >= launch.machines:
        raise DeepMuCSError(
            f"--machine {launch.machine}: expected a number below {launch.machines}, the number of "
            "--machines; they are counted from 0."
        )
    if launch.machines > 1 and launch.address == "auto":
        raise DeepMuCSError(
            f"--machines {launch.machines}: expected the address of machine 0 too, the same on all "
            "of them, such as --address tcp://10.0.0.1:5555."
        )
    if "address" in given:
        _check_address(launch.address)
    if on_gpu and launch.processes > gpus:
        raise DeepMuCSError(
            f"--processes {launch.processes}: this machine has {gpus} visible GPUs; expected at "
            "most one process for each."
        )
    return replace(launch, address="env://") if started else launch


def can_share(batch, processes):
    """Whether each process has equally many images of a batch, at least two."""
    return batch % processes == 0 and batch >= 2 * processes


def _by_torchrun():
    """What torchrun's variables say, by the names of `Launch`; nothing where it started nothing."""
    found = {name: os.environ[name] for name in TORCHRUN if name in os.environ}
    if not found.keys() & {"RANK", "WORLD_SIZE"}:
        return {}
    if len(found) < len(TORCHRUN):
        raise DeepMuCSError(
            f"the variables {', '.join(found)} are set without "
            f"{', '.join(name for name in TORCHRUN if name not in found)}; expected all, as "
            "torchrun sets them, or none."
        )
    for name in TORCHRUN[:4]:
        if not found[name].isdecimal():
            raise DeepMuCSError(f"{name} {found[name]}: expected a whole number, as by torchrun.")
    rank, local_rank, world, local_world = (int(found[name]) for name in TORCHRUN[:4])
    machine, place = divmod(rank, local_world)
    machines, rest = divmod(world, local_world)
    if rest or place != local_rank:
        raise DeepMuCSError(
            f"RANK {rank}, LOCAL_RANK {local_rank}, WORLD_SIZE {world}, LOCAL_WORLD_SIZE "
            f"{local_world}: expected equally many processes on all machines."
        )
    address = f"tcp://{found['MASTER_ADDR']}:{found['MASTER_PORT']}"
    return dict(processes=local_world, machines=machines, machine=machine, address=address)


def _check_address(address):
    try:
        parts = urlsplit(address)
        if parts.scheme != "tcp" or not parts.hostname or not parts.port or parts.path:
            raise ValueError
        socket.getaddrinfo(parts.hostname, parts.port)
    except ValueError:
        raise DeepMuCSError(
            f"--address {address}: expected tcp://HOST:PORT, such as tcp://10.0.0.1:5555."
        ) from None
    except OSError as error:
        raise DeepMuCSError(
            f"--address {address}: the host is not known here ({error.strerror}); expected machine "
            "0's name or number in the network."
        ) from None


def start(launch, function, *args):
    """Run a function in all processes of a launch that was settled.

    Parameters
    ----------
    launch : Launch
        From `settle`.
    function : callable
        Importable.
    *args
        Its arguments.

    Raises
    ------
    DeepMuCSError
        If a process raised it, or ended without a reason of its own, here or on another machine.
    """
    world = launch.processes * launch.machines
    try:
        if launch.address == "env://" and world > 1:
            place = int(os.environ["LOCAL_RANK"])
            size = (world, launch.processes, launch.machine, launch.address)
            _distributed_worker(place, function, *size, args, TIMEOUT)
        else:
            launch_processes(function, *astuple(launch), args=args, timeout=TIMEOUT)
    except ProcessExitedException as error:
        how = error.signal_name or f"exit code {error.exit_code}"
        raise DeepMuCSError(
            f"process {error.error_index} of this machine ended ({how}); if memory was exhausted, "
            "lower --batch or --processes; --resume continues the run."
        ) from None
    except (ProcessRaisedException, RuntimeError) as error:
        raise _sentence(error, launch.address) from None


def _sentence(error, address):
    """The one sentence that a process ended with, or the error itself."""
    text = str(error).strip()
    if not isinstance(error, ProcessRaisedException):
        text = f"{type(error).__module__}.{type(error).__name__}: {text}"
    name, _, sentence = text.splitlines()[-1].partition(": ")
    if name.endswith("DeepMuCSError"):
        return DeepMuCSError(sentence)
    lost = _LOST.search(text)
    if lost is None:
        return error
    return DeepMuCSError(
        f"the connection to the other processes ({address}) was lost or never made "
        f"({(lost[1] or lost[2]).rstrip('.')}); if one of them ended, it says why, and --resume "
        "continues the run on all machines."
    )


def from_first(make):
    """What process 0 makes, for all processes; an error of it ends them all.

    Parameters
    ----------
    make : callable
        Called without arguments, by process 0 alone.

    Returns
    -------
    object
        What it returned, as pickle copies it.

    Raises
    ------
    DeepMuCSError
        In every process, if ``make`` raised it.
    """
    if comm.get_world_size() == 1:
        return make()
    made = [None]
    if comm.is_main_process():
        try:
            made = [make()]
        except DeepMuCSError as error:
            made = [error]
    torch.distributed.broadcast_object_list(made)
    if isinstance(made[0], DeepMuCSError):
        raise made[0]
    return made[0]
