"""A federation whose sites have labels of every kind is planned; one without any is refused."""

from __future__ import annotations

import pytest

from fednnunet.commands import plan
from fednnunet.federation.site.wall import LEDGER
from fednnunet.planning.fingerprint import LABEL_KINDS
from fednnunet.planning.plan import read_plan
from fednnunet.planning.record import read_fingerprint
from tests.end_to_end.tiny import POLICY
from tests.label_kinds import ENTRIES, write_image, write_site

TOML = """\
[task]
name = "mixed"
channels = ["MRI"]
labels = ["background", "a", "b"]
[sites.one]
folder = "one"
[sites.two]
folder = "two"
[budget]
planner = "cpu"
[training]
method = "fedavg"
"""


def redraw(folder, first):
    """Images of its own for a site: those that two sites share are refused."""
    for number, path in enumerate(sorted((folder / "imagesTr").iterdir())):
        write_image(folder, path.name.removesuffix("_0000.nii.gz"), seed=first + number)


def planned(root, write):
    for number, name in enumerate(("one", "two")):
        write(root / name)
        redraw(root / name, 100 * number)
        (root / name / "site.toml").write_text(POLICY)
    (root / "federation.toml").write_text(TOML)
    return plan.main([str(root / "federation.toml"), "-o", str(root / "run")])


def only(folder, kind):
    """Leave the cases of one kind, in a site without complete maps."""
    write_site(folder, full=0, supervision={"cases": {kind: ENTRIES[kind]}})
    for part in ("imagesTr", "labelsTr"):
        for path in (folder / part).iterdir():
            if not path.name.startswith(kind):
                path.unlink()
    if kind == "image":
        (folder / "presence.csv").write_text("case,label,present\nimage,a,1\nimage,b,0\n")


def test_cases_are_counted_by_kind_and_class(tmp_path):
    assert planned(tmp_path, write_site) == 0
    kinds = read_fingerprint(tmp_path / "run" / "fingerprint.json").block("label_kinds")
    found = {kind: row for kind, row in zip(LABEL_KINDS, kinds.tolist(), strict=True) if any(row)}
    assert found == {
        "full": [4, 4, 4],
        "partial": [2, 2, 0],
        "scribble": [2, 2, 2],
        "box": [2, 2, 2],
        "image": [2, 2, 2],
        "none": [2, 0, 0],
    }
    assert "none in 2" in (tmp_path / "run" / "why.md").read_text()


@pytest.mark.parametrize("kind", ["scribble", "box", "image"])
def test_no_site_needs_complete_maps_to_plan(tmp_path, kind):
    assert planned(tmp_path, lambda folder: only(folder, kind)) == 0
    made = read_plan(tmp_path / "run" / "plan.json")
    assert made.cases == 2 and made.configuration("3d_fullres").batch >= 1
    fixed = any(reason.decision == "intensities" for reason in made.reasons)
    assert fixed is (kind != "scribble")


def test_a_federation_without_any_labels_is_refused(tmp_path, capsys):
    assert planned(tmp_path, lambda folder: only(folder, "none")) == 2
    told = capsys.readouterr().err
    assert "no site has any labels" in told and "mend:" in told
    assert not (tmp_path / "run" / "plan.json").exists()


def test_a_class_that_no_site_annotates_is_refused_by_its_name(tmp_path, capsys):
    assert planned(tmp_path, lambda folder: only(folder, "partial")) == 2
    told = capsys.readouterr().err
    assert "no site annotates b" in told and "annotates a," not in told


def test_what_the_site_says_wrong_stays_at_the_site(tmp_path):
    def wrong(folder):
        write_site(folder, supervision={"cases": {**ENTRIES, "secret": {"kind": "none"}}})

    assert planned(tmp_path, wrong) == 2
    ledgers = [tmp_path / "run" / "sites" / name / LEDGER for name in ("one", "two")]
    lines = [line for path in ledgers for line in path.read_text().splitlines()]
    assert lines and not any("secret" in line for line in lines)
