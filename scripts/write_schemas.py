"""Write the generated files in plans/: python scripts/write_schemas.py.

Schemas and the table of planners are made from the code, the sample plan from an example's cases.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fednnunet import records
from fednnunet.federation.spec import Federation
from fednnunet.files import write_text
from fednnunet.interop.case_list import plan_what_if, read_case_list
from fednnunet.planning.plan import Plan
from fednnunet.planning.presets import PLANNERS
from fednnunet.planning.record import FingerprintRecord
from fednnunet.schema import json_schema

FOLDER = Path(__file__).resolve().parents[1] / "plans"


def contents() -> dict[str, Any]:
    """The name and the content of each file."""
    sample = plan_what_if(read_case_list(FOLDER / "examples" / "sagittal_spine.default.json"))
    return {
        "federation.schema.json": json_schema(Federation, title="federation"),
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
