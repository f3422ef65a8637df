from __future__ import annotations

import pytest

from fednnunet import records
from fednnunet.commands import compare
from fednnunet.federation.spec import Federation, SiteSpec, read_federation
from tests.federation.fakes import a_plan

HEAD = '[task]\nname = "t"\nchannels = ["MRI"]\nlabels = ["background", "a"]\n'


@pytest.fixture
def federation(tmp_path):
    (tmp_path / "north").mkdir()
    path = tmp_path / "federation.toml"
    path.write_text(HEAD + '[sites.north]\nfolder = "north"\n')
    return path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--methods", "fedavg,nothing"], "there is no method 'nothing'"),
        (["--methods", "fedavg,fedavg"], "each method once"),
        (["--methods", ""], "each method once"),
        (["--reference", "scaffold"], "'scaffold' is not compared"),
        (["--seeds", "0"], "too small"),
        (["--cases-per-site", "-1"], "too small"),
        (["--jobs", "0", "--reference", "nobody"], "there is no method 'nobody'"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_written(
    federation, tmp_path, capsys, options, words
):
    out = tmp_path / "out"
    assert compare.main([str(federation), "-o", str(out), *options]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_of_another_federation_is_refused(federation, tmp_path, capsys):
    out, plan = tmp_path / "out", a_plan()
    other = Federation(task=plan.task, sites={"south": SiteSpec(folder=tmp_path)})
    records.write(plan, out / "plan.json")
    records.write(other, out / "federation.json")
    assert compare.main([str(federation), "-o", str(out)]) == 2
    assert "planned for another task or other sites" in capsys.readouterr().err


def test_a_site_to_leave_out_must_exist(federation, tmp_path, capsys):
    out = tmp_path / "out"
    records.write(a_plan(), out / "plan.json")
    records.write(read_federation(federation), out / "federation.json")
    assert compare.main([str(federation), "-o", str(out), "--leave-out", "oslo"]) == 2
    assert "there is no site oslo" in capsys.readouterr().err
