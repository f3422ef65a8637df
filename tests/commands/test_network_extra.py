"""A missing package becomes an error that says how to install it; other errors stay as they are."""

from __future__ import annotations

import pytest

from fednnunet.commands.network_extra import network_extra
from fednnunet.errors import InputError


def test_without_the_extra_the_message_says_what_to_install() -> None:
    with pytest.raises(InputError) as caught, network_extra():
        raise ModuleNotFoundError(name="nvflare")
    assert "nvflare" in caught.value.what and "fednnunet[network]" in caught.value.mend


def test_other_errors_are_not_touched() -> None:
    with pytest.raises(ImportError, match="cannot import name") as caught, network_extra():
        raise ImportError("cannot import name 'x' from 'nvflare'")
    assert not isinstance(caught.value, InputError)


def test_what_works_is_not_disturbed() -> None:
    with network_extra():
        done = True
    assert done
