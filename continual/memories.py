"""What a strategy remembers from task to task: a file a task in the run's folder; the journal holds its digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from continual.adapter import tensors_digest
from continual.errors import CorruptError
from continual.files import write_atomic
from continual.strategy.base import Memory


@dataclass(frozen=True)
class Memories:
    """Of the run in ``folder``. Written before the journal's entry, so that what is named there is whole."""

    folder: Path

    def put(self, key: str, memory: Memory) -> str:
        """The digest of what was written."""
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in memory.items()}
        write_atomic(self._path(key), save(kept))
        return tensors_digest(kept)

    def get(self, key: str, digest: str) -> Memory:
        """Raises CorruptError where the file is missing, or not what was written."""
        path = self._path(key)
        try:
            memory = load(path.read_bytes())
        except (OSError, SafetensorError) as error:
            raise CorruptError(f"{path} cannot be read ({error}); delete the run's folder and start again") from error
        if tensors_digest(memory) != digest:
            raise CorruptError(f"{path} is not what was written; delete the run's folder and start again")
        return memory

    def _path(self, key: str) -> Path:
        return self.folder / f"memory-{key.replace('/', '-')}.safetensors"
