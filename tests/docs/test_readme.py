"""The README's own example works, edited in names and paths only, on real data sets."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

import fednnunet
from fednnunet.commands import (
    audit,
    check,
    compare,
    coordinate,
    evaluate,
    export,
    import_model,
    ledger,
    new,
    plan,
    predict,
    provision,
    pseudolabel,
    site,
    train,
    view,
)
from tests.docs.blocks import ROOT, blocks, lines
from tests.docs.quick import make_quick
from tests.end_to_end.tiny import CASES, plain_pages

DATA = ROOT.parent / "shared" / "data"
PAGE = "README.md"
COMMANDS = {
    "fednnunet_audit": audit,
    "fednnunet_check": check,
    "fednnunet_compare": compare,
    "fednnunet_coordinate": coordinate,
    "fednnunet_evaluate": evaluate,
    "fednnunet_export": export,
    "fednnunet_import": import_model,
    "fednnunet_ledger": ledger,
    "fednnunet_new": new,
    "fednnunet_plan": plan,
    "fednnunet_predict": predict,
    "fednnunet_provision": provision,
    "fednnunet_pseudolabel": pseudolabel,
    "fednnunet_site": site,
    "fednnunet_train": train,
    "fednnunet_view": view,
}


def _example() -> str:
    (block,) = (block for block in blocks(PAGE) if block.kind == "toml")
    return block.text


def test_it_is_short() -> None:
    assert len((ROOT / PAGE).read_text(encoding="utf-8").splitlines()) <= 150


def test_its_example_is_a_federation(tmp_path: Path) -> None:
    for name in ("berlin", "oslo"):
        (tmp_path / "data" / name).mkdir(parents=True)
    path = tmp_path / "federation.toml"
    path.write_text(_example())
    assert list(fednnunet.read_federation(path).sites) == ["berlin", "oslo"]


def _edited(folder: Path) -> str:
    """The example with the names and paths of a data set, and the policy for public data."""
    text = _example()
    sites = sorted(site for site in folder.iterdir() if (site / "dataset.json").is_file())
    header = json.loads((sites[0] / "dataset.json").read_text())
    labels = sorted(header["labels"], key=header["labels"].__getitem__)
    text = text.replace('name = "liver"', f"name = {json.dumps(folder.name)}")
    channels = json.dumps(list(header["channel_names"].values()))
    text = re.sub(r"channels = \[.*?\]", f"channels = {channels}", text)
    text = re.sub(r"labels = \[.*?\]", f"labels = {json.dumps(labels)}", text)
    policy = json.dumps(str(ROOT / "plans" / "public_data_site.toml"))
    tables = "".join(
        f"[sites.{site.name}]\nfolder = {json.dumps(str(site))}\npolicy = {policy}\n\n"
        for site in sites
    )
    return re.sub(r"\[sites\.berlin\].*?(?=\[budget\])", lambda _: tables, text, flags=re.S)


@pytest.mark.parametrize("name", ["sarcoma_ct", "spinal_cord_gm", "head_neck_ct"])
def test_its_example_plans_real_data(name: str, tmp_path: Path) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is not there")
    folder, path = tmp_path / name, tmp_path / "federation.toml"
    folder.mkdir()
    for hospital in sorted((DATA / name).iterdir(), key=_cases)[:3]:  # the smallest, to be quick
        (folder / hospital.name).symlink_to(hospital)
    path.write_text(_edited(folder))
    with plain_pages():
        made = fednnunet.plan(path, tmp_path / "run")
    assert made.configuration("3d_fullres").patch_vox
    assert made.cases == sum(map(_cases, folder.iterdir()))
    assert tomllib.loads(path.read_text())["training"]["rounds"] == 40


def _cases(hospital: Path) -> int:
    """The number of a site's label maps."""
    return len(list((hospital / "labelsTr").glob("*.nii.gz")))


def test_every_command_and_link_is_there() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for command, _ in re.findall(r"`(fednnunet_\w+)( [^`]*)?`", text):
        assert command in COMMANDS
    for block in blocks(PAGE):
        assert block.kind in ("sh", "toml", "python")
        for line in lines(block) if block.kind == "sh" else ():
            assert line.split()[0] in COMMANDS or block.why, line
    for link in re.findall(r"\]\(([^)#]+?)(?:#[\w-]+)?\)", text):
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.fixture
def job(clone: Path) -> Path:
    """The README's example on tiny hospitals, and the folders that its commands name."""
    (clone / "federation.toml").write_text(_edited(clone / "data"))
    for name, part in (("IMAGES", "imagesTr"), ("LABELS", "labelsTr")):
        (clone / name).symlink_to(clone / "data" / "oslo" / part)
    shutil.copy(clone / "data" / "oslo" / "dataset.json", clone)
    make_quick(clone)
    return clone


def test_its_commands_run(job: Path) -> None:
    for block in blocks(PAGE):
        for line in lines(block) if block.kind == "sh" and not block.why else ():
            command, *argv = shlex.split(line)
            with plain_pages():
                assert COMMANDS[command].main(argv) == 0, line
            make_quick(job)
    assert len(list((job / "MASKS").glob("*.nii.gz"))) == CASES


def test_its_python_runs_and_uses_public_names(job: Path) -> None:
    (block,) = (block for block in blocks(PAGE) if block.kind == "python")
    used = set(re.findall(r"fednnunet\.(\w+)\(", block.text))
    assert used and used <= set(fednnunet.__all__)
    names: dict[str, object] = {}
    for statement in ast.parse(block.text).body:
        with plain_pages():
            exec(compile(ast.Module([statement], []), PAGE, "exec"), names)
        make_quick(job)
    assert len(list((job / "MASKS").glob("*.nii.gz"))) == CASES
    assert isinstance(names["predictor"], fednnunet.Predictor)
