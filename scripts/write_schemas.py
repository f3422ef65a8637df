"""Write the JSON schemas in plans/ from the dataclasses: python scripts/write_schemas.py."""

from __future__ import annotations

import json
from pathlib import Path

from fednnunet.files import write_text
from fednnunet.planning.plan import Plan
from fednnunet.planning.record import FingerprintRecord
from fednnunet.schema import json_schema

FOLDER = Path(__file__).resolve().parents[1] / "plans"


def main() -> int:
    """Write one schema a kind of file."""
    for name, kind in {"plan": Plan, "fingerprint": FingerprintRecord}.items():
        schema = json_schema(kind, title=name)
        write_text(FOLDER / f"{name}.schema.json", json.dumps(schema, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
