from __future__ import annotations

import pytest

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.planning_messages import ShapesInvite


def test_no_spacing_is_asked_for_that_no_scanner_has():
    assert ShapesInvite(spacing_mm=(3.0, 0.5, 0.5)).spacing_mm == (3.0, 0.5, 0.5)
    with pytest.raises(ReplyError, match="spacing_mm"):
        ShapesInvite(spacing_mm=(3.0, 0.0, 0.5))
