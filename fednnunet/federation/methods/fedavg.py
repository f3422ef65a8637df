"""FedAvg: shared tensors are averaged, each site weighted by its training cases.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
AISTATS 2017. With parts of the network kept private, it is the method of other papers:

- `private = ["norm"]`, FedBN: Li et al., "FedBN: Federated Learning on Non-IID Features via Local
  Batch Normalization", ICLR 2021. For instance normalisation the affine parameters stay at the
  site, for batch normalisation the running statistics too.
- `private = ["head"]`, shared representation and local heads, trained jointly: Collins et al.,
  "Exploiting Shared Representations for Personalized Federated Learning" (FedRep), ICML 2021; Yang
  et al., "FLOP", KDD 2021. FedRep's own alternating order is `head_alternating`.
- `private = ["decoder", "head"]`, shared base layers: Arivazhagan et al., "Federated Learning with
  Personalization Layers" (FedPer), 2019. In a U-Net the base is the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from fednnunet.federation.methods.mean import MeanBy, by_cases, uniform
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.settings import AllBut, Private


@dataclass(frozen=True, slots=True, kw_only=True)
class FedAvg:
    """Shared tensors are averaged over the sites (FedAvg, McMahan 2017)."""

    tag: ClassVar[str] = "fedavg"

    weights: Literal["cases", "uniform"] = "cases"
    """How sites count in the mean: by their training cases, or all the same."""

    private: Private = ()
    """Parts of the network that stay at each site: any of "norm", "head", "decoder", "encoder"."""

    def build(self) -> Method:
        """The method with these settings."""
        return Method(
            is_shared=AllBut(self.private),
            merge=MeanBy(by_cases if self.weights == "cases" else uniform),
        )
