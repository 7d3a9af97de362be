"""One training in several processes: each has its share of the environments, all have the same network.

Whoever starts them (``torchrun``) says in ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT`` who
they are and where they meet. What they tell each other goes through ``torch.distributed``: gloo on the CPU,
nccl between graphics cards.
"""

from __future__ import annotations

import atexit
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# Before there is a group: this module's default arguments are the group of the time, and keep it from being
# destroyed. Threads of gloo that outlive the interpreter end the process with SIGABRT now and then.
import torch.distributed.nn.functional
from torch import Tensor, nn

from plastic_rl.arguments import is_integer

Value = TypeVar("Value")

MEETING = timedelta(minutes=2)
"""How long processes wait for each other at the start."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FAILURE = "plastic_rl/failure"
# Where processes leave notes for each other that nobody waits for.
_store: Any = None


class LostProcessError(RuntimeError):
    """Another process of the training has ended, so that this one cannot go on."""


@dataclass(frozen=True)
class Processes:
    """Those that train one network together. Every process has to call the same methods in the same order.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def __str__(self) -> str:
        """What follows a number of things that they share; nothing for a single one."""
        return "" if self.alone else f" in {self.size} processes"

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this is the one that logs, saves and prints."""
        return self.rank == 0

    def share(self, name: str, total: int) -> int:
        """How many of so many things are this process's: the first ones have one more where it has to be.

        Raises:
            ValueError: there are fewer than processes; the message calls them `name`.
        """
        if is_integer(total) and total < self.size:
            raise ValueError(
                f"{name} must be at least {self.size}, one for each of the processes, got {total}"
            )
        return total // self.size + (self.rank < total % self.size)

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes, by rank."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.size
        with _talking():
            dist.all_gather_object(found, value)
        return found

    def from_first(self, value: Value) -> Value:
        """The value that the first process has given."""
        if self.alone:
            return value
        found = [value]
        with _talking():
            dist.broadcast_object_list(found)
        return found[0]

    def any(self, flag: bool) -> bool:
        """Whether it is true in one of the processes."""
        return bool(self.largest(int(flag)))

    def largest(self, value: int) -> int:
        """The largest of the values of all processes."""
        if self.alone:
            return value
        found = torch.tensor(value)
        with _talking():
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes."""
        if self.alone:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        self.sum_(total)
        return total.tolist()

    def sum_(self, values: Tensor) -> None:
        """Put the sums over all processes in the place of the values."""
        if not self.alone:
            with _talking():
                dist.all_reduce(values)

    def means(self, values: Mapping[str, float], weight: float) -> dict[str, float]:
        """Means over all processes, each with its weight."""
        if self.alone:
            return dict(values)
        *sums, total = self.sum([*(weight * value for value in values.values()), weight])
        return {name: value / total for name, value in zip(values, sums, strict=True)}

    def normalized(self, values: Tensor) -> Tensor:
        """The values minus their mean, divided by their standard deviation, both over all processes.

        A single value stays as it is.
        """
        if self.alone:
            return values if values.numel() == 1 else (values - values.mean()) / (values.std() + 1e-8)
        exact = values.detach().double()
        count, total, squares = self.sum([exact.numel(), exact.sum().item(), exact.square().sum().item()])
        if count == 1:
            return values
        mean = total / count
        variance = max(squares - count * mean**2, 0.0) / (count - 1)
        return (values - mean) / (variance**0.5 + 1e-8)

    def average_gradients(self, parameters: Iterable[nn.Parameter], weight: float) -> None:
        """Put the mean over all processes in the place of the gradients, each with its weight: one reduction.

        A parameter that has a gradient in no process keeps none.
        """
        if self.alone:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        has = [float(parameter.grad is not None) for parameter in trained]
        parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in trained]
        flat = torch.cat([*(part.flatten() for part in parts), parts[0].new_tensor([*has, 1.0])])
        end = flat.numel() - len(has) - 1
        flat[:end] *= weight
        flat[-1] = weight
        self.sum_(flat)
        gradients = (flat[:end] / flat[-1]).split([part.numel() for part in parts])
        for parameter, gradient, count in zip(trained, gradients, flat[end:-1].tolist(), strict=True):
            if count:
                parameter.grad = gradient.view_as(parameter)

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Around what may fail in this process alone: the others learn why, when they miss it."""
        try:
            yield
        except BaseException as error:
            if not self.alone and not isinstance(error, LostProcessError):
                text = " ".join(str(error).split())
                _leave(_FAILURE, f"process {self.rank} of {self.size}: {type(error).__name__}: {text}")
            raise


ALONE = Processes()
"""A training in one process."""


def processes_of(model: Any) -> Processes:
    """Those that train a model; one of another package's algorithms trains alone."""
    return getattr(model, "processes", ALONE)


