"""Dice against bytes: each filter on what sites send, and on both ways, on the four scanners.

    python scripts/bench_bytes.py -o OUT --seeds 0,1,2

Trains FedAvg on the federation of `make_shifted.py` with each filter and writes `OUT/bytes.md`:
Dice of the global model, and the bytes of a round and site both ways, after the first round.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from bench_shifted import Bench, Cell, mean_dice, run_seeds, write_table

from fednnunet.planning.plan import Plan

FILTERS: dict[str, Any] = {
    "bfloat16": "delta_bfloat16",
    "8_bits": {"name": "quantised", "bits": 8},
    "4_bits": {"name": "quantised", "bits": 4},
    "2_bits": {"name": "quantised", "bits": 2},
    "top_5_percent": {"name": "top_k", "share": 0.05},
    "top_1_percent": {"name": "top_k", "share": 0.01},
}
WHOLE = "float32"
NAMES = (WHOLE, *(f"{name}_{way}" for name in FILTERS for way in ("up", "both")))


def cells(bench: Bench, seed: int) -> Iterator[Cell]:
    """The trainings of one seed."""
    options, base = bench.options, bench.base()
    for name in NAMES:
        kind, _, way = name.rpartition("_")
        entry = (FILTERS[kind],) if way in ("up", "both") and kind in FILTERS else ()
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
            filters=entry,
            filters_down=entry if way == "both" else (),
        )
        yield Cell(name=name, federation=replace(base, training=training))


def write(bench: Bench) -> None:
    """Write the table of what there is."""
    found = bench.found(NAMES)
    whole = found.get(WHOLE)
    rows = []
    for name, scores in found.items():
        to, back = (
            statistics.fmean(getattr(one, way) for one in scores)
            for way in ("bytes_to_site", "bytes_from_site")
        )
        share = both = "-"
        if whole:
            full = statistics.fmean(one.bytes_to_site + one.bytes_from_site for one in whole)
            both = f"1/{full / (to + back):.1f}"
            share = f"{statistics.fmean(s.mean for s in scores) - _mean(whole):+.3f}"
        kib = (f"{to / 1024:,.0f}", f"{back / 1024:,.0f}")
        rows.append((name, mean_dice(scores), share, *kib, both))
    head = ("filter", "Dice", "against float32", "KiB to a site", "KiB from a site", "both ways")
    write_table(bench.options.output / "bytes.md", head, rows)


def _mean(scores: Sequence[Any]) -> float:
    return statistics.fmean(one.mean for one in scores)


def main(
    argv: Sequence[str] | None = None, *, shape: Callable[[Plan], Plan] = lambda plan: plan
) -> int:
    """Train what is missing, and write the table."""
    prog, about = "bench_bytes.py", str(__doc__)
    return run_seeds(argv, prog=prog, about=about, cells=cells, write=write, shape=shape)


if __name__ == "__main__":
    raise SystemExit(main())
