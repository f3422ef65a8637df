"""What is found before anything long: settings that no plan can meet, and sites that are the same.

The checks of folders and images are for simulations only, where one machine sees all sites. Between
hospitals, such a comparison would tell who was treated where.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from fednnunet.dataset import scan_dataset
from fednnunet.errors import DataError, FedNNUNetError, InputError, PlanError, name_site, raise_all
from fednnunet.federation.site.policy import read_policy
from fednnunet.federation.spec import Federation
from fednnunet.files import sha256_of
from fednnunet.io import ending
from fednnunet.label_names import did_you_mean
from fednnunet.planning.minimum_counts import check_cases
from fednnunet.planning.plan import Plan
from fednnunet.planning.presets import PLANNERS
from fednnunet.text import plural

CONFIGURATIONS = ("2d", "3d_lowres", "3d_fullres")  # that a planner can make and a site can train
_CASCADE = "3d_cascade_fullres"
_CHOOSE = f"choose one of: {', '.join(CONFIGURATIONS)}"
_ENDS = 1 << 16  # bytes at either end of a file that are compared first


def check_simulation(federation: Federation, *, without: Collection[str] = ()) -> None:
    """Raise everything that would fail later on, or silently go wrong, all together.

    That is: a configuration that is never planned or cannot be trained, a folder or images that two
    sites share, and a site with fewer cases than its policy asks for.
    """
    faults: list[FedNNUNetError] = [*_configuration_faults(federation.training.configuration)]
    folders = {
        name: site.folder.resolve()
        for name, site in sorted(federation.sites.items())
        if name not in without
    }
    shared = list(_same_folders(folders))
    faults += shared or _same_images(folders)
    for name in folders:
        try:
            _check_number_of_cases(federation, name)
        except FedNNUNetError as fault:
            name_site(fault, name, federation.sites[name].folder)
            faults.append(fault)
    raise_all("the federation cannot be planned", faults)


def check_configuration(plan: Plan, name: str) -> None:
    """Raise PlanError where the plan has no such configuration, or none that can be trained."""
    if plan.configuration(name).previous:
        raise PlanError(_needs_another(name), mend=_CHOOSE)


def planning_notes(federation: Federation) -> tuple[str, ...]:
    """What a setting does other than its name suggests."""
    planner, budget = federation.budget.planner, federation.budget
    given = [budget.memory_gib, *(site.memory_gib for site in federation.sites.values())]
    if not PLANNERS[planner].fixed or not any(given):
        return ()
    return (
        f"planner {planner} always plans the same small network; memory_gib does not change it, "
        "and limits only the memory of preparing cases",
    )


def _configuration_faults(name: str) -> Iterator[FedNNUNetError]:
    if name == _CASCADE:
        what = _needs_another(name)
    elif name not in CONFIGURATIONS:
        what = f"no plan has a configuration {name!r}{did_you_mean(name, CONFIGURATIONS)}"
    else:
        return
    yield InputError(what, where="training.configuration", mend=_CHOOSE)


def _needs_another(name: str) -> str:
    return f"{name} needs the predictions of another configuration and cannot be trained yet"


def _same_folders(folders: dict[str, Path]) -> Iterator[FedNNUNetError]:
    for (one, folder), (other, its) in itertools.combinations(folders.items(), 2):
        if folder == its:
            yield InputError(
                f"sites {one} and {other} have the same folder",
                where=f"sites.{one}.folder, sites.{other}.folder: {folder}",
                mend="give each site a folder of its own; the same cases would count twice, and be "
                "trained on at one site and held out at the other",
            )


def _same_images(folders: dict[str, Path]) -> list[FedNNUNetError]:
    """Images that two sites have in common, byte for byte; one fault for each pair of sites."""
    groups: dict[tuple[int, bytes], list[tuple[str, Path]]] = defaultdict(list)
    for site, folder in folders.items():
        for path in _image_files(folder):
            with suppress(OSError):  # measuring says which file cannot be read
                groups[_glance(path)].append((site, path))
    found: dict[tuple[str, str], list[tuple[Path, Path]]] = defaultdict(list)
    for group in groups.values():
        if len({site for site, _ in group}) < 2:
            continue
        digests = [(site, path, sha256_of(path)) for site, path in group]
        for (one, path, first), (other, its, second) in itertools.combinations(digests, 2):
            if one != other and first == second:
                found[one, other].append((path, its))
    return [
        DataError(
            f"sites {one} and {other} have {plural(len(pairs), 'image')} in common, e.g. "
            f"{pairs[0][0].name} and {pairs[0][1].name}",
            where=f"{pairs[0][0]}, {pairs[0][1]}",
            mend="remove the cases at one of the two sites; they would count twice, and be trained "
            "on at one site and held out at the other",
        )
        for (one, other), pairs in sorted(found.items())
    ]


def _image_files(folder: Path) -> Iterator[Path]:
    for part in ("imagesTr", "imagesTs"):
        place = folder / part
        with suppress(OSError):  # the site says that the folder cannot be read
            for path in sorted(place.iterdir()) if place.is_dir() else ():
                if ending(path) and path.is_file():
                    yield path


def _glance(path: Path) -> tuple[int, bytes]:
    """Size of a file, and a hash of both of its ends."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_ENDS)
        stream.seek(max(size - _ENDS, 0))
        return size, hashlib.sha256(head + stream.read(_ENDS)).digest()


def _check_number_of_cases(federation: Federation, name: str) -> None:
    """Raise RefusalError for too few cases; other faults of the folder are found by the site."""
    site = federation.sites[name]
    agreed = site.agreed_labels(federation.task)
    dataset, faults = scan_dataset(
        site.folder, federation.task, site=name, agreed=agreed, label_names=site.label_names
    )
    if not faults:
        policy = read_policy(site.policy, site.folder)
        check_cases(len(dataset.cases), policy.required_cases, site=name)
