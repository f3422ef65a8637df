"""This project's side of bench_training.py: answers commands, one JSON line each."""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from fednnunet.dataset import list_images
from fednnunet.inference.bundle import write_bundle
from fednnunet.inference.compute import choose_compute
from fednnunet.inference.predict import PredictOptions, predict_cases
from fednnunet.planning.plan import read_plan
from fednnunet.preprocess.store import Store
from fednnunet.training.device import choose_execution
from fednnunet.training.initial import plan_network
from fednnunet.training.local_job import LocalJob
from fednnunet.training.local_training import peak_memory_gib
from fednnunet.training.recipe import recipe_named
from fednnunet.training.state import new_state
from fednnunet.training.trainer import train

LAST = 2  # the coarsest of three decoder stages


class Server:
    """A state in training on the CPU, one command at a time."""

    def __init__(self, folder: Path, recipe: str, seed: int, compiled: bool) -> None:
        self.folder = folder
        self.plan = read_plan(folder / "plan.json")
        self.configuration = self.plan.configuration("3d_fullres")
        self.recipe = recipe_named(recipe)
        self.execution = choose_execution("cpu", compile=compiled)
        self.store = Store.open(folder / "prepared")
        self.state = new_state(
            self.plan, self.configuration, self.recipe, self.execution, seed=seed
        )

    def begin(self, path: str) -> dict:
        """Begin with nnU-Net's first weights."""
        with np.load(path) as weights:
            found = {our_name(name): torch.from_numpy(weights[name]) for name in weights}
        self.state.network.load_state_dict(found)
        return {"tensors": len(found)}

    def train(self, iterations: int, total: int) -> dict:
        """Train on; seconds of each iteration, batches included."""
        marks = [time.perf_counter()]
        job = LocalJob(
            store=self.store,
            names=self.store.names,
            plan=self.plan,
            configuration=self.configuration,
            recipe=self.recipe,
            iterations=iterations,
            schedule_length=total,
            progress=lambda *_: marks.append(time.perf_counter()),
        )
        summary = train(self.state, job, self.execution)
        seconds = [b - a for a, b in pairwise(marks)]
        return {"seconds": seconds, "losses": [summary.loss], "wait": summary.wait_share}

    def predict(self, images: str, out: str) -> dict:
        """Write masks of a folder of images, without test-time augmentation."""
        bundle = write_bundle(
            self.folder / "bundle",
            plan=self.plan,
            configuration=self.configuration.name,
            weights=self.state.network.state_dict(),
        )
        cases = list_images(Path(images), len(self.plan.task.channels))
        predict_cases(
            bundle,
            cases,
            Path(out),
            compute=choose_compute("cpu"),
            options=PredictOptions(overwrite=True),
        )
        return {"out": out}

    def memory(self) -> dict:
        """Peak memory of this process, GiB."""
        return {"gib": peak_memory_gib(self.execution)}

    def limit(self) -> dict:
        """Operations of a training step, and how many a second one large convolution runs.

        Operations are those of the plan's layers one by one, the same for both sides, however few a
        side may need: they are counted on torch's meta device, where nothing is merged.
        """
        network = plan_network(self.plan, self.configuration, seed=0).to("meta").train()
        shape = (1, len(self.plan.task.channels), *self.configuration.patch_vox)
        with FlopCounterMode(display=False) as counter:
            sum(level.sum() for level in network(torch.empty(shape, device="meta"))).backward()
        return {
            "step": counter.get_total_flops() * self.configuration.batch,
            "rate": self._large_convolution(),
            "precision": self.execution.device.precision,
        }

    def _large_convolution(self) -> float:
        """Operations a second of a 3x3x3 convolution of 128 features on 32 x 48 x 48 voxels."""
        layer = torch.nn.Conv3d(128, 128, 3, padding=1).to(
            self.execution.device.dtype, memory_format=torch.channels_last_3d
        )
        image = torch.randn(1, 128, 32, 48, 48, dtype=self.execution.device.dtype)
        image = image.to(memory_format=torch.channels_last_3d)
        best = float("inf")
        with torch.no_grad():
            for _ in range(4):
                begin = time.perf_counter()
                layer(image)
                best = min(best, time.perf_counter() - begin)
        return 2 * 27 * 128 * 128 * 32 * 48 * 48 / best


def our_name(name: str) -> str:
    """Our name of a tensor of nnU-Net's plain U-Net with four stages, whose decoder counts up."""
    match name.split("."):
        case "encoder", "stages", stage, "0", "convs", *rest:
            return ".".join(("encoder", stage, "blocks", *rest))
        case "decoder", "stages", stage, "convs", *rest:
            return ".".join(("decoder", f"{LAST - int(stage)}", "blocks", *rest))
        case "decoder", "transpconvs", stage, *rest:
            return ".".join(("decoder", f"{LAST - int(stage)}", "up", *rest))
        case "decoder", "seg_layers", stage, *rest:
            return ".".join(("heads", f"{LAST - int(stage)}", *rest))
    return name


def main() -> None:
    """Serve: FOLDER RECIPE SEED [compile]."""
    folder, recipe, seed, *rest = sys.argv[1:]
    server = Server(Path(folder), recipe, int(seed), "compile" in rest)
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(server, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
