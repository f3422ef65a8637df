"""Plan, train, predict and evaluate a federation from Python.

    python scripts/make_phantoms.py demo/data
    python examples/whole_way.py demo/data/federation.toml demo/example

The federation file names sites whose folders are on this machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np

import fednnunet


def main(federation_file: Path, run: Path) -> float:
    """The whole way; returns the mean Dice of the global model on the first site's cases."""
    federation = fednnunet.read_federation(federation_file)
    plan = fednnunet.plan(federation, run)
    print(f"{plan.task.name}: {plan.cases} cases, patch {plan.configurations[-1].patch_vox}")

    scores = fednnunet.train(run, device="cpu")
    for name, model in zip(scores.labels, scores.models, strict=True):
        means = {site: round(sums.mean("dice"), 3) for site, sums in model.sites.items()}
        print(f"{name}: {means}")

    site = next(iter(federation.sites.values()))
    outcome = fednnunet.predict(
        run / "global", images=site.folder / "imagesTr", output=run / "masks", device="cpu"
    )
    print(f"{len(outcome.written)} masks in {run / 'masks'}")
    found = fednnunet.evaluate(run / "masks", site.folder / "labelsTr")

    predictor = fednnunet.Predictor(run / "global", device="cpu")
    path = sorted((site.folder / "imagesTr").iterdir())[0]
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).T  # nibabel has (x, y, z), this package (z, y, x)
    mask = predictor(array, spacing_mm=image.header.get_zooms()[::-1])
    print({name: int((mask == value).sum()) for value, name in enumerate(predictor.labels)})
    return found.mean("dice")


if __name__ == "__main__":
    print(f"mean Dice {main(Path(sys.argv[1]), Path(sys.argv[2])):.3f}")
