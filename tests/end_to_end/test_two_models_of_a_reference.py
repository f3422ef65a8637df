"""A reference that ends with a global and a personal model shows both, each by its own name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fednnunet.commands import train
from tests.end_to_end.tiny import TOML, make_federation, make_planned

SETTINGS = """\
method = "fedavg"
baselines = ["fedbn_head", "local"]
validate_every = 1
keep = "best"
"""


def test_both_models_are_in_the_table_and_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = TOML.replace('method = "fedbn_head"\n', SETTINGS).replace("rounds = 2", "rounds = 1")
    make_planned(make_federation(tmp_path, toml=toml), tmp_path / "run")
    capsys.readouterr()
    assert train.main([str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert told.count("fedbn_head, global (fedbn_head") == 1
    assert told.count(" fedbn_head (fedbn_head") == 1
    text = (tmp_path / "run" / "report.html").read_text()
    heads = [re.findall("<th>(.*?)</th>", head) for head in re.findall("<thead>.*?</thead>", text)]
    both = ["fedbn_head, global", "fedbn_head"]
    assert heads[0] == ["site", "cases", "global", *both, "local"]
    assert heads[1] == ["site", "global", *both]  # over "local"
    assert "better in" in text  # what each site sends of its cases by "global" and "local"
    (kept,) = re.findall("of the best round.*?</dd>", text)
    assert "; fedbn_head, global: north" in kept and "; fedbn_head: north" in kept
