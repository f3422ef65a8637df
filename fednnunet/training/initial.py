"""The weights from which a federation starts: a function of the plan and a seed."""

from __future__ import annotations

from torch import Tensor

from fednnunet.network.unet import UNet, build_network
from fednnunet.planning.plan import Configuration, Plan


def plan_network(plan: Plan, configuration: Configuration, *, seed: int | None = None) -> UNet:
    """The network of one of the plan's configurations, with first weights."""
    return build_network(
        configuration.architecture,
        channels=len(plan.task.channels),
        heads=plan.task.heads,
        norm=plan.norm,
        seed=seed,
    )


def initial_tensors(plan: Plan, configuration: str, *, seed: int) -> dict[str, Tensor]:
    """First weights by name; the same for the same plan, configuration and seed."""
    network = plan_network(plan, plan.configuration(configuration), seed=seed)
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
