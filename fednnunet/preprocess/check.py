"""Check whether a site's data are fit to take part: every fault of its folder in one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fednnunet.dataset import Case, scan_dataset
from fednnunet.dataset_header import read_header, task_of
from fednnunet.errors import DataError, FedNNUNetError, raise_all
from fednnunet.preprocess.check_case import CaseProperties, Checked, check_case
from fednnunet.preprocess.outliers import Outlier, outliers
from fednnunet.preprocess.workers import affordable, bytes_to_read, try_jobs
from fednnunet.progress import Progress
from fednnunet.task import Task

REVIEWED = "reviewed"  # in dataset.json: unusual cases that a person has accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault or warning, with the fields of an error; `kind` groups similar ones."""

    kind: str
    what: str
    where: str
    mend: str

    def error(self) -> DataError:
        """The finding as an error of the family."""
        return DataError(self.what, where=self.where, mend=self.mend)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """The result of checking one site; its JSON file stays at the site.

    `faults` must be corrected before the site takes part; `warnings` should be reviewed.
    """

    site: str
    folder: str
    verdict: Literal["fit", "not fit"]
    cases: int
    cases_per_label: dict[str, int]
    cases_per_kind: dict[str, int]
    faults: tuple[Finding, ...]
    warnings: tuple[Finding, ...]

    def counts(self) -> dict[str, int]:
        """Number of findings of every kind."""
        return dict(Counter(finding.kind for finding in (*self.faults, *self.warnings)))

    def raise_faults(self) -> None:
        """Raise all faults together, as DataError or ManyFaults; nothing for a fit site."""
        raise_all(f"site {self.site} is not fit", [fault.error() for fault in self.faults])


