"""Numbers of a device, read when it has them: asked for at once, they would make it wait for its next work."""

from __future__ import annotations

import torch
from torch import Tensor


class Later:
    """A tensor on its way to the host. ``read`` waits for it, and for nothing that was queued after it."""

    def __init__(self, tensor: Tensor) -> None:
        self._values = tensor.detach().to("cpu", non_blocking=True)
        self._arrived = torch.cuda.Event() if tensor.is_cuda else None
        if self._arrived is not None:
            self._arrived.record()

    @property
    def arrived(self) -> bool:
        """Whether ``read`` would not wait."""
        return self._arrived is None or self._arrived.query()

    def read(self) -> Tensor:
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._values
