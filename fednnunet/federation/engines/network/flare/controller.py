"""The half of a job at the coordinator: it answers the sites' requests out of the exchange folder.

NVFlare loads this class by its name. It runs in a process of NVFlare, which knows no torch and no
message: what passes here are bytes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from nvflare.apis.client import Client
from nvflare.apis.controller_spec import Task
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.utils import new_cell_message
from nvflare.fuel.f3.message import Message
from nvflare.private.defs import CellMessageHeaderKeys

from fednnunet.federation.engines.network.carry import answer
from fednnunet.federation.engines.network.exchange import FOLDER, Desk
from fednnunet.federation.engines.network.flare.job import TASK
from fednnunet.federation.engines.network.kit import program_version

CHANNEL = "fednnunet"
_LOOK_S = 0.2
_TELL_S = 1.0


class CarryController(Controller):
    """Serves the sites of a job until the job is ended."""

    def __init__(self) -> None:
        super().__init__()
        self._desk: Desk | None = None
        self._clients: Any = None

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Begin to answer requests."""
        engine = fl_ctx.get_engine()
        workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        self._desk = Desk(Path(workspace.get_root_dir()) / FOLDER)
        self._clients = engine.server.client_manager
        engine.get_cell().register_request_cb(channel=CHANNEL, topic="*", cb=self._answer)

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Have every site carry, until the job is to end."""
        task = Task(name=TASK, data=Shareable(), timeout=0)
        self.broadcast(task, fl_ctx, min_responses=0)
        desk = self._desk
        while desk and not abort_signal.triggered:
            time.sleep(_LOOK_S)
            if desk.closing.exists() or desk.finished.exists():
                time.sleep(_TELL_S)  # the sites ask, and end
                return

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Answer no more requests."""
        self._desk = None

    def process_result_of_unknown_task(
        self,
        client: Client,
        task_name: str,
        client_task_id: str,
        result: Shareable,
        fl_ctx: FLContext,
    ) -> None:
        """Ignore it: results travel as messages."""

    def _answer(self, request: Message) -> Message:
        """Answer one request; the sender is whom NVFlare gave the token that it bears."""
        token = request.get_header(CellMessageHeaderKeys.TOKEN, None)
        client = self._clients.clients.get(token) if token else None
        name = request.get_header(CellMessageHeaderKeys.CLIENT_NAME, None)
        desk = self._desk
        if client is None or client.name != name or desk is None:
            return new_cell_message(
                {MessageHeaderKey.RETURN_CODE: ReturnCode.AUTHENTICATION_ERROR}, {}
            )
        kind = str(request.get_header(MessageHeaderKey.TOPIC, ""))
        found = answer(desk, client.name, program_version(), kind, dict(request.payload))
        return new_cell_message({MessageHeaderKey.RETURN_CODE: ReturnCode.OK}, dict(found))
