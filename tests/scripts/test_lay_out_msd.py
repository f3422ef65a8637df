"""A Decathlon task becomes the folders of sites that the other commands read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fednnunet.commands import new
from fednnunet.dataset_header import task_of
from scripts import lay_out_msd


def _archive(folder: Path, cases: int) -> Path:
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
        for number in range(cases):
            (folder / part / f"spleen_{number}.nii.gz").write_bytes(f"{part} {number}".encode())
    (folder / "imagesTr" / "._spleen_0.nii.gz").write_bytes(b"")
    header = {
        "name": "Spleen",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "spleen"},
    }
    (folder / "dataset.json").write_text(json.dumps(header))
    return folder


def test_cases_are_dealt_to_the_sites(tmp_path: Path) -> None:
    task = _archive(tmp_path / "Task09_Spleen", 5)
    out = tmp_path / "data"
    argv = [str(task), "-o", str(out), "--sites", "berlin,oslo"]
    assert lay_out_msd.main(argv) == 0
    assert lay_out_msd.main(argv) == 0  # again changes nothing
    found = {
        site: sorted(p.name for p in (out / site / "imagesTr").iterdir())
        for site in ("berlin", "oslo")
    }
    assert found["berlin"] == [f"spleen_{n}_0000.nii.gz" for n in (0, 2, 4)]
    assert found["oslo"] == [f"spleen_{n}_0000.nii.gz" for n in (1, 3)]
    assert (out / "oslo" / "labelsTr" / "spleen_3.nii.gz").read_bytes() == b"labelsTr 3"
    assert task_of(out / "oslo").labels == ("background", "spleen")
    folders = [str(out / site) for site in found]
    assert new.main([*folders, "-o", str(tmp_path / "federation.toml")]) == 0


def test_what_is_no_archive_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lay_out_msd.main([str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "unpacked archive" in capsys.readouterr().err
    task = _archive(tmp_path / "task", 2)
    (task / "labelsTr" / "spleen_1.nii.gz").unlink()
    assert lay_out_msd.main([str(task), "-o", str(tmp_path / "out")]) == 2
    assert "1 image without a label map" in capsys.readouterr().err
