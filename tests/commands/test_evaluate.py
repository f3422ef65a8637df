"""fednnunet_evaluate from its command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from fednnunet import io
from fednnunet.commands.evaluate import main
from fednnunet.volume import Geometry, Volume

GEOMETRY = Geometry(spacing_mm=(2.0, 1.0, 1.0))
LABELS = {"labels": {"background": 0, "organ": 1}, "channel_names": {"0": "MRI"}}


def _mask(path: Path, shift: int = 0) -> None:
    mask = np.zeros((6, 10, 10), np.uint8)
    mask[1:5, 2 + shift : 6 + shift, 2:6] = 1
    io.write_mask(mask, GEOMETRY, path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two sites, with predictions in one folder for both."""
    for site, shift in (("north", 0), ("south", 2)):
        (tmp_path / "data" / site).mkdir(parents=True)
        (tmp_path / "data" / site / "dataset.json").write_text(json.dumps(LABELS))
        for number in range(2):
            name = f"{site}_{number}.nii.gz"
            _mask(tmp_path / "data" / site / "labelsTs" / name)
            _mask(tmp_path / "masks" / name, shift)
    return tmp_path


def test_sites_are_scored_into_csv_json_and_a_table(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sites = "north=north/labelsTs,south=south/labelsTs"
    out = folders / "out"
    arguments = [str(folders / "masks"), str(folders / "data"), "--site", sites, "-o", str(out)]
    assert main(arguments) == 0
    data = json.loads((out / "scores.json").read_text())
    assert data["per_site"]["north"]["foreground_mean"]["dice"] == 1.0
    assert data["per_site"]["south"]["foreground_mean"]["dice"] == 0.5
    assert data["mean_of_sites"]["dice"] == 0.75
    with (out / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["site"], row["case"]) for row in rows] == [
        ("north", "north_0"),
        ("north", "north_1"),
        ("south", "south_0"),
        ("south", "south_1"),
    ]
    assert float(rows[2]["hd95_mm"]) == 2.0
    shown = capsys.readouterr().out
    assert "mean of sites" in shown and "false negative" in shown
    assert (out / "scores.html").is_file() and (out / "summary.csv").is_file()


def test_tolerance_lesions_and_presence_are_options(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folders / "presence.csv"
    table.write_text("case,label,present\nsouth_0,organ,1\nsouth_1,organ,0\n")
    arguments = [str(folders / "masks"), str(folders / "data" / "south" / "labelsTs")]
    more = ["--tolerance-mm", "1,organ=3", "--lesions", "--presence", str(table), "--pictures", "1"]
    assert main([*arguments, *more]) == 0
    data = json.loads((folders / "masks" / "scores.json").read_text())
    score = data["per_case"]["all"]["south_0"]["organ"]
    assert score["nsd"] == 1.0 and score["lesions"]["matched"] == 0
    assert data["image_level"]["all"]["organ"]["accuracy"] == 0.5
    assert "NSD at 3 mm" in capsys.readouterr().out
    assert (folders / "masks" / "scores.html").read_text().count("<figure") == 1


def test_worst_cases_are_linked_to_the_viewer(folders: Path) -> None:
    labels = folders / "data" / "south" / "labelsTs"
    image = Volume(array=np.ones((1, 6, 10, 10), np.float32), geometry=GEOMETRY)
    io.write_volume(image, labels.with_name("imagesTs") / "south_1_0000.nii.gz")
    assert main([str(folders / "masks"), str(labels), "--viewer"]) == 0
    assert 'href="viewer/worst_2.html"' in (folders / "masks" / "scores.html").read_text()
    pages = [path.name for path in (folders / "masks" / "viewer").iterdir()]
    assert pages == ["worst_2.html"]


@pytest.mark.parametrize("tolerance", ["wide", "nodule=2", "organ=-1"])
def test_a_bad_tolerance_is_an_error(folders: Path, tolerance: str) -> None:
    arguments = [str(folders / "masks"), str(folders / "data" / "south" / "labelsTs")]
    assert main([*arguments, "--tolerance-mm", tolerance]) == 2


def test_one_folder_is_scored_beside_its_predictions(folders: Path) -> None:
    baselines = str(folders / "data" / "south" / "labelsTs")
    assert main([str(folders / "masks"), baselines]) == 0
    assert json.loads((folders / "masks" / "scores.json").read_text())["all_cases"]["cases"] == 2


def test_missing_predictions_leave_earlier_scores_alone(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baselines = str(folders / "data" / "south" / "labelsTs")
    main([str(folders / "masks"), baselines])
    before = (folders / "masks" / "scores.csv").read_bytes()
    (folders / "masks" / "south_1.nii.gz").unlink()
    assert main([str(folders / "masks"), baselines]) == 2
    assert "south_1 has a reference and no prediction" in capsys.readouterr().err
    assert (folders / "masks" / "scores.csv").read_bytes() == before
    assert main([str(folders / "masks"), baselines, "--partial"]) == 0


@pytest.mark.parametrize("site", ["north", "north=", "a=north/labelsTs,a=south/labelsTs"])
def test_a_bad_site_option_is_an_error(folders: Path, site: str) -> None:
    assert main([str(folders / "masks"), str(folders / "data"), "--site", site]) == 2


def test_unknown_labels_are_an_error(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "data" / "south" / "dataset.json").unlink()
    baselines = str(folders / "data" / "south" / "labelsTs")
    assert main([str(folders / "masks"), baselines]) == 2
    assert "--task" in capsys.readouterr().err
    task = str(folders / "data" / "north" / "dataset.json")
    assert main([str(folders / "masks"), baselines, "--task", task]) == 0
