"""Check a hospital's folder before it joins a federation: the same as `fednnunet_check`.

python preprocessing/check_site.py FOLDER [-o report.json]
"""

from __future__ import annotations

from fednnunet.commands.check import main

if __name__ == "__main__":
    raise SystemExit(main())
