"""What is said where the packages for a network are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fednnunet.errors import InputError


@contextmanager
def network_extra() -> Iterator[None]:
    """Turn a missing package into an error that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"the package {error.name} is not installed, which a federation over a network needs",
            where="this installation",
            mend="pip install 'fednnunet[network]'",
        ) from None