def check_site(
    folder: Path,
    task: Task | None = None,
    *,
    site: str = "",
    workers: int = 1,
    memory_gib: float | None = None,
    label_names: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> SiteReport:
    """Read all images and label maps of a site once and report every fault and every outlier.

    The default `task` is the one in the folder's `dataset.json`; `label_names` says which of the
    site's labels stands for which of another task's. Bad data raise nothing: a missing
    folder or an unreadable file is a fault in the report.
    """
    site = site or folder.name
    try:
        task = task or task_of(folder)
    except FedNNUNetError as fault:
        return _report(site, folder, [], None, [_layout(fault)], [])
    dataset, layout = scan_dataset(folder, task, site=site, label_names=label_names)
    faults = [_layout(fault) for fault in layout]
    warnings: list[Finding] = []
    jobs = {case.name: (case, task) for case in dataset.cases}
    count = affordable(dataset.cases, workers, memory_gib, bytes_of=bytes_to_read)
    found, failed = try_jobs(_check_case, jobs, workers=count, progress=progress, what="check")
    faults += [Finding(kind="not checked", what=f.what, where=f.where, mend=f.mend) for f in failed]
    seen: list[CaseProperties] = []
    for case in dataset.cases:
        if case.name in found:
            properties, problems = found[case.name]
            faults += [Finding(kind=k, what=w, where=p, mend=m) for k, w, p, m in problems]
            seen += [properties] if properties else []
    faults += _duplicates(seen)
    reviewed = read_header(folder, task, site).fields.get(REVIEWED, ())
    unusual = outliers([one for one in seen if one.case not in reviewed], task)
    faults += [_outlier(one, dataset.cases) for one in unusual if one.is_other_task]
    warnings += [_outlier(one, dataset.cases) for one in unusual if not one.is_other_task]
    warnings += _empty_labels(seen, dataset.cases) + _orientations(seen, dataset.cases)
    kinds = Counter(case.labels.supervision.kind for case in dataset.cases)
    if kinds and kinds.keys() <= {"none"}:
        warnings.append(_no_labels(folder))
    return _report(site, folder, seen, task, faults, warnings, dict(sorted(kinds.items())))


def require_cases(report: SiteReport, required: int) -> SiteReport:
    """The report with a fault if the site has fewer cases than its own policy requires."""
    if report.cases >= required:
        return report
    fault = Finding(
        kind="too few cases",
        what=f"{report.cases} cases are fewer than the {required} that this site requires",
        where=report.folder,
        mend="add cases, or let the site lower min_cases or min_bin_count in its own policy",
    )
    return replace(report, verdict="not fit", faults=(*report.faults, fault))


def _check_case(job: tuple[Case, Task]) -> Checked:
    return check_case(*job)


def _report(
    site: str,
    folder: Path,
    seen: Sequence[CaseProperties],
    task: Task | None,
    faults: list[Finding],
    warnings: list[Finding],
    kinds: dict[str, int] | None = None,
) -> SiteReport:
    labels = list(enumerate(task.labels))[1:] if task else []
    return SiteReport(
        site=site,
        folder=str(folder),
        verdict="not fit" if faults else "fit",
        cases=len(seen),
        cases_per_kind=kinds or {},
        cases_per_label={n: sum(t.voxels.get(str(v), 0) > 0 for t in seen) for v, n in labels},
        faults=tuple(sorted(faults, key=lambda f: (f.kind, f.where))),
        warnings=tuple(sorted(warnings, key=lambda f: (f.kind, f.where))),
    )


def _layout(fault: FedNNUNetError) -> Finding:
    return Finding(kind="layout", what=fault.what, where=fault.where, mend=fault.mend)


def _duplicates(seen: Sequence[CaseProperties]) -> list[Finding]:
    """Images with the same voxels, which could end up in both training and held-out cases."""
    first: dict[str, str] = {}
    findings = []
    for name, digest in ((n, d) for t in seen for n, d in zip(t.files, t.digests, strict=True)):
        if digest in first:
            findings.append(
                Finding(
                    kind="duplicate",
                    what=f"{name} has the same voxels as {first[digest]}",
                    where=name,
                    mend="keep one of the two, with its label map",
                )
            )
        first.setdefault(digest, name)
    return findings


def _outlier(outlier: Outlier, cases: Sequence[Case]) -> Finding:
    case = outlier.properties.case
    return Finding(
        kind="another task" if outlier.is_other_task else "another scale",
        what=f"{case} probably belongs to another task: {outlier.reasons}"
        if outlier.is_other_task
        else f"{case} differs from the other cases: {outlier.reasons}",
        where=_place(outlier.properties, cases),
        mend=f'remove the case, or if it is right add its name to "{REVIEWED}" in dataset.json',
    )


def _empty_labels(seen: Sequence[CaseProperties], cases: Sequence[Case]) -> list[Finding]:
    return [
        Finding(
            kind="empty label",
            what=f"the label map of {t.case} has no foreground",
            where=_place(t, cases),
            mend="annotate the case; ignore this warning if it really has no foreground",
        )
        for t in seen
        if t.voxels and not any(int(value) > 0 for value in t.voxels)
    ]


def _no_labels(folder: Path) -> Finding:
    return Finding(
        kind="no labels",
        what="no case of the site has labels",
        where=str(folder),
        mend="the site can take part where other sites have labels; else annotate some cases",
    )


def _orientations(seen: Sequence[CaseProperties], cases: Sequence[Case]) -> list[Finding]:
    """Cases with an unusual orientation: they are turned on reading, if their headers are right."""
    if not seen:
        return []
    usual, count = Counter(t.orientation for t in seen).most_common(1)[0]
    return [
        Finding(
            kind="orientation",
            what=f"{t.case} is stored as {t.orientation}, {count} other cases as {usual}",
            where=_place(t, cases),
            mend="nothing if its header is right, as volumes are turned on reading; look at the "
            "image, and correct the header if left and right or up and down are confused",
        )
        for t in seen
        if t.orientation != usual
    ]


def _place(properties: CaseProperties, cases: Sequence[Case]) -> str:
    return next(
        (str(case.images[0]) for case in cases if case.name == properties.case), properties.case
    )
