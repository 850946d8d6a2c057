"""The same batch on many machines, by Ray Data: read, compute in actors that keep the model, write.

Each step is the one of `batch.Worker`, so the bytes are those of one machine. What goes from machine to machine is the
picture's file, the network's input and its output. Every machine reaches the two places by the same names, and finds
the weights in a store of its own: a task of names and hashes travels, never a network.

Work that is lost with a machine is done again by another: a cut-out is whole or not there, and the journal, to which
every worker adds a part of its own, tells the next run, wherever it is started, what is done.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import Any

import numpy as np

from .batch import (
    BatchReport,
    BatchSize,
    Finished,
    Job,
    Limits,
    Progress,
    Read,
    Runner,
    Settings,
    Unchanged,
    Worker,
    is_fatal,
    open_place,
    say_error,
)
from .engines.base import Engine, InputShape, Metadata
from .errors import EngineFailed, EngineUnavailable, Error, HashMismatch, OptionError
from .geometry import Placement
from .segmenters import Segmenter, open_segmenter
from .segmenters.base import Prepared
from .types import AnyArray, FloatArray, Provenance

__all__ = [
    "ClusterTask",
    "Computer",
    "Item",
    "Layout",
    "make_runner",
    "make_task",
    "plan_layout",
    "read_items",
    "write_items",
]

_CHUNK = 8  # pictures that go through a step at once
_LARGEST_BLOCK = 32  # pictures; all of a block is done again when the machine that has it is lost
_BLOCKS_PER_CPU = 16  # enough that no processor waits at the end; more would only cost planning
_ANSWER_SECONDS = 10.0  # in which a cluster must answer
_ANYWHERE = Placement((1, 1), (1, 1), (1, 1))  # who computes does not ask where a picture lies in its input
_SETTINGS = ("MASKWRIGHT_HOME", "MASKWRIGHT_OFFLINE", "MASKWRIGHT_MIRROR", "MASKWRIGHT_MAX_PIXELS")


@dataclass(frozen=True)
class ClusterTask:
    """All that a machine needs to know: small, and of plain values.

    Attributes:
        key: A name for this task.
        source: The place of the pictures, by a name that every machine understands.
        target: The place of the cut-outs, likewise.
        settings: What is wanted of every picture.
        made_by: The model and what its weights must hash to, everywhere.
        weights: A weights file of one's own, at the same path everywhere; None: the published one, from the store.
        device: Where the network runs.
        input_shape: What the network takes.
        metadata: What the weights file says of itself.
        batch_size: Pictures that go through the network at once; None: found out.
    """

    key: str
    source: str
    target: str
    settings: Settings
    made_by: Provenance
    weights: str | None
    device: str
    input_shape: InputShape
    metadata: Metadata | None
    batch_size: int | None


@dataclass(frozen=True, eq=False)
class Item:
    """A picture on its way through the machines.

    Attributes:
        job: What is to be done.
        read: Its file.
        tensor: The network's input.
        output: The network's output.
        made_by: What computed it.
        result: What became of it: `Finished`, `Unchanged`, or what is wrong and whether the disk is full or gone.
    """

    job: Job
    read: Read | None = None
    tensor: FloatArray | None = None
    output: AnyArray | None = None
    made_by: Provenance | None = None
    result: Finished | Unchanged | tuple[str, bool] | None = None


class _NoEngine:
    """Stands for the network in processes that only read and write."""

    def __init__(self, task: ClusterTask) -> None:
        self.name, self.device = task.made_by.engine, task.made_by.device
        self.input_shape, self.metadata = task.input_shape, task.metadata

    def run(self, batch: FloatArray, outputs: Sequence[int] = (0,)) -> list[AnyArray]:
        """Nothing."""
        del batch, outputs
        raise EngineUnavailable("this process reads and writes", hint="another one computes")

    def close(self) -> None:
        """Nothing to give back."""


_hands: dict[str, Worker] = {}


def _hand(task: ClusterTask) -> Worker:
    """What reads and writes in this process: one for a task, so that the journal gets few parts."""
    if task.key not in _hands:
        segmenter = open_segmenter(task.made_by.model, engine=_NoEngine(task), compat=task.made_by.compat)
        segmenter.provenance = task.made_by
        _hands[task.key] = Worker(open_place(task.source), open_place(task.target), segmenter, task.settings)
    return _hands[task.key]


def _open_computing(task: ClusterTask, engine: Engine | None) -> Segmenter:
    """The model, from this machine's store; or with an engine of one's own.

    Raises:
        HashMismatch: This machine has other weights than the one that started the work.
    """
    made_by = task.made_by
    if engine is not None:
        return open_segmenter(made_by.model, engine=engine, compat=made_by.compat)
    segmenter = open_segmenter(made_by.model, weights=task.weights, device=task.device, compat=made_by.compat)
    if segmenter.provenance.sha256 != made_by.sha256:
        raise HashMismatch(
            f"weights of {made_by.model} on this machine",
            expected=f"those of the others, sha256 {made_by.sha256}",
            got=segmenter.provenance.sha256,
            hint="give every machine the same store: maskwright models bundle",
        )
    return segmenter


def read_items(batch: dict[str, Any], task: ClusterTask) -> dict[str, Any]:
    """Items with their files and network inputs, or with what became of them already.

    Args:
        batch: `item`: items that hold a job.
        task: What is wanted.
    """
    hand = _hand(task)
    return _batch(_guarded(partial(_read, hand), item) for item in batch["item"])


def _read(hand: Worker, item: Item) -> Item:
    read = hand.read(item.job)
    if isinstance(read, Unchanged):
        hand.settle(read)
        return replace(item, result=read)
    return replace(item, read=read, tensor=hand.decode(read).prepared.tensor)


class Computer:
    """An actor that keeps the model. Where it cannot be had, pictures come back with the reason, which ends the run.

    Args:
        task: Which model, and where.
        engine: An engine of one's own instead.
    """

    def __init__(self, task: ClusterTask, engine: Engine | None = None) -> None:
        self._refusal: str | None = None
        try:
            self._segmenter = _open_computing(task, engine)
        except Error as error:  # raised here it would reach the user as a failure of Ray's
            self._refusal = str(error)
            return
        self._size = BatchSize(self._segmenter.compute, self._segmenter.engine.input_shape[0], task.batch_size)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Items with the network's outputs instead of its inputs.

        Args:
            batch: `item`: items with inputs, and others, which are left as they are.
        """
        if self._refusal is not None:
            return _batch(Item(item.job, result=(self._refusal, True)) for item in batch["item"])
        return _batch(item for group in self._groups(batch["item"]) for item in self._compute(group))

    def _groups(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Items that can be computed together; those without an input are alone."""
        group: list[Item] = []
        for item in items:
            shapes = [None if one.tensor is None else one.tensor.shape for one in (*group[:1], item)]
            if group and (len(group) >= self._size.wanted or shapes[0] != shapes[1] or shapes[0] is None):
                yield group
                group = []
            group.append(item)
        if group:
            yield group

    def _compute(self, group: list[Item]) -> list[Item]:
        inputs = [Prepared(item.tensor, _ANYWHERE) for item in group if item.tensor is not None]
        if not inputs:
            return group
        try:
            outputs = self._size.compute(inputs)
        except Exception as error:  # noqa: BLE001 - one picture must not end the others' run
            return [_failed(item, error) for item in group]
        made_by = self._segmenter.provenance
        return [
            replace(item, tensor=None, output=output, made_by=made_by)
            for item, output in zip(group, outputs, strict=True)
        ]


def write_items(batch: dict[str, Any], task: ClusterTask) -> dict[str, Any]:
    """Items with what became of them; those with an output are written.

    Args:
        batch: `item`: what `Computer` gave.
        task: What is wanted.
    """
    hand = _hand(task)
    return _batch(_guarded(partial(_write, hand), item) for item in batch["item"])


def _write(hand: Worker, item: Item) -> Item:
    if item.read is None or item.output is None or item.made_by is None:
        return item
    hand.segmenter.provenance = item.made_by
    # Decoded once more: a file is a tenth of its pixels, and the way between machines costs more than decoding.
    return Item(item.job, result=hand.finish(hand.decode(item.read), item.output))


def _guarded(step: Callable[[Item], Item], item: Item) -> Item:
    try:
        return step(item)
    except Exception as error:  # noqa: BLE001 - one picture must not end the others' run
        return _failed(item, error)


def _failed(item: Item, error: Exception) -> Item:
    return Item(item.job, result=(say_error(error), is_fatal(error)))


def _batch(items: Iterable[Item]) -> dict[str, Any]:
    """A block of Ray's: a column of objects, which Ray must not take apart."""
    listed = list(items)
    column = np.empty(len(listed), object)
    column[:] = listed
    return {"item": column}


def make_runner(address: str, *, weights: str | None = None, device: str = "auto") -> Runner:
    """What does jobs on a cluster.

    Args:
        address: Of a running cluster that this machine is part of, as `ray.init` takes it: `auto`, or `HOST:6379`;
            `local` starts one on this machine.
        weights: A weights file of one's own, at the same path on every machine.
        device: Where the network runs.

    Raises:
        EngineUnavailable: Ray is not installed.
        OptionError: No such address.
    """
    host, _, port = address.rpartition(":")
    if address not in ("auto", "local") and not (host.strip("[]") and "/" not in host and port.isdecimal()):
        hint = "start it on a machine of the cluster: Ray Data does not work through ray://" if "//" in address else ""
        raise OptionError("--cluster", expected="auto, local or HOST:PORT", got=repr(address), hint=hint)
    try:
        import ray.data  # noqa: F401 - to be told before the work is planned
    except ImportError as error:
        raise EngineUnavailable("--cluster needs Ray", hint='pip install "maskwright[cluster]"') from error

    def run(jobs: list[Job], worker: Worker, *, limits: Limits, stop: Event, progress: Progress | None) -> BatchReport:
        if worker.settings.delete_input:
            raise OptionError(
                "--cluster goes without --delete-input",
                hint="when it is done, run again with -d on one machine: it deletes what is safe",
            )
        if limits.threads or limits.pixels:
            raise OptionError("--cluster goes without --jobs and --in-flight", hint="Ray divides the machines' work")
        task = make_task(worker, limits, weights, device)
        report = BatchReport()
        if jobs:
            _start(address)
            for item in _results(jobs, task):
                report.add(partial(_take, item))
                if progress is not None:
                    progress(report)
                if stop.is_set() or report.stopped:
                    break
        report.interrupted = stop.is_set() and report.stopped is None
        report.tick()
        return report

    return run


def make_task(worker: Worker, limits: Limits, weights: str | None, device: str) -> ClusterTask:
    """What machines are told of a batch.

    Args:
        worker: The batch's own.
        limits: The batch size counts.
        weights: A weights file of one's own.
        device: Where the network runs.
    """
    segmenter = worker.segmenter
    return ClusterTask(
        key=f"{worker.recipe.key} {worker.target.root}",
        source=worker.source.root,
        target=worker.target.root,
        settings=worker.settings,
        made_by=segmenter.provenance,
        weights=weights,
        device=device,
        input_shape=segmenter.engine.input_shape,
        metadata=getattr(segmenter.engine, "metadata", None),
        batch_size=limits.batch_size,
    )


def _take(item: Item, report: BatchReport) -> None:
    if isinstance(item.result, Finished):
        report.take(item.result)
    elif isinstance(item.result, Unchanged):
        report.skipped += 1
    else:
        text, fatal = item.result or ("it came back without a result", False)
        report.fail(item.job.source, text, fatal=fatal)


def _start(address: str) -> None:
    """Join the cluster, unless this process has; the workers get this process's settings of Maskwright.

    Raises:
        EngineUnavailable: There is none at that address, or it does not let this process in.
    """
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans are of no use to who cuts pictures
    if ray.is_initialized():
        return
    variables = {name: os.environ[name] for name in _SETTINGS if name in os.environ}
    try:
        _see_that_it_answers(address)
        ray.init(address=address, runtime_env={"env_vars": variables}, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EngineUnavailable(
            f"the cluster {address} cannot be joined ({reason})", hint="see what `ray status` says on this machine"
        ) from error


def _see_that_it_answers(address: str) -> None:
    """Raise OSError where nothing listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()


@dataclass(frozen=True)
class Layout:
    """How a cluster's machines are divided between the steps.

    Attributes:
        cpus: Processors for each task that reads or writes.
        computing: What an actor that computes is given, as `map_batches` takes it.
        actors: How many of them there may be.
        block: Pictures in a block.
    """

    cpus: float
    computing: Mapping[str, float]
    actors: int
    block: int


def plan_layout(pictures: int, resources: Mapping[str, float], device: str) -> Layout:
    """How a cluster's machines are divided between the steps.

    Args:
        pictures: How many there are to cut.
        resources: What Ray says there is: `CPU`, `GPU`.
        device: Where the network is to run: not `cpu`, an actor has a GPU for itself, as long as there are GPUs.
    """
    cpus, gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
    share = 1.0 if cpus >= 3 else 0.5  # of a processor, for each step: all three must find room
    block = max(_CHUNK, min(_LARGEST_BLOCK, pictures // (_BLOCKS_PER_CPU * cpus)))
    if gpus and device != "cpu":
        return Layout(share, {"num_gpus": 1}, gpus, block)
    return Layout(share, {"num_cpus": share}, max(1, cpus // 2), block)


def _results(jobs: list[Job], task: ClusterTask) -> Iterator[Item]:
    """What became of each job, in the order in which it is known.

    Raises:
        EngineFailed: The cluster stopped.
    """
    import ray

    rows = [{"item": Item(job)} for job in jobs]
    try:
        layout = plan_layout(len(rows), ray.cluster_resources(), task.device)
        data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // layout.block))
        data = data.map_batches(read_items, batch_size=_CHUNK, fn_args=(task,), num_cpus=layout.cpus)
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=layout.actors)
        data = data.map_batches(
            Computer, batch_size=_CHUNK, fn_constructor_args=(task,), compute=pool, **layout.computing
        )
        data = data.map_batches(write_items, batch_size=_CHUNK, fn_args=(task,), num_cpus=layout.cpus)
        for row in data.iter_rows():
            yield row["item"]
    except ray.exceptions.RayError as error:
        reason = next(iter(str(error).strip().splitlines()), "")  # the rest is Ray's account of where it was
        raise EngineFailed(
            f"the cluster stopped ({type(error).__name__}: {reason})",
            hint="run again: what is done is in the journal; --debug shows all",
        ) from error
