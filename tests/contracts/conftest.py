"""The rounds of a site that is alone, run once for each method and shared by its contracts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contracts.helpers import LoneSite, lone_site


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoneSite]:
    """The rounds of a method. Tests change nothing of them, and copy the folder to go on in it."""
    made: dict[str, LoneSite] = {}

    def rounds_of(method: str) -> LoneSite:
        if method not in made:
            made[method] = lone_site(tmp_path_factory.mktemp("alone"), method)
        return made[method]

    return rounds_of
