"""The check of a site's folder before its cases are measured."""

from __future__ import annotations

from fednnunet.dataset import scan_dataset
from fednnunet.errors import FedNNUNetError, raise_all
from fednnunet.federation.spec import SiteSpec
from fednnunet.preprocess.measure_site import measure_cases
from fednnunet.progress import Progress
from fednnunet.task import Task


def check_layout(
    spec: SiteSpec, task: Task, *, site: str, workers: int, progress: Progress
) -> None:
    """Raise what is wrong with the folder, together with what is wrong with its whole cases."""
    agreed, names = spec.agreed_labels(task), spec.label_names
    dataset, faults = scan_dataset(spec.folder, task, site=site, agreed=agreed, label_names=names)
    if not faults:
        return
    found: list[FedNNUNetError] = list(faults)
    try:
        measure_cases(dataset.cases, task, workers=workers, progress=progress)
    except FedNNUNetError as error:
        found.append(error)
    raise_all(f"the folder of site {site} cannot be used", found)
