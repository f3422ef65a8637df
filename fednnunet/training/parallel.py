"""One batch over several GPUs of a site, by torch's own DistributedDataParallel.

Each process takes every n-th sample of the same batches, so the result is that of one device up to
rounding. State goes to the processes and comes back as the file of `state.save`; the processes talk
to each other on this machine only.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.training.device import Execution
from fednnunet.training.state import TrainingState, load, new_state, save
from fednnunet.training.stretch import Stretch, run_stretch
from fednnunet.training.summary import TrainSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What each process is told."""

    folder: Path
    execution: Execution
    stretch: Stretch


def train_on_devices(state: TrainingState, stretch: Stretch, execution: Execution) -> TrainSummary:
    """Run `stretch` in `execution.devices` processes and update `state`.

    Raises InputError if there are more devices than samples in a batch, and FedNNUNetError, with
    `state` as it was, if a process fails.
    """
    batch = stretch.configuration.batch
    if execution.devices > batch:
        raise InputError(
            f"{execution.devices} devices cannot share a batch of {batch}",
            mend="use fewer devices, or plan with more memory for a larger batch",
        )
    with tempfile.TemporaryDirectory(prefix="fednnunet-") as name:
        folder = Path(name)
        save(state, folder)
        told = replace(stretch, progress=None)
        job = Job(folder=folder, execution=execution, stretch=told)
        try:
            mp.start_processes(_run_rank, (job,), nprocs=execution.devices, start_method="spawn")
        except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
            last = str(error).strip().splitlines()[-1]
            raise FedNNUNetError(
                f"training on {execution.devices} devices failed: {last}",
                mend="see the message; with one device the same step may tell more",
            ) from None
        load(state, folder)
        return records.read(TrainSummary, folder / "summary.json")


def rank_execution(execution: Execution, rank: int) -> Execution:
    """What one of the processes runs on: its own GPU and a share of the workers."""
    device = execution.device
    if device.kind == "cuda":
        device = replace(device, name=f"cuda:{rank}")
    workers = -(-execution.workers // execution.devices)
    return replace(execution, device=device, workers=workers, devices=1)


def _run_rank(rank: int, job: Job) -> None:
    whole, ranks = job.execution, job.execution.devices
    if whole.backend == "gloo" and sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # in this process: nothing leaves the machine
    execution = rank_execution(whole, rank)
    if execution.torch_device.type == "cuda":
        torch.cuda.set_device(execution.torch_device)
    dist.init_process_group(
        whole.backend,
        init_method=f"file://{job.folder / 'rendezvous'}",
        rank=rank,
        world_size=ranks,
    )
    try:
        told = job.stretch
        state = new_state(told.plan, told.configuration, told.recipe, execution, seed=0)
        load(state, job.folder)
        dist.barrier()
        state.runner = wrapped(state.network, execution)
        summary = run_stretch(state, told, execution, (rank, ranks))
        if rank == 0:
            save(state, job.folder)
            records.write(summary, job.folder / "summary.json")
        dist.barrier()
    finally:
        dist.destroy_process_group()


def wrapped(network: torch.nn.Module, execution: Execution) -> DistributedDataParallel:
    """The network with gradients averaged over processes.

    Deep supervision leaves the lowest head without gradient, hence `find_unused_parameters`.
    """
    kind = execution.torch_device.type
    ids = [execution.torch_device.index] if kind == "cuda" else None
    return DistributedDataParallel(network, device_ids=ids, find_unused_parameters=True)
