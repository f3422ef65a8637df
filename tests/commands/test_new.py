"""The file that is written from sites' folders is one that the other commands read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fednnunet.commands import new
from fednnunet.federation.spec import read_federation


def _site(folder: Path, labels: dict[str, object]) -> Path:
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    header = {"name": 'a "quoted" task', "channel_names": {"0": "CT"}, "labels": labels}
    (folder / "dataset.json").write_text(json.dumps(header))
    return folder


def test_the_file_names_the_task_and_the_sites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels: dict[str, object] = {"background": 0, "tumour": 1}
    folders = [_site(tmp_path / "data" / name, labels) for name in ("Köln", "oslo")]
    path = tmp_path / "files" / "federation.toml"
    path.parent.mkdir()
    assert new.main([*map(str, folders), "-o", str(path)]) == 0
    federation = read_federation(path)
    assert federation.task.labels == ("background", "tumour")
    assert federation.task.channels == ("CT",)
    assert {n: s.folder for n, s in federation.sites.items()} == {
        "Köln": folders[0].resolve(),
        "oslo": folders[1].resolve(),
    }
    assert str(tmp_path) not in path.read_text()  # paths are relative
    assert "2 sites written" in capsys.readouterr().out
    assert new.main([str(folders[0]), "-o", str(path)]) == 2  # never over a file
    assert "--overwrite" in capsys.readouterr().err
    assert new.main([str(folders[0]), "-o", str(path), "--overwrite"]) == 0
    assert list(read_federation(path).sites) == ["Köln"]


def test_regions_and_a_policy_are_in_the_file(tmp_path: Path) -> None:
    labels: dict[str, object] = {"background": 0, "whole": [1, 2], "core": [2]}
    folder, policy = _site(tmp_path / "north", labels), tmp_path / "limits.toml"
    policy.write_text("min_cases = 1\n")
    path = tmp_path / "federation.toml"
    assert new.main([str(folder), "-o", str(path), "--policy", str(policy)]) == 0
    federation = read_federation(path)
    assert federation.task.regions == {"whole": (1, 2), "core": (2,)}
    assert federation.sites["north"].policy == policy.resolve()


def test_sites_of_other_labels_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        _site(tmp_path / name, {"background": 0, label: 1})
        for name, label in (("a", "tumour"), ("b", "GTV"))
    ]
    assert new.main([*map(str, folders), "-o", str(tmp_path / "f.toml")]) == 2
    error = capsys.readouterr().err
    assert "tumour" in error and "GTV" in error
    assert not (tmp_path / "f.toml").exists()
