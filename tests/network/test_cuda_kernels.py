"""The kernels for a GPU, on a CPU by Triton's interpreter where Triton is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import torch, torch.nn.functional as F
from fednnunet.network.cpu import LAST
from fednnunet.network.cuda import norm_rectify

torch.manual_seed(0)
for shape in ((2, 32, 9, 10, 11), (1, 320, 3, 4, 5), (2, 24, 20, 21)):
    for slope in (0.01, 1.0):
        x, grad, wide = torch.randn(shape) * 2 + 3, torch.randn(shape), torch.randn(2, shape[1])
        x = x.contiguous(memory_format=LAST[x.ndim])
        given = [t.clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, *wide)]
        truth = [t.detach().double().requires_grad_() for t in given]
        found = norm_rectify(*given, 1e-5, slope)
        found.backward(grad)
        normal = F.instance_norm(truth[0], weight=truth[1], bias=truth[2], eps=1e-5)
        wanted = F.leaky_relu(normal, slope)
        wanted.backward(grad.double())
        for a, b in ((found, wanted), *((a.grad, b.grad) for a, b in zip(given, truth))):
            error = (a.detach().double() - b.detach()).norm() / b.detach().norm()
            assert error < 1e-5, (shape, slope, float(error))
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernels_are_torchs_normalisation_and_rectifier() -> None:
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    surroundings = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
