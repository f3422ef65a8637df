"""Entry points of other packages: sorted by name, and a broken one is left out with a warning."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from fednnunet import plugins

GROUP = plugins.RECIPES


def declare(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Have the entry points `values` of GROUP, as if a package that declares them were installed"""
    points = [EntryPoint(name=name, value=value, group=GROUP) for name, value in values.items()]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr(plugins, "entry_points", entry_points)


def test_names_and_values_come_in_the_order_of_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declare(monkeypatch, tau="math:tau", e="math:e")
    names = [name for name, _ in plugins.declared(GROUP)]
    assert names == ["e", "tau"]
    assert dict(plugins.declared(GROUP))["tau"] == pytest.approx(6.2832, abs=1e-4)
    assert not list(plugins.declared(plugins.METHODS))


@pytest.mark.parametrize("value", ["no_such_package_here:X", "math:no_such_name"])
def test_what_cannot_be_imported_is_left_out_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    declare(monkeypatch, broken=value, good="math:pi")
    with pytest.warns(RuntimeWarning, match=f"{value} .* cannot be used"):
        found = list(plugins.declared(GROUP))
    assert [name for name, _ in found] == ["good"]
