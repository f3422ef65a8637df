"""The models of one training are told apart by their names."""

from __future__ import annotations

from fednnunet.federation.workflows.train import ModelScores, TrainingScores


def model(name: str, *, personal: bool) -> ModelScores:
    return ModelScores(model=name, method="m", personal=personal, sites={})


def test_a_reference_with_two_models_has_two_names():
    models = (
        model("global", personal=False),
        model("personal", personal=True),
        model("fedbn", personal=False),
        model("fedbn", personal=True),
        model("fedavg", personal=False),
        model("local", personal=True),
    )
    scores = TrainingScores(training_cases={"a": 3, "b": 0}, models=models)
    names = ("global", "personal", "fedbn, global", "fedbn", "fedavg", "local")
    assert scores.labels == names
    assert scores.external == {"b"}
