"""The exact reconstruction works on training alone: so the refusals of a site mean something."""

from __future__ import annotations

import numpy as np

from fednnunet.dataset import read_dataset
from fednnunet.preprocess.store import prepare_site


def test_one_update_gives_the_patch_back(script, tmp_path):
    attack = script("attack_reconstruction")
    attack.make_cases(tmp_path / "north")  # enough cases to take part
    plan = attack.made_up_plan()
    cases = read_dataset(tmp_path / "north", attack.TASK, site="north").cases
    patch, found = attack.reconstruct(plan, prepare_site(cases, plan, attack.NAME, tmp_path / "p"))
    pair = np.stack([patch.double().numpy().reshape(-1), found.numpy().reshape(-1)])
    assert abs(np.corrcoef(pair)[0, 1]) > 0.9999
    for approved in (False, True):
        place = tmp_path / str(approved)
        answer = attack.through_a_site(tmp_path / "north", place, plan, approved=approved)
        assert answer.startswith("refused (plan,"), answer
    usual = attack.made_up_plan(wide=False)
    place = tmp_path / "usual"
    assert attack.through_a_site(tmp_path / "north", place, usual, approved=True) == "prepared"
