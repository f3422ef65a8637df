"""The reply to an evaluation: what the site's policy lets leave of its scores and pictures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fednnunet.dataset import Case
from fednnunet.evaluation.gains import Gain
from fednnunet.evaluation.scores import SiteScores
from fednnunet.evaluation.tables import read_cases_csv
from fednnunet.evaluation.verdict import ALONE, GLOBAL, PERSONAL
from fednnunet.federation.site.evaluation import CASES, read_pictures
from fednnunet.federation.site.places import inside
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.report import HELD_OUT
from fednnunet.federation.site.ruled_scores import RuleRelease
from fednnunet.federation.site.scored_cases import ScoredSet, ScoreRelease
from fednnunet.federation.wire.messages import EvaluateInvite, EvaluateReply, Message
from fednnunet.federation.wire.pictures import SHARED_RANKS, as_tensors, ranks_of
from fednnunet.text import plural

Dice = Mapping[str, Mapping[str, float]]
"""The Dice of each case's targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReplies:
    """Makes the replies by the site's `policy`.

    `base` is the site's working folder, where evaluations write the scores of single cases, and
    `log` writes to the site's own log.
    """

    base: Path
    policy: SitePolicy
    log: Callable[[str], None]

    def rule(self, invite: EvaluateInvite) -> RuleRelease | None:
        """Which scores may be summed for the invite's post-processing, if it has any."""
        if not invite.rule:
            return None
        return RuleRelease(
            folder=self.base,
            rule=invite.rule,
            round=invite.round,
            min_cases=self.policy.min_scored_cases,
        )

    def reply(
        self, invite: EvaluateInvite, scores: SiteScores, cases: Sequence[Case], *, reached: int
    ) -> EvaluateReply:
        """The reply on a model after `reached` rounds, which has these scores of `cases`."""
        policy = self.policy
        folder = inside(self.base, invite.run, HELD_OUT, invite.model)
        shared = scores.of_at_least(policy.min_scored_cases, squared=policy.min_squared_cases)
        gains: dict[str, Gain] = {}
        if shared.cases:
            of_cases = read_cases_csv(folder / CASES).get("", ())
            rule = ScoreRelease(folder=self.base, min_cases=policy.min_scored_cases)
            release = rule.release(shared, ScoredSet.of(cases, of_cases))
            shared = release.scores
            if release.warning:
                self.log(release.warning)
            else:
                gains = self._gains(invite)
        return EvaluateReply(
            scores=shared, round=reached, gains=gains, tensors=self._pictures(invite, folder)
        )

    def _gains(self, invite: EvaluateInvite) -> dict[str, Gain]:
        """What the main run's models have over this one, if this one was trained alone.

        All of them must have been evaluated on the same cases. Only cases count in which every
        target has a Dice by both models. The others must be none, or so many that their scores
        could leave, and so must those of them in which a target has a Dice by one of the models:
        else the sums of the single targets would tell them.
        """
        if invite.method != ALONE or not (invite.run and invite.personal) or invite.brief:
            return {}
        alone, found = self._dice(invite.run, PERSONAL), {}
        fewest = self.policy.min_scored_cases
        for model in (PERSONAL, GLOBAL):
            joint = self._dice("", model)
            if joint.keys() != alone.keys():
                continue
            means = {case: (_mean(joint[case]), _mean(alone[case])) for case in sorted(joint)}
            compared = {case for case, pair in means.items() if not any(map(math.isnan, pair))}
            others = [len(joint) - len(compared)]
            others += [n for dice in (joint, alone) for n in _left_over(dice, compared)]
            if len(compared) >= fewest and not any(0 < number < fewest for number in others):
                differences = [means[case][0] - means[case][1] for case in sorted(compared)]
                found[model] = Gain.of(differences, squared=self.policy.min_squared_cases)
        return found

    def _dice(self, run: str, model: str) -> Dice:
        """The Dice of each case's targets by a model, NaN where one has none; empty without it."""
        path = inside(self.base, run, HELD_OUT, model) / CASES
        scores = read_cases_csv(path).get("", ()) if path.is_file() else ()
        return {
            score.case: {name: target.dice for name, target in score.targets.items()}
            for score in scores
        }

    def _pictures(self, invite: EvaluateInvite, folder: Path) -> dict[str, Tensor]:
        """The pictures that the site shares: of the main run's models, after the training."""
        if not self.policy.share_pictures or invite.run or invite.brief:
            return {}
        found = read_pictures(folder)
        return as_tensors({p.rank: p.png for p in found if p.rank in SHARED_RANKS})


def _mean(dice: Mapping[str, float]) -> float:
    return statistics.fmean(dice.values())


def _left_over(dice: Dice, compared: Collection[str]) -> list[int]:
    """Of each target, the number of cases with a Dice that are not `compared`."""
    rest = [targets for case, targets in dice.items() if case not in compared]
    names = {name for targets in rest for name in targets}
    return [sum(not math.isnan(targets.get(name, math.nan)) for targets in rest) for name in names]


def score_words(reply: Message) -> str:
    """What a reply holds beyond sums of scores, in words for the ledger."""
    if not isinstance(reply, EvaluateReply):
        return ""
    words = []
    for model, gain in sorted(reply.gains.items()):
        spread = "" if gain.std is None else ", its standard deviation over cases"
        words.append(
            f"mean difference in Dice of the {model} model to training alone over "
            f"{plural(gain.cases, 'held-out case')}{spread}, and in how many it is better or worse"
        )
    if reply.tensors:
        words.append(f"pictures of held-out cases: {', '.join(ranks_of(reply.tensors))}")
    return "; ".join(words)
