"""One hostile site of five, against plain FedAvg and against robust means, on the four scanners.

    python scripts/bench_poisoning.py -o OUT --seeds 0,1,2

The fifth site has half of the cases of site_b (every second by name), and attacks in every way of
`poisoning_attacks.py`. `OUT/poisoning.md` has the Dice of the global model over the four honest
sites; the row `none` is the price of a robust mean where all are honest, and `OUT/honest_sites.md`
has it by site, since an honest scanner that differs is what a rule may hold back. A backdoor counts
by the share of triggered cases in which fewer than half of the voxels are found that are found
without the trigger. The bound on the size of updates (`max_update_ratio`) is off, so that each rule
is judged alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench_shifted import (
    SITES,
    Bench,
    Cell,
    CellScores,
    by_site,
    mean_dice,
    run_seeds,
    write_table,
)
from poisoning_attacks import ATTACKS, CASES, NONE, UPDATES, crafted, poison_cases, triggered

from fednnunet import Predictor, io
from fednnunet.evaluation.tables import read_cases_csv
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.engines.in_process import InProcessEngine, InProcessSite
from fednnunet.federation.methods.robust import RobustMean
from fednnunet.federation.site.evaluation import CASES as CASES_CSV
from fednnunet.federation.site.prepared import PreparedSite
from fednnunet.federation.site.site import Site
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire.messages import TrainInvite, TrainReply, unpack
from fednnunet.network.tensors import Tensors
from fednnunet.planning.plan import Plan

FIFTH = "site_e"  # last by name, so that it is asked when all others have replied
RULES: dict[str, RobustMean | None] = {
    "mean": None,
    "median": RobustMean(rule="median"),
    "trimmed_mean": RobustMean(rule="trimmed_mean"),
    "krum": RobustMean(rule="krum"),
    "multi_krum": RobustMean(rule="multi_krum"),
    "centered_clipping": RobustMean(rule="centered_clipping"),
}
NAMES = tuple(f"{rule}-{attack}" for attack in ATTACKS for rule in RULES)


class Hostile(Site):
    """A site that sends another update than it has trained; it sees those of the others."""

    attack = NONE
    others: dict[str, Tensors]

    def _train(self, invite: TrainInvite) -> TrainReply:
        reply = super()._train(invite)
        seen = list(self.others.values())
        return replace(reply, tensors=crafted(self.attack, reply.tensors, seen, invite.tensors))


class Heard:
    """An honest site whose replies the hostile one sees."""

    def __init__(self, site: InProcessSite, name: str, seen: dict[str, Tensors]) -> None:
        self._site, self._name, self._seen = site, name, seen

    @property
    def prepared(self) -> PreparedSite:
        """What the site trains with."""
        return self._site.prepared

    def answer(self, data: bytes) -> bytes:
        """The site's own answer."""
        reply = self._site.answer(data)
        message = unpack(reply, sender=self._name)
        if isinstance(message, TrainReply):
            self._seen[self._name] = message.tensors
        return reply


def federation_of(bench: Bench, rule: str, attack: str, seed: int) -> Federation:
    """Five sites, of which the fifth has poisoned cases where the attack is of that kind."""
    base, options = bench.base(), bench.options
    folder = options.output / "fifth"
    _split_site_b(base, folder)
    fifth = folder / FIFTH
    if attack in CASES:
        fifth = options.output / attack / FIFTH
        if not fifth.is_dir():
            building = fifth.with_name(f".tmp-{os.getpid()}")
            shutil.rmtree(building, ignore_errors=True)
            poison_cases(attack, folder / FIFTH, building)
            os.replace(building, fifth)
    spec = base.sites["site_a"]
    training = replace(
        base.training,
        method="fedavg",
        rounds=options.rounds,
        iterations_per_round=options.iterations,
        public_rounds=0,
        seed=seed,
        split_seed=0,
        device="cpu",
        max_update_ratio=0.0,
        robust=RULES[rule],
    )
    return replace(
        base,
        sites={
            **base.sites,
            "site_b": replace(spec, folder=folder / "site_b"),
            FIFTH: replace(spec, folder=fifth),
        },
        training=training,
    )


