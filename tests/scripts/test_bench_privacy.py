from __future__ import annotations

from fednnunet.audit.record import Audit, Inversion
from fednnunet.federation.training_spec import Training


def test_every_defence_is_a_training_that_can_be(script):
    bench = script("bench_privacy")
    for changes in bench.DEFENCES.values():
        Training(**{"method": "fedavg", **changes})


def test_a_kept_cell_is_not_computed_again(script, tmp_path, monkeypatch):
    bench = script("bench_privacy")
    one = Inversion(
        round="one iteration",
        defended=False,
        targets=4,
        beaten=3,
        ssim=0.5,
        psnr=20.0,
        baseline_ssim=0.4,
        baseline_psnr=19.0,
    )
    cell = bench.Cell(
        defence="none", dice=0.8, audit=Audit(site="a", defences="none", inversions=(one,))
    )
    computed: list[str] = []

    def compute(work, name):
        computed.append(name)
        return cell

    monkeypatch.setattr(bench.Work, "_compute", compute)
    work = bench.Work(out=tmp_path, site="a", targets=1, steps=1, edge=8)
    assert work.cell("none") == work.cell("none") == cell
    assert computed == ["none"]
    assert bench.row(cell) == "| none | 0.800 | 0.50 (0.40, 3/4) |  | - |"
