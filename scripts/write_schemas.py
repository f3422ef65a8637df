"""Write what plans/ holds beside the examples: python scripts/write_schemas.py.

The schemas and the table of planners come from the code, the sample plan from an example's cases.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fednnunet import records
from fednnunet.files import write_text
from fednnunet.interop.case_list import plan_what_if, read_case_list
from fednnunet.planning.plan import Plan
from fednnunet.planning.presets import PLANNERS
from fednnunet.planning.record import FingerprintRecord
from fednnunet.schema import json_schema

FOLDER = Path(__file__).resolve().parents[1] / "plans"


def contents() -> dict[str, Any]:
    """Each file's name and what must stand in it."""
    sample = plan_what_if(read_case_list(FOLDER / "examples" / "sagittal_spine.default.json"))
    return {
        "plan.schema.json": json_schema(Plan, title="plan"),
        "fingerprint.schema.json": json_schema(FingerprintRecord, title="fingerprint"),
        "planners.json": records.encode(PLANNERS),
        "sagittal_spine.plan.json": records.encode(sample.plan),
    }


def main() -> int:
    """Write every file."""
    for name, content in contents().items():
        write_text(FOLDER / name, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
