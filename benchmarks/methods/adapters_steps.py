"""The training steps of AdapterHub's library, in an environment of its own (it pins transformers 4.57).

    python adapters_steps.py FOLDER CONFIGURATION ROWS TOKENS THREADS

It says "ready", then answers each line that it reads with the seconds of one step; it ends with its input.
"""

from __future__ import annotations

import sys

import adapters
import torch
from plain import Plain, texts
from transformers import BertModel


def main() -> None:
    folder, configuration, rows, tokens, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = BertModel.from_pretrained(folder, add_pooling_layer=False)
    adapters.init(model)
    model.add_adapter("task", config=configuration)
    model.train_adapter("task")
    batch = texts(model.config.vocab_size, int(rows), int(tokens))
    plain = Plain(model.eval(), model.config.hidden_size, *batch)
    print("ready", adapters.__version__, sum(p.numel() for p in plain.trained), flush=True)
    for _ in sys.stdin:
        print(plain.step(), flush=True)


if __name__ == "__main__":
    main()
