"""What a site permits NVFlare: one class, no code, no log; its files say nothing else."""

from __future__ import annotations

import json

from fednnunet.federation.engines.network.flare.permissions import (
    CONTROLLER,
    EXECUTOR,
    GATE,
    authorization,
    coordinator_resources,
    site_resources,
)


def test_a_site_allows_one_class_and_sends_no_log() -> None:
    found = site_resources()
    assert found["class_list_enforcement_mode"] == "enforce"
    assert found["class_allow_list"] == [EXECUTOR]  # "*" or a package would allow more
    assert found["allow_log_streaming"] is False
    assert "log_streamer" not in json.dumps(found)
    assert found["app_validator"]["path"] == GATE


def test_nobody_may_send_code_or_commands() -> None:
    (rights,) = authorization()["permissions"].values()
    assert {rights[name] for name in ("byoc", "shell_commands", "server-predeployed-flwr")} == {
        "none"
    }


def test_the_coordinator_keeps_its_jobs_in_its_own_folder() -> None:
    found = coordinator_resources("/somewhere/store")
    assert found["class_allow_list"] == [CONTROLLER]
    assert "/tmp" not in json.dumps(found)
    assert found["servers"][0]["heart_beat_timeout"] == 60
