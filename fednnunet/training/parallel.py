"""One batch over several GPUs of a site, by torch's own DistributedDataParallel.

Each process takes every n-th sample of the same batches. The result is that of one device up to
rounding where each sample counts by itself. With an ignore label, Dice over the batch or batch
normalisation each process computes them over its own samples, and the gradient is the mean of
those: close to that of one device, not the same. State goes to the processes and returns as the
file of `state.save`; the processes communicate on this machine only.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError, raise_all, single_faults
from fednnunet.training.device import Execution
from fednnunet.training.local_job import LocalJob
from fednnunet.training.local_training import train_in_process
from fednnunet.training.state import TrainingState, load, new_state, save
from fednnunet.training.summary import TrainSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessJob:
    """What each process receives; the state lies in `folder`."""

    folder: Path
    execution: Execution
    job: LocalJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error of a process, as a file."""

    what: str
    where: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What stopped a process."""

    faults: tuple[Fault, ...]


def train_on_devices(state: TrainingState, job: LocalJob, execution: Execution) -> TrainSummary:
    """Run the job in `execution.devices` processes and update `state`.

    Raises InputError if there are more devices than samples in a batch, and the FedNNUNetError of
    a process that fails; `state` is then as it was.
    """
    batch = job.configuration.batch
    if execution.devices > batch:
        raise InputError(
            f"{execution.devices} devices cannot share a batch of {batch}",
            mend="use fewer devices, or plan with more memory for a larger batch",
        )
    with tempfile.TemporaryDirectory(prefix="fednnunet-") as name:
        folder = Path(name)
        save(state, folder)
        part = ProcessJob(folder=folder, execution=execution, job=replace(job, progress=None))
        try:
            mp.start_processes(_run_rank, (part,), nprocs=execution.devices, start_method="spawn")
        except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
            _raise_fault(folder)
            raise _failed(execution.devices, str(error).splitlines()[-1]) from None
        load(state, folder)
        summary = records.read(TrainSummary, folder / "summary.json")
        return replace(summary, notes=(*unlike_one_device(job), *summary.notes))


def _failed(devices: int, why: str) -> FedNNUNetError:
    return FedNNUNetError(
        f"training on {devices} devices failed: {why}",
        mend="correct what the message names; training on one device may show more of the cause",
    )


def _raise_fault(folder: Path) -> None:
    """Raise the errors of the process that failed first; others may have failed because of it."""
    for path in sorted(folder.glob("faults_*.json"), key=lambda path: path.stat().st_mtime_ns):
        found = records.read(Faults, path).faults
        raise_all(
            "training on several devices failed",
            [FedNNUNetError(fault.what, where=fault.where, mend=fault.mend) for fault in found],
        )


def unlike_one_device(job: LocalJob) -> tuple[str, ...]:
    """A note, where devices that share a batch do not compute what one would; else none."""
    found = {
        "cross-entropy over annotated voxels": job.ignores,
        "Dice": job.configuration.batch_dice,
        "normalisation": job.plan.norm == "batch",
    }
    parts = [name for name, there in found.items() if there]
    if not parts:
        return ()
    return (
        f"each device takes {', '.join(parts)} over its own share of the batch: close to what one "
        "device computes, not the same",
    )


def rank_execution(execution: Execution, rank: int) -> Execution:
    """What one of the processes runs on: its own GPU and a share of the workers."""
    device = execution.device
    if device.kind == "cuda":
        device = replace(device, name=f"cuda:{rank}")
    workers = -(-execution.workers // execution.devices)
    return replace(execution, device=device, workers=workers, devices=1)


def _run_rank(rank: int, part: ProcessJob) -> None:
    """Run one process, which then ends at once; if it fails it leaves its fault as a file.

    A regular shutdown could wait for ever: for processes that wait for a failed one, or for the
    threads that communicate with them (seen with gloo on a busy machine).
    """
    code = 0
    try:
        kept = _take_part(rank, part)  # noqa: F841 - not taken down
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
        traceback.print_exc()
        failed = _failed(part.execution.devices, f"{type(error).__name__}: {error}")
        found = single_faults(error) if isinstance(error, FedNNUNetError) else (failed,)
        faults = Faults(faults=tuple(Fault(what=e.what, where=e.where, mend=e.mend) for e in found))
        records.write(faults, part.folder / f"faults_{rank}.json")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _take_part(rank: int, part: ProcessJob) -> TrainingState:
    whole, ranks = part.execution, part.execution.devices
    if whole.backend == "gloo" and sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # in this process: nothing leaves the machine
    execution = rank_execution(whole, rank)
    if execution.torch_device.type == "cuda":
        torch.cuda.set_device(execution.torch_device)
    dist.init_process_group(
        whole.backend,
        init_method=f"file://{part.folder / 'rendezvous'}",
        rank=rank,
        world_size=ranks,
    )
    job = part.job
    state = new_state(job.plan, job.configuration, job.recipe, execution, seed=0)
    load(state, part.folder)
    dist.barrier()
    state.runner = wrapped(state.network, execution)
    summary = train_in_process(state, job, execution, (rank, ranks))
    if rank == 0:
        save(state, part.folder)
        records.write(summary, part.folder / "summary.json")
    dist.barrier()
    dist.destroy_process_group()
    return state


def wrapped(network: torch.nn.Module, execution: Execution) -> DistributedDataParallel:
    """The network with gradients averaged over processes.

    Deep supervision leaves the lowest head without gradient, hence `find_unused_parameters`.
    """
    kind = execution.torch_device.type
    ids = [execution.torch_device.index] if kind == "cuda" else None
    return DistributedDataParallel(network, device_ids=ids, find_unused_parameters=True)