def cells(bench: Bench, seed: int) -> Iterator[Cell]:
    """The trainings of one seed."""
    for name in NAMES:
        rule, _, attack = name.partition("-")
        if bench.options.cells and name not in bench.options.cells:
            continue
        federation = federation_of(bench, rule, attack, seed)
        folder = bench.options.output / "runs" / f"{name}_{seed}"

        def hostile(
            engine: Engine,
            federation: Federation = federation,
            attack: str = attack,
            folder: Path = folder,
        ) -> Engine:
            assert isinstance(engine, InProcessEngine)
            if attack not in UPDATES:
                return engine
            site = Hostile(
                FIFTH,
                federation,
                folder / "sites" / FIFTH,
                prepared=bench.options.output / "prepared" / "hostile" / FIFTH,
            )
            site.attack, site.others = attack, {}
            site.approve(bench.plan())
            honest = {n: Heard(engine.local(n), n, site.others) for n in SITES}
            return InProcessEngine({**honest, FIFTH: site})

        def judge(run: Path, federation: Federation = federation) -> float:
            return backdoor_success(run, federation)

        after = judge if attack in ("backdoor", NONE) else (lambda run: None)
        yield Cell(name=name, federation=federation, engine=hostile, after=after)


def backdoor_success(run: Path, federation: Federation) -> float:
    """The share of triggered held-out cases whose structures are not found any more."""
    predictor = Predictor(run / "global", device="cpu")
    hidden = total = 0
    for site in SITES:
        cases = read_cases_csv(run / "sites" / site / "held_out" / "global" / CASES_CSV)
        for case in cases.get("", ()):
            paths = [
                federation.sites[site].folder / f"images{kind}" / f"{case.case}_0000.nii.gz"
                for kind in ("Tr", "Ts")
            ]
            image = io.read_volume([next(path for path in paths if path.is_file())])
            spacing = image.geometry.spacing_mm
            plain = int((predictor(image.array, spacing_mm=spacing) > 0).sum())
            found = int((predictor(triggered(image.array), spacing_mm=spacing) > 0).sum())
            if plain:
                total += 1
                hidden += found < plain / 2
    return hidden / max(total, 1)


def write(bench: Bench) -> None:
    """Write the tables of what there is."""
    found = bench.found(NAMES)
    rows = [
        (attack, *(_cell(found.get(f"{rule}-{attack}", [])) for rule in RULES))
        for attack in ATTACKS
    ]
    write_table(bench.options.output / "poisoning.md", ("attack", *RULES), rows)
    honest = {rule: found[f"{rule}-{NONE}"] for rule in RULES if f"{rule}-{NONE}" in found}
    by_rule = [
        (rule, *(f"{dice:.3f}" for dice in by_site(scores).values()))
        for rule, scores in honest.items()
    ]
    write_table(bench.options.output / "honest_sites.md", ("all honest", *SITES), by_rule)


def _cell(scores: list[CellScores]) -> str:
    if not scores:
        return "-"
    attacked = [one.attacked for one in scores if one.attacked is not None]
    share = f", backdoor {sum(attacked) / len(attacked):.0%}" if attacked else ""
    return mean_dice(scores) + share


def _split_site_b(base: Federation, folder: Path) -> None:
    """Every second case of site_b goes to the fifth site."""
    if folder.is_dir():
        return
    source = base.sites["site_b"].folder
    building = folder.with_name(f".tmp-{os.getpid()}-fifth")
    shutil.rmtree(building, ignore_errors=True)
    for half, name in enumerate(("site_b", FIFTH)):
        shutil.copytree(source, building / name)
        for path in sorted((building / name / "labelsTr").glob("*.nii.gz"))[1 - half :: 2]:
            path.unlink()
            case = path.name.removesuffix(".nii.gz")
            for image in (building / name / "imagesTr").glob(f"{case}_*.nii.gz"):
                image.unlink()
    os.replace(building, folder)


def main(
    argv: Sequence[str] | None = None, *, shape: Callable[[Plan], Plan] = lambda plan: plan
) -> int:
    """Train what is missing, and write the tables."""
    prog, about = "bench_poisoning.py", str(__doc__)
    return run_seeds(argv, prog=prog, about=about, cells=cells, write=write, shape=shape)


if __name__ == "__main__":
    raise SystemExit(main())
