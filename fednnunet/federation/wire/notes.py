"""What a site says of its training, as codes and numbers: no text of its own leaves a site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fednnunet.errors import ReplyError
from fednnunet.ranges import AtMost, Within, check_ranges

NoteCode = Literal[
    "cpu_float32",
    "cpu_bfloat16",
    "cuda_float32",
    "cuda_float16",
    "cuda_bfloat16",
    "other_device",
    "gpus",
    "batch_workers",
    "compiled",
    "micro_batch",
    "out_of_memory",
    "share_of_batch",
    "trains_alone",
]

SENTENCES: Mapping[NoteCode, str] = {
    "cpu_float32": "trains on the CPU in float32",
    "cpu_bfloat16": "trains on the CPU in bfloat16",
    "cuda_float32": "trains on a GPU in float32",
    "cuda_float16": "trains on a GPU in float16 with loss scaling",
    "cuda_bfloat16": "trains on a GPU in bfloat16",
    "other_device": "trains on a device that is neither a CPU nor a CUDA GPU",
    "gpus": "{} GPUs share each batch",
    "batch_workers": "{} processes make batches",
    "compiled": "the network runs through torch.compile",
    "micro_batch": "{} samples at once: gradients are accumulated over the batch",
    "out_of_memory": "out of memory with {} samples at once: went on with {}, gradients are "
    "accumulated over the batch",
    "share_of_batch": "each of {} GPUs computes loss or normalisation over its own share of the "
    "batch: close to what one GPU computes, not equal",
    "trains_alone": "trains alone, as its trial found that better; its weights are not merged",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One of `SENTENCES`, and the numbers in it. Raises ReplyError for too many or too few."""

    code: NoteCode
    numbers: Annotated[tuple[int, ...], AtMost(8), Within(0, 2**31)] = ()

    def __post_init__(self) -> None:
        mend = "give coordinator and sites the same version of the program"
        check_ranges(self, ReplyError, mend=mend)
        wanted = SENTENCES.get(self.code, "").count("{}")
        if len(self.numbers) != wanted:
            raise ReplyError(
                f"the note {self.code} has {len(self.numbers)} numbers, not {wanted}", mend=mend
            )

    @property
    def text(self) -> str:
        """The note in words."""
        return SENTENCES[self.code].format(*self.numbers)
