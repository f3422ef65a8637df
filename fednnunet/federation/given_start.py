"""First weights that are given instead of made from the seed, on disk at both sides of the wall.

The federation file names them by their digest (`training.start`), so coordinator and sites mean the
same weights: a site that receives others refuses them, and begins with none. They lie in the folder
`start` of the run, and in the working folder of every site.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fednnunet.errors import InputError, RefusalError
from fednnunet.federation.training_spec import Training
from fednnunet.files import replacing
from fednnunet.network.tensors import Tensors
from fednnunet.planning.plan import Plan
from fednnunet.training.initial import initial_tensors
from fednnunet.training.start import weights_digest

FOLDER = "start"
_FILE = "weights.safetensors"


def keep_start(base: Path, tensors: Tensors) -> None:
    """Write the given first weights below `base`, the folder of a run or of a site."""
    with replacing(base / FOLDER / _FILE) as temporary:
        save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, temporary)


def receive_start(base: Path, tensors: Tensors, digest: str) -> None:
    """Keep the first weights that an invite brings, if the site's federation file names them.

    Raises RefusalError for other weights, for weights where the file names none, and where the
    file names some and neither the invite nor an earlier one brought them.
    """
    if not tensors and (not digest or (base / FOLDER / _FILE).is_file()):
        return
    if not digest or weights_digest(tensors) != digest:
        named = f"those with the SHA-256 {digest}" if digest else "none"
        raise RefusalError(
            f"the first weights are not the agreed ones: the site's federation file names {named}",
            mend="give coordinator and sites the same training.start",
            advice="same_federation_file",
        )
    keep_start(base, tensors)


def first_weights(base: Path, plan: Plan, configuration: str, training: Training) -> Tensors:
    """The weights from which a training starts: made from the seed, or given ones below `base`.

    Raises InputError where the given ones are missing, or are not those that `training` names.
    """
    made = initial_tensors(plan, configuration, seed=training.seed)
    if not training.start:
        return made
    path = base / FOLDER / _FILE
    try:
        found = load_file(path)
    except (OSError, SafetensorError):
        found = {}
    shapes = {name: tensor.shape for name, tensor in made.items()}
    if weights_digest(found) != training.start or shapes != {n: t.shape for n, t in found.items()}:
        raise InputError(
            "the first weights that the federation file names (training.start) are not there",
            where=str(path),
            mend="give the bundle that they come from: fednnunet_train RUN --from BUNDLE",
        )
    return found