def join(distributed: bool | None = None) -> Processes:
    """Meet the other processes of this training; a second call changes nothing.

    Torch gets its share of the cores as threads, unless ``OMP_NUM_THREADS`` says otherwise (torchrun sets it
    to 1 for all who do not).

    Args:
        distributed: False trains alone; True needs other processes, or a ``WORLD_SIZE`` of 1; None takes
            what it finds.

    Raises:
        ValueError: ``distributed`` is something else, or true where nobody has started several processes;
            the variables are incomplete or wrong; or the others do not come.
    """
    if distributed is not None and not isinstance(distributed, bool):
        raise ValueError(f"distributed must be true, false or None, got {distributed!r}")
    if distributed is False:
        return ALONE
    if not (dist.is_available() and dist.is_initialized()):
        launched = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE") if os.environ.get(name)}
        if len(launched) < 2:
            if distributed:
                raise ValueError(
                    "distributed=True needs processes that know of each other, but RANK and WORLD_SIZE are "
                    "not set: start them with torchrun --nproc-per-node K"
                )
            return ALONE
        rank, size = (_whole(name, text) for name, text in launched.items())
        if size == 1:
            return ALONE
        if not 0 <= rank < size:
            raise ValueError(f"RANK must lie between 0 and WORLD_SIZE - 1 = {size - 1}, got {rank}")
        _meet(rank, size)
    return Processes(dist.get_rank(), dist.get_world_size())


def first_to_say(text: str) -> bool:
    """Whether no other process has said this: what is wrong for all of them is then said once.

    Before they have met, only the first one says anything.
    """
    if _store is None:
        return os.environ.get("RANK", "0") == "0"
    with suppress(RuntimeError):
        return _store.add(f"plastic_rl/said/{text}", 1) == 1
    return True


def _meet(rank: int, size: int) -> None:
    global _store
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not os.environ.get(name):
            raise ValueError(
                f"{name} must say where the {size} processes of WORLD_SIZE meet, but is not set: start them "
                "with torchrun --nproc-per-node K, or set it"
            )
    address, port = os.environ["MASTER_ADDR"], _whole("MASTER_PORT", os.environ["MASTER_PORT"])
    here = _whole("LOCAL_WORLD_SIZE", os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if address in _LOOPBACK or here == size:
        # All on this machine, which may have no network.
        loopback = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
    backend = "gloo"
    cards = torch.cuda.device_count()
    if cards and here <= cards and dist.is_nccl_available():
        backend = "cpu:gloo,cuda:nccl"
    if cards:
        torch.cuda.set_device(_whole("LOCAL_RANK", os.environ.get("LOCAL_RANK", "0")) % cards)
    if os.environ.get("OMP_NUM_THREADS", "1") == "1":
        torch.set_num_threads(max(1, _cores() // here))
    try:
        _store, *_ = next(dist.rendezvous("env://", timeout=MEETING))
        dist.init_process_group(backend, store=_store, rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the {size} processes of WORLD_SIZE did not meet at MASTER_ADDR:MASTER_PORT = {address}:{port} "
            f"within {MEETING.seconds} s: {reason}"
        ) from error
    atexit.register(_part)


def _part() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} must be a whole number, got {text!r}") from None


def _cores() -> int:
    """The cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _leave(name: str, text: str) -> None:
    if _store is not None:
        with suppress(RuntimeError):
            _store.set(name, text)


@contextmanager
def _talking() -> Iterator[None]:
    """Around what needs all processes.

    Raises:
        LostProcessError: one has ended.
    """
    try:
        yield
    except RuntimeError as error:
        failure = ""
        with suppress(RuntimeError):
            if _store is not None and _store.check([_FAILURE]):
                failure = f": {_store.get(_FAILURE).decode()}"
        raise LostProcessError(
            f"another process of this training has ended, so this one ends, too{failure}"
        ) from error
