"""A site's own limits on what it shares, from a file that the coordinator cannot change."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.federation.wire.messages import KINDS
from fednnunet.ranges import Within, check_ranges
from fednnunet.text import shown

FILE_NAME = "site.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What a site on a network does without asking a person: the table `[allow]` of its policy."""

    methods: tuple[str, ...]
    """Names of methods, baselines included."""
    max_rounds: int
    """The most rounds of all phases together."""
    filters: tuple[str, ...] = ()
    """Filters that the federation must use on what leaves."""
    begin_hour: int = 0
    """From this hour of the day (local time) the site begins to answer."""
    end_hour: int = 24
    """From this hour on it begins nothing new; before `begin_hour` means after midnight."""

    def __post_init__(self) -> None:
        hours = (self.begin_hour, self.end_hour)
        if not all(0 <= hour <= 24 for hour in hours) or self.begin_hour == self.end_hour:
            raise InputError(
                f"begin_hour is {self.begin_hour} and end_hour {self.end_hour}",
                mend="give two different hours from 0 to 24, e.g. 18 and 7 for the night",
            )

    def is_open(self, hour: int) -> bool:
        """Whether the site begins work in this hour of the day, from 0 to 23."""
        if self.begin_hour < self.end_hour:
            return self.begin_hour <= hour < self.end_hour
        return hour >= self.begin_hour or hour < self.end_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingLimits:
    """How much may leave in all, counted in the ledger of the site's working folder (over a network
    `KIT/work`, in a simulation `RUN/sites/NAME`): the table `[outgoing]` of its policy."""

    max_gib: Annotated[float, Within(0, 1e6)] = 0.0
    """Most GiB of all messages together; 0 for no limit."""
    max_messages: dict[str, int] = field(default_factory=dict)
    """Most messages of a kind, such as TrainReply (one a round) or EvaluateReply; a kind that is
    not named has no limit. The kinds are those that `fednnunet_ledger` lists."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [outgoing]")
        for kind, number in self.max_messages.items():
            if kind not in KINDS or not kind.endswith("Reply") or number < 0:
                raise InputError(
                    f"{shown(kind)} = {number} is no limit of messages",
                    where="outgoing.max_messages",
                    mend="give 0 or more for any of: "
                    + ", ".join(name for name in KINDS if name.endswith("Reply")),
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyLimits:
    """What the site asks of differential privacy: the table `[privacy]` of its policy. With it the
    site takes part only in a training with `[training.privacy]`."""

    max_epsilon: Annotated[float, Within(1e-9, 1e9)]
    """Largest epsilon of all that leaves the site's working folder, at the training's delta; see
    docs/differential_privacy.md. A round that would exceed it is refused."""
    fingerprint_noise: Annotated[float, Within(0, 1e6)] = 0.0
    """Noise on the counts for planning, its standard deviation over their sensitivity to a patient;
    0 for none. It takes the place of the rules of min_bin_count, and needs many cases."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="correct it in the table [privacy]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePolicy:
    """A site's limits, from the site's own file."""

    min_cases: int = 5
    """A site with fewer cases does not take part."""
    min_bin_count: int = 5
    """Every entry of the planning sums stands for at least so many cases; see
    docs/privacy_planning.md for what that costs. 1 is the exact mode: the plan then equals that of
    nnU-Net for the pooled cases, and entries of the sums can be single cases."""
    min_scored_cases: int = 5
    """Sums of scores and overlaps over fewer held-out cases stay at the site; a sum over one case
    is the score of that case. So do the mean loss of a round with patches of fewer training cases,
    and scores that fewer cases tell apart from those given before."""
    min_squared_cases: int = 10
    """Sums of squared scores over fewer held-out cases stay at the site: with two cases, the sum
    and the sum of squares give both scores. Without them there is no standard deviation."""
    share_model: bool = False
    """Whether the site's own model may leave the site, if a federation asks for it."""
    share_pictures: bool = False
    """Whether pictures of the worst and the median held-out case may leave the site, for the
    coordinator's report; they show patients, without a name."""
    require_secure_aggregation: bool = False
    """Whether statistics for the plan and changes of weights leave the site only under masks, so
    that nobody sees them but in the sum over several sites (docs/secure_aggregation.md)."""
    require_log: bool = False
    """Whether the site refuses rounds that the coordinator has not entered in its log of rounds, or
    does not show the site. Without it a coordinator without a log is let pass, as long as it has
    never shown one."""
    teacher: Path | None = None
    """Folder of a bundle, relative to this file, that labels organs which the site's labels leave
    unknown, where the federation trains with pseudo-labels; e.g. an imported nnU-Net model. It
    stays at the site."""
    doubtful_labels: str = ""
    """The list of doubtful labels that `preprocessing/review_labels.py` wrote, relative to the
    site's folder, for a federation whose `training.noisy` is not "keep". It stays at the site."""
    outgoing: OutgoingLimits | None = None
    """How much may leave in all; without this table there is no such limit."""
    privacy: PrivacyLimits | None = None
    """How much of differential privacy may be spent; without this table there is no limit."""
    allow: Allowed | None = None
    """Over a network, what needs no approval; without this table a person approves every plan."""

    def __post_init__(self) -> None:
        limits = ("min_cases", "min_bin_count", "min_scored_cases", "min_squared_cases")
        if any(getattr(self, name) < 1 for name in limits):
            raise InputError(
                ", ".join(f"{name} is {getattr(self, name)}" for name in limits),
                mend="set each of them to 1 or more in the site's policy",
            )

    @property
    def fingerprint_noise(self) -> float:
        """The noise multiplier of what leaves for planning; 0 for none."""
        return self.privacy.fingerprint_noise if self.privacy else 0.0

    @property
    def required_cases(self) -> int:
        """The fewest cases with which the site answers: a bin holds at most all of its cases."""
        return max(self.min_cases, self.min_bin_count)


def read_policy(path: Path | None, folder: Path) -> SitePolicy:
    """The policy in `path`, else in `site.toml` of the site's folder, else the default limits."""
    path = path or folder / FILE_NAME
    if not path.is_file():
        return SitePolicy()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"the site's policy is not readable TOML: {error}",
            where=str(path),
            mend="correct the line that is named, or restore the file",
        ) from None
    policy = records.decode(SitePolicy, data, source=str(path))
    return replace(policy, teacher=path.parent / policy.teacher) if policy.teacher else policy
