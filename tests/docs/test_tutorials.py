"""The tutorials' commands run on two tiny hospitals, and what else the docs show is run or read."""

from __future__ import annotations

import dataclasses
import shlex
import textwrap
import tomllib
from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.federation.site.policy import SitePolicy, read_policy
from fednnunet.federation.spec import Federation
from tests.docs.blocks import ROOT, Block, blocks, lines
from tests.docs.quick import make_quick
from tests.docs.test_readme import COMMANDS
from tests.end_to_end.tiny import plain_pages

PAGES = ("docs/tutorials/data_manager.md", "docs/tutorials/coordinator.md")
DOCS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))]
HEAD = {
    "task": {"name": "t", "channels": ["CT"], "labels": ["background", "liver", "tumour"]},
    "sites": {name: {"folder": name} for name in ("north", "south", "west")},
}


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_tutorial_run(page: str, clone: Path) -> None:
    ran = 0
    for block in blocks(page):
        for line in lines(block) if block.kind == "sh" and not block.why else ():
            command, *argv = shlex.split(line)
            with plain_pages():
                assert COMMANDS[command].main(argv) == 0, line
            make_quick(clone)
            ran += 1
    assert ran >= 1


def test_the_limits_in_the_tutorial_are_those_by_default(tmp_path: Path) -> None:
    (block,) = (block for block in blocks(PAGES[0]) if block.kind == "toml")
    (tmp_path / "site.toml").write_text(block.text)
    assert read_policy(None, tmp_path) == SitePolicy()


def read_toml(text: str) -> object:
    """What a block of TOML is: part of a federation file, a site's policy, or entry points."""
    data = tomllib.loads(text)
    if data.keys() <= {field.name for field in dataclasses.fields(Federation)}:
        return records.decode(Federation, HEAD | data)
    if data.keys() <= {field.name for field in dataclasses.fields(SitePolicy)}:
        return records.decode(SitePolicy, data)
    example = tomllib.loads((ROOT / "examples" / "own_method" / "pyproject.toml").read_text())
    for group, names in data["project"]["entry-points"].items():
        assert example["project"]["entry-points"][group] == names
    return example


def run(block: Block) -> bool:
    """Run a block of a page other than a tutorial; whether it is of a kind that can be run."""
    text = textwrap.dedent(block.text)
    if block.kind == "toml":
        return bool(read_toml(text))
    if block.kind == "python":
        exec(compile(text, "a page", "exec"), {})
        return True
    return block.kind == "text"


@pytest.mark.parametrize("page", DOCS)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    for block in blocks(page):
        in_a_tutorial = page in PAGES and block.kind == "sh"
        assert block.why or in_a_tutorial or run(block), f"{page}: {block.text}"


@pytest.mark.parametrize("text", ["[training]\nround = 3\n", "min_case = 3\n", "[project]\n"])
def test_toml_that_nothing_reads_is_found(text: str) -> None:
    with pytest.raises(Exception, match=r"round|project|entry-points|min_case"):
        read_toml(text)
