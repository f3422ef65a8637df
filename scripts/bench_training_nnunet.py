"""nnU-Net's side of bench_training.py; it runs in nnU-Net's own environment.

`plan BATCH` plans and preprocesses Dataset001 and sets the batch size. `serve SEED` then answers
commands, one JSON line each; `serve SEED bfloat16` does so in bfloat16 and
channels last, as stock nnU-Net does on no CPU. Folders come from nnU-Net's own variables.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path

NAME, CONFIGURATION = "Dataset001_Bench", "3d_fullres"


def preprocessed() -> Path:
    """Where nnU-Net keeps the prepared cases."""
    return Path(os.environ["nnUNet_preprocessed"]) / NAME  # noqa: SIM112


def plan(batch: int) -> dict:
    """Plan and preprocess as nnU-Net does, then set the batch; returns what must agree."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    extract_fingerprints([1], num_processes=2)
    plan_experiments([1])
    path = preprocessed() / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    found = plans["configurations"][CONFIGURATION]
    if batch:
        found["batch_size"] = batch
        path.write_text(json.dumps(plans))
    preprocess([1], configurations=(CONFIGURATION,), num_processes=(2,))
    return {"patch": found["patch_size"], "batch": found["batch_size"]}


class Server:
    """nnU-Net's trainer on the CPU, one command at a time."""

    def __init__(self, seed: int, short: bool) -> None:
        import torch
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        torch.manual_seed(seed)
        folder = preprocessed()
        plans = json.loads((folder / "nnUNetPlans.json").read_text()) | {"continue_training": False}
        dataset = json.loads((folder / "dataset.json").read_text())
        device = torch.device("cpu")
        self.trainer = nnUNetTrainer(plans, CONFIGURATION, "all", dataset, device)
        self.trainer.on_train_start()
        self.trainer.network.train()
        if short:
            self.trainer.network.to(memory_format=torch.channels_last_3d)
        self.precision = torch.autocast("cpu", dtype=torch.bfloat16, enabled=short)
        self.step = 0

    def first_weights(self, path: str) -> dict:
        """Write the weights that the training begins with, by nnU-Net's names."""
        import numpy as np

        parameters = self.trainer.network.named_parameters()
        np.savez(path, **{name: p.detach().numpy() for name, p in parameters})
        return {"path": path}

    def train(self, iterations: int, total: int) -> dict:
        """Train on; the rate falls over `total` as nnU-Net's does over its own."""
        seconds, losses, waited = [], [], 0.0
        for _ in range(iterations):
            rate = 0.01 * (1 - self.step / total) ** 0.9
            for group in self.trainer.optimizer.param_groups:
                group["lr"] = rate
            begin = time.perf_counter()
            batch = next(self.trainer.dataloader_train)
            waited += time.perf_counter() - begin
            with self.precision:
                losses.append(float(self.trainer.train_step(batch)["loss"]))
            seconds.append(time.perf_counter() - begin)
            self.step += 1
        return {"seconds": seconds, "losses": losses, "wait": waited / sum(seconds)}

    def predict(self, images: str, out: str) -> dict:
        """Write masks of a folder of images, without test-time augmentation."""
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        trainer = self.trainer
        trainer.set_deep_supervision_enabled(False)
        trainer.network.eval()
        predictor = nnUNetPredictor(
            use_mirroring=False, perform_everything_on_device=False, device=trainer.device
        )
        predictor.manual_initialization(
            trainer.network,
            trainer.plans_manager,
            trainer.configuration_manager,
            [trainer.network.state_dict()],
            trainer.dataset_json,
            trainer.__class__.__name__,
            trainer.inference_allowed_mirroring_axes,
        )
        predictor.predict_from_files_sequential(images, out, save_probabilities=False)
        trainer.set_deep_supervision_enabled(True)
        trainer.network.train()
        return {"out": out}

    def end(self) -> None:
        """End the processes that make batches."""
        for loader in (self.trainer.dataloader_train, self.trainer.dataloader_val):
            if hasattr(loader, "_finish"):
                loader._finish()

    def memory(self) -> dict:
        """Peak memory of this process, GiB; the processes that make batches are not counted."""
        return {"gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def serve(seed: int, short: bool) -> None:
    """Answer commands from standard input until it ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with redirect_stdout(sys.stderr):
        server = Server(seed, short)
        for line in sys.stdin:
            command = json.loads(line)
            answer = getattr(server, command.pop("do"))(**command)
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
        server.end()
    os._exit(0)  # its threads do not end by themselves


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    if sys.argv[1] == "plan":
        with redirect_stdout(sys.stderr):
            agreed = plan(int(sys.argv[2]))
        print(json.dumps(agreed))
    else:
        serve(int(sys.argv[2]), "bfloat16" in sys.argv[3:])
