"""One training by one method: what it consists of, and what it is known by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from fednnunet import records
from fednnunet.federation.methods.catalogue import label
from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Merge, Tensors
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.pooled import RunKind, run_kind
from fednnunet.federation.methods.settings import Settings
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.phases import Phase, Phases
from fednnunet.planning.plan import Plan

_LATER = (
    "start",
    "robust",
    "secure",
    "privacy",
    "filters_down",
    "step",
    "guard",
    "weights",
    "merging",
    "noisy",
    "imbalance",
    "pretraining",
    "pretraining_rounds",
)
"""Fields that came later: with their default a training has the key that it had without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training of `Training.runs`: the main one, whose `name` is "", or a baseline."""

    name: str
    folder: Path
    plan: Plan
    training: Training

    @property
    def settings(self) -> Settings:
        """The method's settings."""
        return self.training.runs[self.name]

    @property
    def method(self) -> Method:
        """The method's both halves."""
        return self.settings.build()

    @property
    def method_name(self) -> str:
        """The method's label, which tells it and its settings from all others."""
        return label(self.settings)

    @property
    def kind(self) -> RunKind:
        """Whether the sites train together, or their cases are pooled."""
        return run_kind(self.settings)

    def merge(self, phase: Phase) -> Merge:
        """How the sites' replies are merged in the rounds of a phase."""
        if phase == "pretraining":
            return mean_by_cases
        return self.training.merge(self.settings) if phase == "joint" else self.training.mean

    def phases(self, tensors: Tensors) -> Phases:
        """The rounds of each phase, for a network with these tensors; see `Training.phases`."""
        return self.training.phases(self.method, tensors)

    @property
    def key(self) -> str:
        """A checksum of all that the rounds depend on, the method's settings included.

        Not the number of rounds: see `extension`.
        """
        training = replace(
            self.training.without_execution(),
            method=self.settings,
            baselines=(),
            rounds=1,
            personal_rounds=0,
            public_rounds=0,
            routed=False,
            contribution=False,
            postprocessing=False,
            validate_every=0,
            max_update_ratio=0.0,
            keep="last",
        )
        encoded = records.encode(training)
        usual = records.encode(Training())
        for name in _LATER:
            if name == "step" and self.method.scales_learning_rate:
                continue  # its default changed what such a method trains
            if encoded[name] == usual[name]:
                del encoded[name]
        del encoded["postprocessing"]
        parts = [records.encode(self.plan), encoded]
        content = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]
