"""Faults of a site as they leave it: codes from fixed lists, put into words at the coordinator.

The text of an exception may hold paths, names of cases and numbers of voxels, so no part of it
crosses the site's wall. What crosses is the kind of the fault, how many faults there are, and an
advice for the coordinator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from fednnunet.errors import (
    DataError,
    FedNNUNetError,
    InputError,
    ManyFaults,
    OutOfMemoryError,
    PlanError,
    RefusalError,
    ReplyError,
    StorageError,
    WorkerError,
    single_faults,
)

FaultKind = Literal[
    "fault",
    "input",
    "data",
    "plan",
    "message",
    "refusal",
    "killed_worker",
    "out_of_memory",
    "storage",
    "several",
    "unexpected",
]
Advice = Literal[
    "read_log",
    "check_settings",
    "check_data",
    "same_plan",
    "same_version",
    "same_federation_file",
    "ask_to_measure_first",
    "answered_once",
    "send_plan_first",
    "approve_plan",
    "approve_rounds",
    "as_agreed",
    "rounds_in_order",
    "compare_logs",
    "restore_state",
    "respect_policy",
    "too_few_cases",
    "model_stays",
    "too_few_partners",
    "wrong_key",
    "epsilon_spent",
    "use_less_memory",
    "make_room",
    "report_fault",
]


@dataclass(frozen=True, slots=True)
class _Kind:
    error: type[FedNNUNetError]
    words: str
    advice: Advice


# The one table of kinds: the class of the error at both sides, words, and the usual advice.
KINDS: Mapping[FaultKind, _Kind] = {
    "fault": _Kind(FedNNUNetError, "the work asked for failed at the site", "read_log"),
    "input": _Kind(InputError, "settings or files of the site cannot be used", "check_settings"),
    "data": _Kind(DataError, "images or labels of the site are not fit for the task", "check_data"),
    "plan": _Kind(PlanError, "the site cannot use the plan", "same_plan"),
    "message": _Kind(
        ReplyError, "the site cannot use the message that it was sent", "same_version"
    ),
    "refusal": _Kind(RefusalError, "the site refuses to answer", "respect_policy"),
    "killed_worker": _Kind(
        WorkerError, "a worker process of the site ended before its time", "use_less_memory"
    ),
    "out_of_memory": _Kind(
        OutOfMemoryError, "the memory of the site's machine does not suffice", "use_less_memory"
    ),
    "storage": _Kind(StorageError, "the site's disk is full or may not be written", "make_room"),
    "several": _Kind(ManyFaults, "the site has faults of several kinds", "read_log"),
    "unexpected": _Kind(
        FedNNUNetError, "the program failed unexpectedly at the site", "report_fault"
    ),
}

ADVICE: Mapping[Advice, str] = {
    "read_log": "ask the site's staff to read its log, which holds all details",
    "check_settings": "ask the site's staff to correct what its log names",
    "check_data": "ask the site's staff to correct the cases that its log names, or go on without "
    "the site",
    "same_plan": "send every site the same plan, made by the same version of the program",
    "same_version": "give coordinator and sites the same version of the program",
    "same_federation_file": "give coordinator and sites the same federation file",
    "ask_to_measure_first": "ask the site for its fingerprint first",
    "answered_once": "the site answers for planning once: go on with that answer, or ask its staff "
    "whether it may answer anew",
    "send_plan_first": "send the site the plan before training",
    "approve_plan": "show the plan to the site's staff, who approve it once if the site may use it",
    "approve_rounds": "tell the site's staff of the larger number of rounds, who approve the plan "
    "once more if the site may train for so long",
    "as_agreed": "ask only for what the federation file says of rounds, phases, iterations and "
    "tensors, with the same file and version at both sides",
    "rounds_in_order": "ask each site for every round once and in order; where the coordinator has "
    "lost its checkpoints, train in a new run folder",
    "compare_logs": "what the site received does not agree with the log of rounds that the sites "
    "were shown: compare the log in the run folder with the copies at the sites, and train in a "
    "new run folder",
    "restore_state": "ask the site's staff to restore its folder, or train in a new run folder",
    "respect_policy": "go on without the site, or ask its staff whether its policy may change",
    "too_few_cases": "the site has fewer cases than its policy asks for: go on without the site, "
    "or ask its staff to add cases or to lower min_cases or min_bin_count",
    "model_stays": "the site's own model stays there: go on without it, or ask its staff to set "
    "share_model = true in its policy",
    "too_few_partners": "a site sums its reply with as many others as the threshold says: bring "
    "more sites back, or agree with all sites on a lower threshold in the federation file",
    "wrong_key": "the keys of another site are not signed by the key that this site knows it by: "
    "ask both sites' staff to compare sites.NAME.ledger_key in the federation file with the "
    "ledger_key.pub.pem of the other site, and to look for who exchanges keys",
    "epsilon_spent": "the site's limit of epsilon is reached: end the training with the rounds "
    "that there are, or ask its staff whether max_epsilon in its policy may be raised",
    "use_less_memory": "ask the site's staff to use fewer workers or a smaller memory_gib",
    "make_room": "ask the site's staff to make room on its disk, or to correct the rights to its "
    "folder; the same command goes on afterwards",
    "report_fault": "ask the site's staff to report the last entry of its log to the developers",
}


def describe(error: BaseException) -> tuple[FaultKind, int, Advice]:
    """What may leave of an error at a site: its kind, the number of faults, and an advice."""
    if not isinstance(error, FedNNUNetError):
        memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        kind: FaultKind = "out_of_memory" if memory else "unexpected"
        return kind, 1, KINDS[kind].advice
    faults = single_faults(error)
    kinds = {_kind_of(fault) for fault in faults}
    kind = kinds.pop() if len(kinds) == 1 else "several"
    given = {fault.advice for fault in faults}
    advice = next((code for code in ADVICE if given == {code}), KINDS[kind].advice)
    return kind, max(len(faults), 1), advice


def as_error(site: str, kind: FaultKind, faults: int, advice: Advice) -> FedNNUNetError:
    """A site's fault as an error at the coordinator, made of the codes alone."""
    number = f" ({faults} faults)" if faults > 1 else ""
    error = KINDS[kind].error
    error = FedNNUNetError if error is ManyFaults else error
    return error(
        f"{KINDS[kind].words}{number}",
        where=f"site {site}",
        mend=ADVICE[advice],
    )


def _kind_of(fault: FedNNUNetError) -> FaultKind:
    """By the class of the fault, or the nearest class that it is derived from."""
    by_class = {found.error: kind for kind, found in KINDS.items() if kind != "unexpected"}
    return next(by_class[base] for base in type(fault).__mro__ if base in by_class)
