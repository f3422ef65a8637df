"""The tables of methods: their settings by name, and the names that stand for whole settings."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fednnunet import plugins, records
from fednnunet.errors import InputError
from fednnunet.federation.methods.apfl import APFL
from fednnunet.federation.methods.ditto import Ditto
from fednnunet.federation.methods.fedadam import FedAdam
from fednnunet.federation.methods.fedadp import FedAdp
from fednnunet.federation.methods.fedavg import FedAvg
from fednnunet.federation.methods.fedavgm import FedAvgM
from fednnunet.federation.methods.feddg import FedDG
from fednnunet.federation.methods.fedease import FedEase
from fednnunet.federation.methods.fedgkd import FedGKD
from fednnunet.federation.methods.fednova import FedNova
from fednnunet.federation.methods.fedproto import FedProto
from fednnunet.federation.methods.fedprox import FedProx
from fednnunet.federation.methods.fedsam import FedSAM
from fednnunet.federation.methods.head_alternating import HeadAlternating
from fednnunet.federation.methods.iop_fl import IOPFL
from fednnunet.federation.methods.local import Local
from fednnunet.federation.methods.method import Method
from fednnunet.federation.methods.per_fedavg import PerFedAvg
from fednnunet.federation.methods.pooled import Pooled
from fednnunet.federation.methods.propfair import PropFair
from fednnunet.federation.methods.qfedavg import QFedAvg
from fednnunet.federation.methods.qfedavg_dice import QFedAvgDice
from fednnunet.federation.methods.scaffold import Scaffold
from fednnunet.federation.methods.settings import Settings, canonical
from fednnunet.federation.methods.similarity import Similarity

SETTINGS: dict[str, type[Settings]] = {
    kind.tag: kind
    for kind in (
        FedAvg,
        QFedAvg,
        QFedAvgDice,
        PropFair,
        FedAdp,
        FedProx,
        FedGKD,
        FedProto,
        FedDG,
        Scaffold,
        FedSAM,
        PerFedAvg,
        FedAvgM,
        FedAdam,
        FedNova,
        HeadAlternating,
        APFL,
        Ditto,
        FedEase,
        IOPFL,
        Similarity,
        Local,
        Pooled,
    )
}
"""Every method's settings by the `name` in `[training.method]`."""

PRESETS: dict[str, Settings] = {
    **{name: kind() for name, kind in SETTINGS.items()},
    "fedavg_uniform": FedAvg(weights="uniform"),
    "fedbn": FedAvg(private=("norm",)),
    "head": FedAvg(private=("head",)),
    "fedbn_head": FedAvg(private=("norm", "head")),
    "decoder": FedAvg(private=("decoder", "head")),
    "fedprox_bn_head": FedProx(private=("norm", "head")),
    "fedgkd_bn_head": FedGKD(private=("norm", "head")),
    "scaffold_bn_head": Scaffold(private=("norm", "head")),
    "fedsam_bn_head": FedSAM(private=("norm", "head")),
    "fedease_all": FedEase(graph=False),
    "fedease_firm": FedEase(annealing=False),
    "fedease_open": FedEase(private=()),
}
"""What each name stands for in `method = "..."`: a method with its defaults, or with others."""

METHODS: dict[str, Method] = {name: settings.build() for name, settings in PRESETS.items()}
"""The method of each preset."""

CHOICE = records.OneOf("method", SETTINGS, PRESETS)
MethodChoice = Annotated[Settings, CHOICE]
"""A field of the federation file that names a method."""

_PRESET_NAMES = {canonical(settings): name for name, settings in PRESETS.items()}


def label(settings: Settings) -> str:
    """What a method with its settings is called: by a preset's name if there is one.

    Equal methods have equal labels, and different ones different labels.
    """
    own = canonical(settings)
    return _PRESET_NAMES.get(own, own)


def add_method(settings: type[Settings]) -> None:
    """Make a method of another package known by its settings' `tag`.

    Raises InputError if another method has the name, or if the settings are not those of a method.
    """
    tag = getattr(settings, "tag", None)
    is_record = isinstance(settings, type) and dataclasses.is_dataclass(settings)
    if not is_record or not isinstance(tag, str) or not hasattr(settings, "build"):
        raise InputError(
            f"{settings!r} are not the settings of a method",
            mend="give a frozen dataclass with a class variable `tag` and a method `build()`",
        )
    known = SETTINGS.get(tag)
    if known is settings:
        return
    if tag in PRESETS:
        raise InputError(
            f"there is a method {tag!r} already", mend="give the new method another `tag`"
        )
    method = settings().build()
    SETTINGS[tag], PRESETS[tag], METHODS[tag] = settings, settings(), method
    _PRESET_NAMES[canonical(settings())] = tag


plugins.add_declared(plugins.METHODS, "method", add_method)
