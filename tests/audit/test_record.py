"""What an audit says of defences: nothing that was not shown without them."""

from __future__ import annotations

import pytest

from fednnunet import records
from fednnunet.audit.differencing import Differencing
from fednnunet.audit.membership import Membership
from fednnunet.audit.record import JSON, Audit, Inversion, write_audit
from fednnunet.audit.statistics import Estimate


def inversion(*, defended: bool, beaten: int) -> Inversion:
    return Inversion(
        round="one iteration",
        defended=defended,
        targets=4,
        beaten=beaten,
        ssim=0.9 if beaten else 0.1,
        psnr=20.0,
        baseline_ssim=0.3,
        baseline_psnr=10.0,
    )


@pytest.mark.parametrize(
    ("bare", "defended", "said"),
    [
        (0, 0, "it says nothing of them"),
        (4, None, "there is no defence"),
        (4, 4, "with and without the defences"),
        (3, 0, "and not with them"),
    ],
)
def test_a_defence_counts_only_against_an_attack_that_succeeds(bare, defended, said):
    found = [inversion(defended=False, beaten=bare)]
    if defended is not None:
        found.append(inversion(defended=True, beaten=defended))
    (verdict,) = Audit(site="a", defences="none", inversions=tuple(found)).verdicts
    assert verdict.endswith(said)


def test_the_audit_is_written_for_programs_and_readers(tmp_path):
    one = Estimate(value=0.7, low=0.4, high=0.9)
    audit = Audit(
        site="<north>",
        defences="none",
        inversions=(inversion(defended=False, beaten=4),),
        membership={"global": Membership(members=4, others=3, auc=one, tpr_at_10_percent=one)},
        differencing={
            "exact sums": Differencing(
                patients=9, named=9, share=1.0, low=0.7, high=1.0, chance=1 / 9
            )
        },
    )
    page = write_audit(tmp_path, audit).read_text()
    assert "0.70 (0.40 to 0.90)" in " ".join(page.split())
    assert "&lt;north&gt;" in page
    assert "source inference" in page
    assert records.read(Audit, tmp_path / JSON) == audit
