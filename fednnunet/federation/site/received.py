"""The check of the tensors that an invite brings: just the agreed names, shapes and types."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from fednnunet.errors import RefusalError
from fednnunet.federation.methods.method import Method
from fednnunet.federation.wire.extras import is_extra
from fednnunet.federation.wire.tensors import is_in_range, largest_value
from fednnunet.network.tensors import Tensors


def check_tensors(got: Tensors, wanted: Tensors) -> None:
    """Raise RefusalError unless `got` has the names, shapes and types of `wanted`, all in range."""
    odd = sorted(got.keys() ^ wanted.keys())
    if odd:
        given = "brings" if odd[0] in got else "lacks"
        raise _refusal(f"the invite {given} the tensor {odd[0][:80]!r} against the agreement", odd)
    for name, tensor in wanted.items():
        found = got[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise _refusal(
                f"the tensor {name} is {list(found.shape)} {found.dtype}, not "
                f"{list(tensor.shape)} {tensor.dtype}",
            )
        if not is_in_range(found, extra=is_extra(name)):
            limit = largest_value(found, extra=is_extra(name))
            raise _refusal(f"the tensor {name} holds values that are not finite or above {limit:g}")


def extras_of(
    method: Method, network: Tensors, got: Collection[str], sites: Collection[str]
) -> Tensors:
    """The extras that an invite with extras named `got` should have; `network` has all tensors.

    An extra comes whole or not at all; what it has of single sites comes of any of `sites`.
    """
    shared = method.shared(network).keys()
    found: dict[str, Tensor] = {}
    for extra in method.extras:
        like = extra.like(network, shared)
        common, whole = extra.received(like, ()), extra.received(like, sites)
        if any(name in whole for name in got):
            found |= common
            found |= {name: tensor for name, tensor in whole.items() if name in got}
    return found


def _refusal(what: str, names: Collection[str] = ()) -> RefusalError:
    more = f" ({len(names)} tensors in all)" if len(names) > 1 else ""
    return RefusalError(
        what + more,
        mend="give coordinator and sites the same plan, federation file and version",
        advice="as_agreed",
    )
