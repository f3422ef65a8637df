"""Is a site's data fit to take part? Every fault of its folder in one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fednnunet.dataset import Case, scan_dataset
from fednnunet.dataset_header import read_header, task_of
from fednnunet.errors import DataError, FedNNUNetError, raise_all
from fednnunet.preprocess.check_case import Traits, examine
from fednnunet.preprocess.outliers import Outlier, outliers
from fednnunet.preprocess.workers import affordable, bytes_to_read, try_jobs
from fednnunet.progress import Progress
from fednnunet.task import Task

LOOKED_AT = "looked_at"  # in dataset.json: cases whose oddity a person has looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault or warning, in the words that errors use; `kind` groups like ones."""

    kind: str
    what: str
    where: str
    mend: str

    def error(self) -> DataError:
        """The finding as an error of the family."""
        return DataError(self.what, where=self.where, mend=self.mend)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """What a check of one site found; as JSON it stays at the site.

    `faults` must be mended before the site takes part; `warnings` should be looked at.
    """

    site: str
    folder: str
    verdict: Literal["fit", "not fit"]
    cases: int
    cases_per_label: dict[str, int]
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
    progress: Progress | None = None,
) -> SiteReport:
    """Read all of a site's images and label maps once and report every fault and oddity.

    Without a `task`, the one that the folder's `dataset.json` describes. Raises nothing for bad
    data: a folder that is missing or a file that cannot be read is a fault of the report.
    """
    site = site or folder.name
    try:
        task = task or task_of(folder)
    except FedNNUNetError as fault:
        return _report(site, folder, [], None, [_layout(fault)], [])
    dataset, layout = scan_dataset(folder, task, site=site)
    faults = [_layout(fault) for fault in layout]
    warnings: list[Finding] = []
    jobs = {case.name: (case, task) for case in dataset.cases}
    count = affordable(dataset.cases, workers, memory_gib, bytes_of=bytes_to_read)
    found, failed = try_jobs(_examine, jobs, workers=count, progress=progress, what="check")
    faults += [Finding(kind="not checked", what=f.what, where=f.where, mend=f.mend) for f in failed]
    traits = []
    for case in dataset.cases:
        if case.name in found:
            seen, problems = found[case.name]
            faults += [Finding(kind=k, what=w, where=p, mend=m) for k, w, p, m in problems]
            traits += [seen] if seen else []
    faults += _duplicates(traits)
    header, _ = read_header(folder, task, site)
    known = header.get(LOOKED_AT, ())
    odd = outliers([t for t in traits if t.case not in known], task)
    faults += [_odd(one, dataset.cases) for one in odd if one.plainly]
    warnings += [_odd(one, dataset.cases) for one in odd if not one.plainly]
    warnings += _empty_labels(traits, dataset.cases) + _orientations(traits, dataset.cases)
    return _report(site, folder, traits, task, faults, warnings)


def _examine(job: tuple[Case, Task]) -> tuple[Traits | None, list[tuple[str, str, str, str]]]:
    return examine(*job)


def _report(
    site: str,
    folder: Path,
    traits: Sequence[Traits],
    task: Task | None,
    faults: list[Finding],
    warnings: list[Finding],
) -> SiteReport:
    labels = list(enumerate(task.labels))[1:] if task else []
    return SiteReport(
        site=site,
        folder=str(folder),
        verdict="not fit" if faults else "fit",
        cases=len(traits),
        cases_per_label={n: sum(t.voxels.get(str(v), 0) > 0 for t in traits) for v, n in labels},
        faults=tuple(sorted(faults, key=lambda f: (f.kind, f.where))),
        warnings=tuple(sorted(warnings, key=lambda f: (f.kind, f.where))),
    )


def _layout(fault: FedNNUNetError) -> Finding:
    return Finding(kind="layout", what=fault.what, where=fault.where, mend=fault.mend)


def _duplicates(traits: Sequence[Traits]) -> list[Finding]:
    """Images with the same voxels, which would stand on both sides of a split."""
    first: dict[str, str] = {}
    findings = []
    for name, digest in ((n, d) for t in traits for n, d in zip(t.files, t.digests, strict=True)):
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


def _odd(odd: Outlier, cases: Sequence[Case]) -> Finding:
    case = odd.traits.case
    return Finding(
        kind="another task" if odd.plainly else "another scale",
        what=f"{case} looks like another task's: {odd.reasons}"
        if odd.plainly
        else f"{case} stands apart: {odd.reasons}",
        where=_place(odd.traits, cases),
        mend=f'move it out, or if it belongs add its name to "{LOOKED_AT}" in dataset.json',
    )


def _empty_labels(traits: Sequence[Traits], cases: Sequence[Case]) -> list[Finding]:
    return [
        Finding(
            kind="empty label",
            what=f"the label map of {t.case} has no foreground",
            where=_place(t, cases),
            mend="see whether it was annotated; leave it if there is truly nothing",
        )
        for t in traits
        if t.voxels and not any(int(value) > 0 for value in t.voxels)
    ]


def _orientations(traits: Sequence[Traits], cases: Sequence[Case]) -> list[Finding]:
    """Cases stored along other axes than most; axes are not turned, so training would see both."""
    if not traits:
        return []
    usual, count = Counter(t.orientation for t in traits).most_common(1)[0]
    return [
        Finding(
            kind="orientation",
            what=f"{t.case} is stored as {t.orientation}, {count} other cases as {usual}",
            where=_place(t, cases),
            mend="best store all cases in one orientation",
        )
        for t in traits
        if t.orientation != usual
    ]


def _place(traits: Traits, cases: Sequence[Case]) -> str:
    return next((str(case.images[0]) for case in cases if case.name == traits.case), traits.case)
