"""A bundle's mask of a volume is the same, whatever orientation the volume is stored in."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from fednnunet.device import Device
from fednnunet.inference.compute import Compute
from fednnunet.network.unet import build_network
from fednnunet.planning.orientation import ORIENTATIONS
from fednnunet.preprocess.orient import orientation_code
from fednnunet.volume import Geometry, Volume
from tests.inference.bodies import mask_of
from tests.inference.conftest import make_plan
from tests.preprocess.turned import stored_as


def an_image():
    array = np.random.default_rng(3).normal(100, 30, (1, 9, 14, 11)).astype(np.float32)
    array[:, :2] = 0  # so that there is something to crop
    array[:, 4:7, 5:11, 3:8] += 80
    return array


def a_network(plan):
    torch.manual_seed(0)
    architecture = plan.configurations[0].architecture
    return build_network(architecture, channels=1, heads=3, norm=plan.norm).eval()


@settings(max_examples=12, deadline=None)
@given(
    stored=st.sampled_from(ORIENTATIONS),
    wanted=st.sampled_from(("RAS", "LPS", "PIR", "SAL")),
    tilt=st.tuples(*[st.integers(-20, 20)] * 3),
    order=st.permutations(range(3)),
)
def test_the_mask_does_not_depend_on_the_stored_orientation(stored, wanted, tilt, order):
    plan = dataclasses.replace(make_plan(transpose=tuple(order)), orientation=wanted)
    network, compute = a_network(plan), Compute(device=Device(channels_last=False))
    rotation = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix()
    geometry = Geometry(
        spacing_mm=(2.0, 0.9, 1.1),
        origin_mm=(5.0, -3.0, 12.0),
        direction=tuple(rotation.ravel().tolist()),
    )
    volume = Volume(array=an_image(), geometry=geometry)
    turned = stored_as(volume, stored)
    mask = mask_of([network], plan, volume, compute)
    other = mask_of([network], plan, turned, compute)
    assert len(np.unique(mask)) > 1
    back = Volume(array=other[None], geometry=turned.geometry)
    assert np.array_equal(stored_as(back, orientation_code(geometry)).array[0], mask)
