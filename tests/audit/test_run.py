"""The whole audit of a tiny site, undefended and with noise."""

from __future__ import annotations

from fednnunet.audit.run import AuditSize, audit_site, differencing
from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.site.policy import PrivacyLimits, SitePolicy
from fednnunet.inference.bundle import write_bundle
from fednnunet.training.initial import initial_tensors
from tests.audit.made_up import prepared
from tests.planning.cases import TASK, make_cases

SIZE = AuditSize(targets=1, steps=1, edge_vox=8, round_steps=2, cases=3, patches=1)


def test_every_attack_has_its_rows(tmp_path):
    site = prepared(tmp_path, Privacy(unit="patient", noise=2.0))
    weights = initial_tensors(site.plan, site.configuration_name, seed=0)
    write_bundle(
        tmp_path / "global", plan=site.plan, configuration="3d_fullres", weights=weights,
        mirrored=False, note={},
    )  # fmt: skip
    said: list[str] = []
    found = audit_site(site, SIZE, bundles={"global": tmp_path / "global"}, log=said.append)
    kinds = [(one.round, one.defended) for one in found.inversions]
    rounds = ("one iteration", "whole round")
    assert kinds == [(kind, defended) for kind in rounds for defended in (False, True)]
    assert all(one.targets == 1 and one.ssim <= 1 for one in found.inversions)
    assert found.membership["global"].members == found.membership["global"].others == 3
    assert "a patient with noise of 2 clips" in found.defences
    assert len(said) == 5


def test_without_defences_they_are_not_run(tmp_path):
    found = audit_site(prepared(tmp_path), SIZE, bundles={}, log=lambda text: None)
    assert [one.defended for one in found.inversions] == [False, False]
    assert found.defences == "none"
    assert found.membership == {}


def test_differencing_is_of_the_policys_release():
    cases = make_cases(8)
    found = differencing(TASK, cases, SitePolicy())
    assert found["exact sums"].named == 8
    limits = PrivacyLimits(max_epsilon=1.0, fingerprint_noise=50.0)
    noisy = differencing(TASK, cases, SitePolicy(privacy=limits))
    assert noisy["as the site's policy"].named < 8
    assert differencing(TASK, cases[:5], SitePolicy()) == {}
