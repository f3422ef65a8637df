"""What a hospital's data manager runs."""

import json

import numpy as np
import pytest

from fednnunet import io, records
from fednnunet.evaluation.doubtful import read_doubtful
from fednnunet.inference import review_labels
from fednnunet.preprocess.store import Store
from fednnunet.volume import Geometry, Volume
from tests.inference.conftest import make_bundle
from tests.preprocess.programs import load_program
from tests.training.fakes import small_plan


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "berlin"
    plan = small_plan()[0]
    geometry = Geometry(spacing_mm=(1.0, 1.0, 1.0))
    for number in range(5):
        rng = np.random.default_rng(number)
        label = np.zeros((12, 13, 14), np.uint8)
        label[4:8, 4:8, 4:8] = 1
        label[5:7, 5:7, 5:7] = 2
        image = rng.normal(50, 9, (1, 12, 13, 14)).astype(np.float32)
        io.write_volume(
            Volume(array=image, geometry=geometry), folder / "imagesTr" / f"c{number}_0000.nii.gz"
        )
        io.write_mask(label, geometry, folder / "labelsTr" / f"c{number}.nii.gz")
    header = {
        "channel_names": {str(i): name for i, name in enumerate(plan.task.channels)},
        "labels": {name: value for value, name in enumerate(plan.task.labels)},
    }
    (folder / "dataset.json").write_text(json.dumps(header))
    return folder


def test_the_fingerprint_is_shown_in_words_before_anything_is_sent(site, tmp_path, capsys):
    out = tmp_path / "fingerprint.json"
    assert load_program("fingerprint_site").main([str(site), "-o", str(out)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "an entry can be the value of a single case" in said
    assert "bytes" in said
    assert "cases: 1 sums, 1 of them not 0" in said
    assert out.is_file()
    for secret in ("c0", "c3", str(site)):
        assert f'"{secret}' not in out.read_text()


def test_a_small_site_does_not_answer(site, tmp_path, capsys):
    (site / "site.toml").write_text("min_cases = 6\n")
    out = tmp_path / "fingerprint.json"
    assert load_program("fingerprint_site").main([str(site), "-o", str(out)]) == 2
    assert "berlin" in capsys.readouterr().err
    assert not out.exists()


def test_a_site_is_prepared_by_a_plan(site, tmp_path, capsys):
    records.write(small_plan()[0], tmp_path / "plan.json")
    arguments = [str(site), "--plan", str(tmp_path / "plan.json"), "-o", str(tmp_path / "out")]
    program = load_program("prepare_site")
    assert program.main(arguments) == 0
    assert "5 cases are prepared" in capsys.readouterr().out
    assert len(Store.open(tmp_path / "out").names) == 5
    (site / "imagesTr" / "c1_0000.nii.gz").write_bytes(b"broken")
    assert program.main(arguments) == 2
    assert "c1_0000.nii.gz" in capsys.readouterr().err


def test_a_site_is_checked(site, capsys):
    program = load_program("check_site")
    assert program.main([str(site)]) == 0
    assert "fit" in capsys.readouterr().out
    assert program.main([str(site.parent / "nowhere")]) == 2
    assert "missing" in capsys.readouterr().err


def test_label_maps_are_reviewed_and_a_readers_list_is_taken_over(
    site, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(review_labels, "draw_review", lambda *masks: b"\x89PNG")
    make_bundle(tmp_path / "bundle", small_plan()[0])
    out, program = tmp_path / "out", load_program("review_labels")
    before = [path.read_bytes() for path in sorted((site / "labelsTr").iterdir())]
    arguments = [str(site), str(tmp_path / "bundle"), "-o", str(out)]
    assert program.main([*arguments, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "5 label maps reviewed" in said and "disagreement" in said
    assert (out / "review.html").stat().st_mode & 0o077 == 0  # the site's own eyes
    (out / "wrong.txt").write_text("c1\nc3 corrected\n")
    assert program.main([*arguments, "--wrong", str(out / "wrong.txt"), "--weight", "0.2"]) == 0
    assert "2 cases are doubtful, 1 with a corrected map" in capsys.readouterr().out
    found = read_doubtful(out / "doubtful.json").cases
    assert found["c1"].weight == 0.2 and (out / found["c3"].corrected).is_file()
    assert before == [path.read_bytes() for path in sorted((site / "labelsTr").iterdir())]
    assert program.main([*arguments, "--sure", "2"]) == 2
    assert "--sure is 2" in capsys.readouterr().err
