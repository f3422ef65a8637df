"""The one table of filters, and how `training.filters` and `filters_down` choose from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.federation.filters.delta_bfloat16 import DeltaBfloat16
from fednnunet.federation.filters.filter import Filter
from fednnunet.federation.filters.quantised import Quantised
from fednnunet.federation.filters.top_k import TopK

FILTERS: dict[str, type[Filter]] = {
    "delta_bfloat16": DeltaBfloat16,
    "quantised": Quantised,
    "top_k": TopK,
}

CODING = (DeltaBfloat16, Quantised, TopK)
"""Those that send changes in place of weights: of them a chain has one at most."""


def filter_from(entry: Any, *, where: str = "training.filters") -> Filter:
    """The filter of a name, or of a table of `name` and settings, as a TOML file gives them.

    Raises InputError for an unknown name or setting, naming the setting `where` it stands.
    """
    table = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise InputError(
            f"a filter cannot be {entry!r}",
            where=where,
            mend='give its name, or a table such as {name = "delta_bfloat16"}',
        )
    name = table["name"]
    if name not in FILTERS:
        raise InputError(
            f"there is no filter {name!r}",
            where=where,
            mend=f"choose one of: {', '.join(FILTERS)}",
        )
    settings = {key: value for key, value in table.items() if key != "name"}
    return records.decode(FILTERS[name], settings, source=f"{where}, {name}")
