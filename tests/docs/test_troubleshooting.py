"""The messages that the page explains are messages of the package."""

from __future__ import annotations

import re
from pathlib import Path

import fednnunet
from tests.docs.blocks import ROOT

KNOWN = {
    "4 cases are fewer than the 5 that this site requires": "cases are fewer than the {min_cases}",
    "the run folder was trained with another plan": "the run folder was trained with another plan",
    "3 rounds were approved at the site, and its federation file has 4": (
        "rounds were approved at the site, and its federation file has"
    ),
    "did you mean ...?": "did you mean",
    "the memory of device cuda does not hold ...": "does not hold the network",
}


def test_every_message_is_one_of_the_package() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `([^`]+)`", page, flags=re.MULTILINE)
    assert set(shown) == set(KNOWN)
    package = Path(fednnunet.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    for message in shown:
        assert KNOWN[message] in source
