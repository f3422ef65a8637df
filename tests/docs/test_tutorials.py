"""The tutorials' commands run, in their order, on two tiny hospitals."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from fednnunet.federation.site.policy import SitePolicy, read_policy
from tests.docs.blocks import ROOT, blocks, lines
from tests.docs.test_readme import COMMANDS
from tests.end_to_end.tiny import make_federation, plain_pages, shrink

PAGES = ("docs/tutorials/data_manager.md", "docs/tutorials/coordinator.md")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data/berlin and data/oslo, in which the commands are run."""
    make_federation(tmp_path / "made")
    for made, name in (("north", "berlin"), ("south", "oslo")):
        shutil.move(tmp_path / "made" / made, tmp_path / "data" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _quick(folder: Path) -> None:
    """Make what is planned or to be trained small, between two commands of a tutorial."""
    federation, plan = folder / "federation.toml", folder / "RUN" / "plan.json"
    if federation.is_file():
        text = federation.read_text(encoding="utf-8")
        for long, short in (
            ("\nrounds = 40", "\nrounds = 1"),
            ("iterations_per_round = 25", "iterations_per_round = 1"),
            ("public_rounds = 20", "public_rounds = 1"),
            ('planner = "plain"', 'planner = "cpu"'),
            ('# device = "cuda"', 'device = "cpu"  #'),
        ):
            text = text.replace(long, short)
        federation.write_text(text, encoding="utf-8")
    if plan.is_file() and not (folder / "RUN" / "rounds").is_dir():
        shrink(plan)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_tutorial_run(page: str, clone: Path) -> None:
    ran = 0
    for block in blocks(page):
        for line in lines(block) if block.kind == "sh" and not block.why else ():
            command, *argv = shlex.split(line)
            with plain_pages():
                assert COMMANDS[command].main(argv) == 0, line
            _quick(clone)
            ran += 1
    assert ran >= 1


def test_the_limits_in_the_tutorial_are_those_by_default(tmp_path: Path) -> None:
    (block,) = (block for block in blocks(PAGES[0]) if block.kind == "toml")
    (tmp_path / "site.toml").write_text(block.text)
    assert read_policy(None, tmp_path) == SitePolicy()


def test_every_block_is_run_or_says_why_not() -> None:
    for path in (ROOT / "docs").rglob("*.md"):
        page = str(path.relative_to(ROOT))
        for block in blocks(page):
            checked = page in PAGES or block.kind in ("toml", "python", "text")
            benchmark = page in ("docs/benchmarks.md", "docs/privacy_planning.md")
            assert checked or block.why or benchmark, f"{page}: {block.text}"
