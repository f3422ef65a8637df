"""Sites that train alone."""

from __future__ import annotations

from fednnunet.federation.methods.local import Local
from tests.contracts.helpers import merged
from tests.federation.methods.replies import NAME, a_reply, a_state


def test_nothing_is_shared():
    method = Local().build()
    assert not method.shared(a_state().shared)
    assert set(method.private(a_state().shared)) == {NAME}


def test_a_round_changes_its_number_alone():
    state = merged(Local().build().merge, a_state(), [a_reply("a", (1.0, 2.0))])
    assert state.round == 1 and state.shared[NAME].tolist() == [0.0, 0.0]
