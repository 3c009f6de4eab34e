"""Make the missing records of this benchmark: real runs of quickstart on MiniLM-L6, eight seeds each.

    python benchmarks/quickstart/run.py              on the CPU: about six hours on 2 cores
    python benchmarks/quickstart/run.py --gpu        minutes on a GPU, in float32

A record that is there is kept; delete it to make it again. A job that was killed goes on where it stood.
``report.py`` turns the records into RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from hydra import compose, initialize_config_module

from continual.build import build
from continual.drive import run_stream
from continual.report.record import save

HERE = Path(__file__).resolve().parent
SEEDS = range(8)
ALONE = ["composition=[]", "evaluate.unseen=none"]
JOBS = {
    "isolated": ["evaluate.reuse=false"],
    "isolated-lora": ["method=lora", *ALONE],
    "isolated-full": ["method=full", *ALONE],
    "isolated-head": ["method=head", *ALONE],
    "sequential": ["strategy=sequential", "evaluate.reuse=false", "composition=[]"],
    "sequential-full": ["strategy=sequential", "method=full", "evaluate.reuse=false", "composition=[]"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", choices=[[], *JOBS], help="default: all")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--records", type=Path, default=HERE / "records")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="runs and stores; may be deleted afterwards")
    options = parser.parse_args()
    records = options.records.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    os.chdir(options.work)  # paths in a record are relative: they say nothing of the machine
    machine = ["trainer=gpu", "trainer.precision=32-true"] if options.gpu else []
    for seed in options.seeds:
        for name in options.jobs or JOBS:
            target = records / f"{name}-s{seed}.json"
            if not target.exists():
                make(name, seed, machine, target)


def make(name: str, seed: int, machine: list[str], target: Path) -> None:
    print(f"== {name}, seed {seed}", flush=True)
    # A store of its own, since full fine-tuning stores the encoder once per task.
    overrides = [*JOBS[name], *machine, f"seed={seed}", f"paths.runs={name}/runs", f"paths.store={name}/store-{seed}"]
    with initialize_config_module("continual.conf", version_base="1.3"):
        config = compose("run", overrides)
    record = run_stream(build(config))
    if record.status != "finished" or not (record.encoder_unchanged and record.modules_unchanged):
        raise SystemExit(f"{name}, seed {seed}: {record.status}; the record was not taken")
    save(record, target)
    shutil.rmtree(f"{name}/store-{seed}")


if __name__ == "__main__":
    main()
