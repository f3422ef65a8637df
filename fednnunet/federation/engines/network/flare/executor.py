"""The half of a job at a site: it carries messages between the coordinator and the site's program.

NVFlare loads this class by its name, the only one of a job that a site allows. It takes no
arguments, since a job's author chooses them. It runs in a process of NVFlare that knows neither the
site's cases nor its settings: those belong to the site's own program, on the other side of the
exchange folder.
"""

from __future__ import annotations

import time
from pathlib import Path

from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReturnCode, Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.cellnet.defs import ReturnCode as CellReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.cellnet.utils import new_cell_message

from fednnunet.federation.engines.network.carry import Carrier, Fields
from fednnunet.federation.engines.network.exchange import FOLDER, Tray
from fednnunet.federation.engines.network.kit import program_version

CHANNEL = "fednnunet"
_TIMEOUT_S = 20.0  # of one request, which holds one piece of a message at most
_LOOK_S = 0.2


class CarryExecutor(Executor):
    """Carries messages until the job ends."""

    def execute(
        self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal
    ) -> Shareable:
        """Carry; the task brings nothing and has no result."""
        cell = fl_ctx.get_engine().get_cell()
        job = fl_ctx.get_job_id()
        workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        target = FQCN.join([FQCN.ROOT_SERVER, job])

        def call(kind: str, request: Fields) -> Fields | None:
            return None if abort_signal.triggered else _call(cell, target, kind, request)

        carrier = Carrier(
            tray=Tray(Path(workspace.get_root_dir()) / FOLDER),
            call=call,
            version=program_version(),
        )
        while not abort_signal.triggered and carrier.step():
            time.sleep(_LOOK_S)
        return make_reply(ReturnCode.OK)


def _call(cell: Cell, target: str, kind: str, request: Fields) -> Fields | None:
    reply = cell.send_request(
        channel=CHANNEL,
        target=target,
        topic=kind,
        request=new_cell_message({}, dict(request)),
        timeout=_TIMEOUT_S,
        optional=True,
    )
    if reply.get_header(MessageHeaderKey.RETURN_CODE) != CellReturnCode.OK:
        return None
    return dict(reply.payload)
