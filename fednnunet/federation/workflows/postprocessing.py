"""Decide the post-processing of the global model with the sites, and keep it in the bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from fednnunet.evaluation.postprocess import Postprocessing
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.exchange import Waiting, ask_quorum
from fednnunet.federation.coordinator.postprocessing import Choice, choose_postprocessing
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.coordinator.validation import ScoreChecks
from fednnunet.federation.wire.messages import EvaluateInvite, EvaluateReply
from fednnunet.files import write_text
from fednnunet.inference.bundle import write_postprocessing

_HEADING = "## Post-processing of masks"


def decide_postprocessing(
    engine: Engine,
    run: Run,
    asked: Mapping[str, EvaluateInvite],
    scores: Mapping[str, SiteScores],
    held_out: Mapping[str, int],
) -> Choice:
    """The rule that helps the model for which the sites were `asked`, and gave these `scores`.

    It is written into the bundle `global`, and with its figures into `why.md`. Sites that gave no
    scores are not asked again.
    """
    training = run.training

    def score(rule: Postprocessing) -> dict[str, SiteScores]:
        invites = {site: replace(asked[site], rule=rule) for site in scores}
        answers = ask_quorum(
            engine,
            invites,
            EvaluateReply,
            Waiting(quorum=training.quorum, grace_s=training.exchange_grace_s),
            what="not all sites can score masks after post-processing",
            check=ScoreChecks(run=run, invites=invites, held_out=held_out),
        )
        return {site: answer.reply.scores for site, answer in answers.replies.items()}

    choice = choose_postprocessing(run.plan.task, scores, score)
    if choice.rule:
        write_postprocessing(run.folder / "global", choice.rule)
    _write_why(run, choice)
    return choice


def _write_why(run: Run, choice: Choice) -> None:
    """Put the choice at the end of `why.md`, in place of an earlier one."""
    path = run.folder / "why.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before = re.split(rf"^{_HEADING}$", text, maxsplit=1, flags=re.MULTILINE)[0].rstrip()
    section = f"{_HEADING}\n\n{choice.words(run.plan.task)}\n"
    write_text(path, f"{before}\n\n{section}" if before else section)
