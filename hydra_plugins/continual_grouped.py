"""``hydra/launcher=grouped``: the jobs of a multirun in one process, learned together (``continual/grouped.py``).

Hydra looks for plugins in this namespace package only, which therefore has no ``__init__.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn

NODE = {"_target_": "hydra_plugins.continual_grouped.GroupedLauncher"}
ConfigStore.instance().store(group="hydra/launcher", name="grouped", node=NODE, provider="continual")


class GroupedLauncher(BasicLauncher):
    """Learns what all jobs ask for, then goes through them one after another, as the basic launcher does.

    By then each has its record, which is all that is left for it to read and to show.
    """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from continual.grouped import prepare

        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        prepare([loader.load_sweep_config(self.config, list(overrides)) for overrides in job_overrides])
        return super().launch(job_overrides, initial_job_idx)
