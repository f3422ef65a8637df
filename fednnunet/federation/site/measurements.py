"""What a site has answered for planning, kept so that the same question has the same answer.

Sums over nearly the same cases, asked for twice, differ by the sums of the few cases between them;
resampled shapes, asked for at many spacings, give single extents by bisection. A site therefore
releases one fingerprint and the shapes at one spacing, keeps both, and repeats them byte for byte.
Only after at least `min_cases` cases have been added or removed, compared with every earlier
answer, is a new fingerprint released; it allows one new spacing, since the plan is made anew.

The folder stays at the site. A person at the site who wants other answers deletes it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fednnunet import records
from fednnunet.errors import InputError, RefusalError
from fednnunet.files import replacing
from fednnunet.planning.fingerprint import CaseFingerprint
from fednnunet.planning.minimum_counts import release_fingerprint, release_shapes
from fednnunet.planning.noisy_counts import noisy_fingerprint, noisy_shapes
from fednnunet.planning.record import BINS, SCHEMA
from fednnunet.planning.shapes import Spacing
from fednnunet.secret_noise import new_key
from fednnunet.task import Task

FOLDER_NAME = "measurements"
SPACING_RANGE_MM = (1e-3, 1e3)  # 2D images are stored with 999 mm for the missing axis
_SUMS = f"schema {SCHEMA}: {BINS}"
_RECORD = "answers.json"
_MEND = (
    f"a person at the site deletes the folder {FOLDER_NAME} in the site's working folder if the "
    "site shall answer anew; the difference of two answers can tell single cases"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What leaves the site, and what the site's own log should say about it."""

    vector: np.ndarray
    """The sums, (n,) float64."""
    warning: str = ""
    """For the site's log only; empty where nothing is odd."""
    noise: float = 0.0
    """The noise multiplier of the sums; 0 for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredShape:
    """Spacing and cropped shape of one case, (z, y, x)."""

    spacing_mm: Spacing
    shape_vox: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """One released fingerprint and what it was made from."""

    task: Task
    """The task it was asked for."""
    min_bin_count: int
    """The minimum count under which it was released."""
    cases: tuple[str, ...]
    """Digests of the cases it was made from, sorted."""
    shapes: tuple[MeasuredShape, ...]
    """What resampled shapes are counted from."""
    fingerprint_sha256: str
    """Of the released fingerprint, in `fingerprint_NUMBER.npy`."""
    spacing_mm: Spacing | None = None
    """The one spacing at which shapes were released, if they were."""
    weights: tuple[float, ...] = ()
    """With noise: for each of `shapes`, one over the number of its patient's cases."""
    noise: float = 0.0
    """The noise multiplier under which it was released; 0 for none."""
    shapes_sha256: str | None = None
    """Of the released shapes, in `shapes_NUMBER.npy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswers:
    """`answers.json`: all released answers, oldest first, and which was given last."""

    answers: tuple[KeptAnswer, ...] = ()
    given: int = 0
    sums: str = _SUMS

    def __post_init__(self) -> None:
        if self.sums != _SUMS:
            raise InputError(
                f"the kept answers are sums of {self.sums!r}, this program makes {_SUMS!r}",
                mend=_MEND,
            )
        if self.answers and not 0 <= self.given < len(self.answers):
            raise InputError(f"there is no kept answer {self.given}", mend="restore the file")


def case_digest(case: CaseFingerprint) -> str:
    """SHA-256 of all that a case adds to the sums; a renamed or recompressed file keeps it."""
    digest = hashlib.sha256()
    plain = (
        case.spacing_mm,
        case.shape_vox,
        case.crop_ratio,
        case.voxels_per_label,
        case.orientation,
        case.kind,
    )
    digest.update(repr(plain).encode())
    if case.annotated is not None:
        digest.update(repr(case.annotated).encode())
    for sketch in case.foreground:
        digest.update(np.ascontiguousarray(sketch.bins, np.int64).tobytes())
        digest.update(np.ascontiguousarray(sketch.columns, np.float64).tobytes())
    return digest.hexdigest()


def changed_cases(before: Sequence[str], after: Sequence[str]) -> int:
    """How many cases were added, or removed, whichever is more; both are lists of digests."""
    old, new = Counter(before), Counter(after)
    return max((new - old).total(), (old - new).total())


def check_spacing(spacing_mm: Sequence[float]) -> None:
    """Raise RefusalError for a target spacing outside of `SPACING_RANGE_MM`."""
    low, high = SPACING_RANGE_MM
    if len(spacing_mm) != 3 or not all(math.isfinite(s) and low <= s <= high for s in spacing_mm):
        raise RefusalError(
            "the site does not count shapes at this spacing",
            mend=f"ask for three spacings of {low:g} to {high:g} mm",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementStore:
    """The answers in `folder`, released under the site's `min_cases` and `min_bin_count`.

    With `noise` they are noisy counts (`planning.noisy_counts`) in place of common values.
    """

    folder: Path
    min_cases: int
    min_bin_count: int
    noise: float = 0.0

    def fingerprint(
        self, task: Task, cases: Sequence[CaseFingerprint], weights: Sequence[float] = ()
    ) -> Answer:
        """The fingerprint to send: an earlier one if fewer than `min_cases` cases changed since.

        With noise, `weights` has for each case one over the number of its patient's cases.

        Raises RefusalError for another task than that of the kept answers, or for too few cases.
        """
        kept = self._read()
        digests = tuple(sorted(case_digest(case) for case in cases))
        for number in reversed(range(len(kept.answers))):
            answer = kept.answers[number]
            _check_task(answer, task)
            changed = changed_cases(answer.cases, digests)
            if changed < max(self.min_cases, 1):
                self._write(dataclasses.replace(kept, given=number))
                vector = self._load(f"fingerprint_{number}", answer.fingerprint_sha256)
                warning = self._warning(answer, changed)
                return Answer(vector=vector, warning=warning, noise=answer.noise)
        if self.noise:
            released = noisy_fingerprint(task, cases, weights, noise=self.noise, key=new_key())
        else:
            released = release_fingerprint(task, cases, min_bin_count=self.min_bin_count)
        vector, number = released.to_vector(), len(kept.answers)
        answer = KeptAnswer(
            task=task,
            min_bin_count=self.min_bin_count,
            cases=digests,
            shapes=tuple(
                MeasuredShape(spacing_mm=c.spacing_mm, shape_vox=c.shape_vox) for c in cases
            ),
            weights=tuple(weights) if self.noise else (),
            noise=self.noise,
            fingerprint_sha256=self._save(f"fingerprint_{number}", vector),
        )
        self._write(KeptAnswers(answers=(*kept.answers, answer), given=number))
        return Answer(vector=vector, noise=self.noise)

    def shapes(self, spacing_mm: Spacing) -> Answer:
        """The resampled shapes of the cases in the fingerprint given last, at its one spacing.

        Raises RefusalError before a fingerprint was given, for a spacing out of range, and for
        another spacing than that of the first request.
        """
        check_spacing(spacing_mm)
        kept = self._read()
        if not kept.answers:
            raise RefusalError(
                "the site has not measured its cases yet",
                mend="ask for the fingerprint first",
                advice="ask_to_measure_first",
            )
        number, answer = kept.given, kept.answers[kept.given]
        name = f"shapes_{number}"
        if answer.spacing_mm is not None:
            if answer.spacing_mm != spacing_mm:
                raise RefusalError(
                    "the site has already counted its shapes at another spacing; it answers for "
                    "one target spacing only",
                    mend=_MEND,
                    advice="answered_once",
                )
            vector = self._load(name, answer.shapes_sha256 or "")
            return Answer(vector=vector, noise=answer.noise)
        pairs = [(case.spacing_mm, case.shape_vox) for case in answer.shapes]
        if answer.noise:
            released = noisy_shapes(
                spacing_mm, pairs, answer.weights, noise=answer.noise, key=new_key()
            )
        else:
            released = release_shapes(spacing_mm, pairs, min_bin_count=answer.min_bin_count)
        vector = released.to_vector()
        answer = dataclasses.replace(
            answer, spacing_mm=spacing_mm, shapes_sha256=self._save(name, vector)
        )
        answers = tuple(answer if i == number else a for i, a in enumerate(kept.answers))
        self._write(dataclasses.replace(kept, answers=answers))
        return Answer(vector=vector, noise=answer.noise)

    def _warning(self, answer: KeptAnswer, changed: int) -> str:
        said = []
        if changed:
            said.append(
                f"{changed} cases were added or removed since the fingerprint was released, fewer "
                f"than the {self.min_cases} that allow a new one: the earlier one is repeated"
            )
        if answer.min_bin_count != self.min_bin_count:
            said.append(
                f"the repeated fingerprint was released with min_bin_count {answer.min_bin_count}, "
                f"the policy now says {self.min_bin_count}"
            )
        return "; ".join([*said, _MEND]) if said else ""

    def _read(self) -> KeptAnswers:
        path = self.folder / _RECORD
        return records.read(KeptAnswers, path) if path.exists() else KeptAnswers()

    def _write(self, kept: KeptAnswers) -> None:
        self._make_folder()
        records.write(kept, self.folder / _RECORD)

    def _save(self, name: str, vector: np.ndarray) -> str:
        """Write a vector before the record that names it, and return its SHA-256."""
        self._make_folder()
        with replacing(self.folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, vector, allow_pickle=False)
        return hashlib.sha256(vector.tobytes()).hexdigest()

    def _load(self, name: str, sha256: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            vector: np.ndarray = np.load(path, allow_pickle=False)
        except (OSError, ValueError):
            vector = np.zeros(0)
        if hashlib.sha256(vector.tobytes()).hexdigest() != sha256:
            raise InputError(
                "an answer that the site has kept is missing or damaged",
                where=str(path),
                mend=f"restore the file; otherwise {_MEND}",
            )
        return vector

    def _make_folder(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)


def _check_task(answer: KeptAnswer, task: Task) -> None:
    if records.encode(answer.task) != records.encode(task):
        raise RefusalError(
            "the site has already released a fingerprint for another task; it answers for one "
            "task only",
            mend=_MEND,
            advice="answered_once",
        )
