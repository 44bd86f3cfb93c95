"""TensorBoard's event files of a run that goes back to its checkpoint."""

from __future__ import annotations

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch.utils.tensorboard import SummaryWriter


def drop_steps_from(writer: SummaryWriter, step: int) -> None:
    """Have TensorBoard forget what earlier files of the folder hold of `step` and later ones.

    Event files are never cut. Every process of a run has a file of its own, and the start of a session in it
    says from which step on the earlier ones count no more: what torch writes for `SummaryWriter(purge_step)`.
    """
    writer._get_file_writer().add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
