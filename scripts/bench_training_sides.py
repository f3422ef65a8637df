"""The two contestants of bench_training.py: their data, their plans, their processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fednnunet import records
from fednnunet.dataset import Case, read_dataset, split_cases
from fednnunet.errors import InputError
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.plan import Plan
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.spacing import target_spacing
from fednnunet.preprocess.measure_site import measure_cases
from fednnunet.preprocess.store import prepare_site
from fednnunet.task import Task

HERE = Path(__file__).resolve().parent
TASK = Task(name="bench", channels=("MRI",), labels=("background", "anterior", "posterior"))
CONFIGURATION = "3d_fullres"


class Side:
    """A contestant: a process that answers commands; what else it says goes to `log`."""

    def __init__(self, command: Sequence[str], log: Path, **environment: str) -> None:
        self.log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                env=os.environ | environment,
            )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        line = ""
        if self.process.stdin and self.process.stdout and self.process.poll() is None:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            last = self.log.read_text().strip().splitlines()[-1:]
            raise InputError(
                f"a side ended without an answer to {do!r}: {' '.join(last)}",
                where=str(self.log),
                mend="see its log",
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """Let the process end."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(timeout=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Folders and cases of one benchmark, the same for both sides."""

    nnunet_python: Path
    output: Path
    data: Path
    batch: int

    @property
    def raw(self) -> Path:
        """The cases in nnU-Net's layout."""
        return self.output / "nnUNet_raw" / "Dataset001_Bench"

    @property
    def test_images(self) -> Path:
        """Images that no side trains on."""
        return self.raw / "imagesTs"

    def cases(self) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
        """All sites' cases, split into training and test by a fixed seed."""
        sites = sorted(path for path in self.data.iterdir() if (path / "imagesTr").is_dir())
        pooled = [case for site in sites for case in read_dataset(site, TASK).cases]
        return split_cases(pooled, fraction=0.2, seed=0)

    def prepare_ours(self, planner: str, batch: int, folder: Path) -> Plan:
        """Plan and prepare the training cases on our side."""
        cases, _ = self.cases()
        plan = plan_of(cases, planner, batch)
        records.write(plan, folder / "plan.json")
        prepare_site(cases, plan, CONFIGURATION, folder / "prepared", workers=2)
        return plan

    def prepare_nnunet(self) -> dict[str, Any]:
        """Copy the cases into nnU-Net's layout; let it plan and preprocess, unless it has."""
        train, test = self.cases()
        for part, cases in (("Tr", train), ("Ts", test)):
            for case in cases:
                _copy(case.images[0], self.raw / f"images{part}" / f"{case.name}_0000.nii.gz")
                _copy(case.label, self.raw / f"labels{part}" / f"{case.name}.nii.gz")
        dataset = {
            "channel_names": {"0": "MRI"},
            "labels": {name: value for value, name in enumerate(TASK.labels)},
            "numTraining": len(train),
            "file_ending": ".nii.gz",
        }
        (self.raw / "dataset.json").write_text(json.dumps(dataset))
        kept = self.output / f"nnunet_plan_{self.batch}.json"
        if not kept.exists():
            for stale in self.output.glob("nnunet_plan_*.json"):
                stale.unlink()  # of another batch
            kept.write_text(self._nnunet_plans())
        agreed: dict[str, Any] = json.loads(kept.read_text())
        return agreed

    def _nnunet_plans(self) -> str:
        command = [str(self.nnunet_python), str(HERE / "bench_training_nnunet.py"), "plan"]
        log = self.output / "nnunet_plan.log"
        with log.open("w") as stream:
            done = subprocess.run(
                [*command, str(self.batch)],
                env=os.environ | self._folders(),
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                check=False,
            )
        if done.returncode:
            raise InputError("nnU-Net did not plan", where=str(log), mend="see its log")
        return done.stdout

    def nnunet_side(self, seed: int = 0, *, short: bool = False) -> Side:
        """nnU-Net's trainer on the CPU: stock, or given bfloat16 and channels last (`short`)."""
        command = [str(self.nnunet_python), str(HERE / "bench_training_nnunet.py"), "serve"]
        flag = ["bfloat16"] if short else []
        return Side([*command, str(seed), *flag], self.output / "nnunet.log", **self._folders())

    def our_side(self, folder: Path, recipe: str, seed: int = 0, *, compiled: bool = False) -> Side:
        """Our trainer on the CPU."""
        command = [sys.executable, str(HERE / "bench_training_ours.py"), str(folder), recipe]
        flag = ["compile"] if compiled else []
        return Side([*command, str(seed), *flag], self.output / f"ours{'_'.join(['', *flag])}.log")

    def _folders(self) -> dict[str, str]:
        """nnU-Net finds its folders through the environment."""
        names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        return {name: str((self.output / name).resolve()) for name in names}

    def set_up(self) -> tuple[Path, str]:
        """Prepare both sides alike; returns our folder, and the setting in words."""
        folder = self.output / "ours"
        plan = self.prepare_ours("plain", self.batch, folder)
        theirs = self.prepare_nnunet()
        chosen = plan.configuration(CONFIGURATION)
        if theirs != {"patch": list(chosen.patch_vox), "batch": chosen.batch}:
            raise InputError(
                f"the plans differ: {theirs} and {chosen.patch_vox}, {chosen.batch}",
                mend="plan both anew in another output folder",
            )
        train, test = self.cases()
        return folder, (
            f"{len(train)} training and {len(test)} test cases, patch {list(chosen.patch_vox)}, "
            f"batch {chosen.batch}, {os.cpu_count()} cores of which "
            f"{len(os.sched_getaffinity(0))} are used"
        )


def plan_of(cases: Sequence[Case], planner: str, batch: int) -> Plan:
    """Our plan for the cases, with the batch that was asked for (0: as planned)."""
    measured = measure_cases(cases, TASK, workers=2)
    whole = Fingerprint.of(TASK, measured)
    target = target_spacing(whole)
    shapes = ShapeSketch.of_cases(target, [(c.spacing_mm, c.shape_vox) for c in measured])
    plan = make_plan(whole, shapes, planner=planner)
    chosen = plan.configuration(CONFIGURATION)
    chosen = replace(chosen, batch=batch or chosen.batch)
    return replace(plan, configurations=(chosen,))


def _copy(source: Path | None, target: Path) -> None:
    if source is not None and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
