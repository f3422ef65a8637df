"""A run that is killed at any point goes on, and ends as one that was not."""

from __future__ import annotations

import multiprocessing
import os
import signal

import numpy as np
import pytest

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.preprocess import stored_case
from fednnunet.preprocess.store import Store, prepare_site
from fednnunet.volume import Geometry, Volume
from tests.training.fakes import small_plan

POINTS = {
    "before the image is written": (stored_case, "_save", 3),
    "between image and labels": (stored_case, "_save", 4),
    "before the record": (stored_case.records, "write", 2),
    "before the rename": (stored_case.os, "rename", 2),
    "after the rename": (stored_case.shutil, "rmtree", 3),
}


def prepare_and_die(cases, folder, point):
    """Prepare, and be killed when a function is called for the n-th time."""
    module, name, count = POINTS[point]
    whole, calls = getattr(module, name), []

    def dying(*arguments, **options):
        calls.append(name)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments, **options)

    setattr(module, name, dying)
    prepare_site(cases, small_plan()[0], "3d_fullres", folder)


@pytest.fixture
def cases(tmp_path):
    found = []
    for number in range(3):
        rng = np.random.default_rng(number)
        geometry = Geometry(spacing_mm=(1.5, 1.0, 1.0))
        label = rng.integers(0, 3, (12, 13, 14)).astype(np.uint8)
        paths = tmp_path / f"c{number}_0000.nii.gz", tmp_path / f"c{number}.nii.gz"
        image = rng.normal(50, 9, (1, 12, 13, 14)).astype(np.float32)
        io.write_volume(Volume(array=image, geometry=geometry), paths[0])
        io.write_mask(label, geometry, paths[1])
        name = f"c{number}"
        found.append(Case(name=name, images=(paths[0],), label=paths[1], group=name))
    return tuple(found)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_run_goes_on(cases, tmp_path, point):
    folder = tmp_path / "store"
    child = multiprocessing.get_context("spawn").Process(
        target=prepare_and_die, args=(cases, folder, point)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    whole = Store.open(folder).names
    assert 0 < len(whole) < 3
    made = {name: (folder / name / "case.json").stat().st_mtime_ns for name in whole}
    resumed = prepare_site(cases, small_plan()[0], "3d_fullres", folder)
    for name, time in made.items():
        assert (folder / name / "case.json").stat().st_mtime_ns == time
    fresh = prepare_site(cases, small_plan()[0], "3d_fullres", tmp_path / "fresh")
    assert resumed.names == fresh.names == ("c0", "c1", "c2")
    assert sorted(path.name for path in folder.iterdir()) == ["c0", "c1", "c2"]
    for name in fresh.names:
        one, other = resumed.case(name), fresh.case(name)
        for a, b in zip(
            one.read((0,) * 3, one.shape), other.read((0,) * 3, one.shape), strict=True
        ):
            assert np.array_equal(a, b)
        assert all(np.array_equal(one.locations[v], other.locations[v]) for v in (1, 2))
