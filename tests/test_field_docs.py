from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.spec import Budget, Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.field_docs import field_docs
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Reason, Stage
from fednnunet.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Not the documentation of a field."""

    first: int = 1
    """First,
    on two lines."""
    plain: int = 2
    second: str = ""
    """Second."""

    def method(self) -> None:
        """Not a field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived(Base):
    second: str = "x"
    """Second, again."""
    third: float
    """Third."""


def test_the_string_under_a_field_documents_it() -> None:
    assert field_docs(Base) == {"first": "First, on two lines.", "second": "Second."}


def test_fields_of_bases_are_documented_and_may_be_redefined() -> None:
    expected = {"first": "First, on two lines.", "second": "Second, again.", "third": "Third."}
    assert field_docs(Derived) == expected


def test_a_class_inside_a_function_is_read_too() -> None:
    @dataclass
    class Local:
        one: int
        """One."""

    assert field_docs(Local) == {"one": "One."}


def test_without_source_there_is_no_documentation() -> None:
    made = dataclasses.make_dataclass("made", [("one", int)])
    assert field_docs(made) == {}
    scope: dict[str, type] = {}
    exec('class Typed:\n    one: int = 1\n    """One."""', scope)
    assert field_docs(scope["Typed"]) == {}


@pytest.mark.parametrize(
    "kind",
    [
        *(Federation, SiteSpec, Budget, Training, SitePolicy, Task),
        *(Plan, Configuration, Architecture, Stage, Intensity, Reason),
    ],
)
def test_every_field_that_people_write_is_documented(kind: type) -> None:
    assert set(field_docs(kind)) == {field.name for field in dataclasses.fields(kind)}
