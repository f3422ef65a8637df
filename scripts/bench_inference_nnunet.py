"""nnU-Net's side of bench_inference.py in one process; it runs in nnU-Net's own environment.

`bench_inference_nnunet.py MODEL` answers commands from standard input, one JSON line each.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path


def serve(model: str) -> None:
    """Load the model, then predict one image for each command."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with redirect_stdout(sys.stderr):
        predictor = nnUNetPredictor(
            use_mirroring=False,
            perform_everything_on_device=False,
            device=torch.device("cpu"),
            allow_tqdm=False,
        )
        predictor.initialize_from_trained_model_folder(model, use_folds=(0,))
        for line in sys.stdin:
            command = json.loads(line)
            out = Path(command["out"])
            out.parent.mkdir(parents=True, exist_ok=True)
            begin = time.perf_counter()
            predictor.predict_from_files_sequential([[command["image"]]], [str(out)])
            answers.write(json.dumps({"seconds": time.perf_counter() - begin}) + "\n")
            answers.flush()


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    serve(sys.argv[1])
