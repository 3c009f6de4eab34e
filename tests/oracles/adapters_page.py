"""The page beside the golden tensors of `adapters`: what is in the files, and one line a case."""

from __future__ import annotations

from tests.oracles.adapters_cases import CASES, OTHERS, REFUSED

HEAD = """<!-- written by tests/oracles/adapters_golden.py -->

# What `adapters` 1.3.0 computes

`base/` is a BERT of 2 layers, 32 wide, 4 heads, random weights, with its inputs: `input_ids` (3 rows of 9), the same
with row 1 cut to 5 tokens (`_padded`), and `probe` [3,14,32]. Every other folder is one that the library writes, with
`expected.safetensors` beside it, in evaluation mode, eager attention and float32:

| key | what |
|---|---|
| `hidden`, `hidden_padded` | the last hidden states, padding's own included |
| `grad/{key}` | the gradient of sum(hidden * probe[:, :T]), without padding, for each tensor of the adapter |
| `gate/{module}` | the gates' means, [rows, 1 or 2], without padding |
| `prefix/{i}/key`, `value` | what the i-th adapted layer gets, [heads, P, d] |
| `flat` | the vector that an MLP prefix comes to: the flat form of it |

Tensors with the same key and shape are the same in all cases. † the library's safetensors fails (two names share a
tensor), so the file holds it once, under the shortest name; the library loads it. Its .bin files hold every name.

Below, z is the output of a sub-layer's dense layer, y the sub-layer's residual, LN the encoder's LayerNorm of that
sub-layer, U f(D x) the bottleneck with its biases, s its `scaling`, N a LayerNorm of the adapter's own. Without an
adapter, out = LN(z + y).
"""


def page(saved_by_library: dict[str, bool]) -> str:
    lines = [HEAD]
    for name, (config, what) in CASES.items():
        mark = "" if saved_by_library[name] else " †"
        lines.append(f"- **{name}**{mark} `{config}`: {what}.")
    lines += ["", "Saved in another way:", "", *(f"- **{name}**: {what}." for name, what in OTHERS.items())]
    lines += ["", "The library itself refuses, when the adapter is added or used:", ""]
    return "\n".join([*lines, *(f"- `{config}`: {error}" for config, error in REFUSED.items())]) + "\n"
