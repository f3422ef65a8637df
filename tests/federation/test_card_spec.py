"""The table [card] of a federation file."""

from __future__ import annotations

from fednnunet import records
from fednnunet.federation.card_spec import CardSpec


def test_sites_are_not_named_unless_the_file_says_so() -> None:
    assert not CardSpec().name_sites
    found = records.decode(CardSpec, {"licence": "CC BY 4.0", "name_sites": True}, source="f")
    assert (found.licence, found.name_sites) == ("CC BY 4.0", True)
