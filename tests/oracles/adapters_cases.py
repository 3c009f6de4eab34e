"""What is recorded of AdapterHub's library, as data: `adapters_golden.py` runs it and writes it into a page."""

from __future__ import annotations

from tests.oracles.adapters_compositions import WHAT

MLP = "prefix_length=5,bottleneck_size=16"  # a prefix as an MLP

# name -> (AdapterHub's configuration string, what it computes)
CASES: dict[str, tuple[str, str]] = {
    "seq_bn": ("seq_bn[reduction_factor=4]", "Pfeiffer: x = LN(z + y); out = LN(s U f(D x) + z + y). LN twice; z raw"),
    "seq_bn_gelu_scaled": (
        "seq_bn[reduction_factor=4,non_linearity='gelu',scaling=2.0]",
        "s = 2 multiplies U f(D x) with U's bias; gelu is the exact one (erf)",
    ),
    "seq_bn_channel": (
        "seq_bn[reduction_factor=4,scaling='channel']",
        "s is a learned vector of the width, key `scaling` [32]",
    ),
    "seq_bn_swish_map": (
        "seq_bn[reduction_factor={'0': 2, 'default': 8},non_linearity='swish']",
        "widths by layer: layer 0 is 16 wide, layer 1 is 4 wide; keys of the map are strings",
    ),
    "seq_bn_leave_out": ("seq_bn[reduction_factor=4,leave_out=[0]]", "layer 0 has no adapter and no tensors"),
    "seq_bn_no_ln_before": (
        "seq_bn[reduction_factor=4,original_ln_before=False]",
        "Houlsby's form on the FFN alone: x = z; out = LN(s U f(D z) + z + y)",
    ),
    "seq_bn_residual_after_ln": (
        "seq_bn[reduction_factor=4,residual_before_ln=False]",
        "the adapter's residual is x itself: out = LN(s U f(D x) + x + y) with x = LN(z + y): y counts twice",
    ),
    "seq_bn_post_add": (
        "seq_bn[reduction_factor=4,residual_before_ln='post_add']",
        "the residual is z + y, and y is added again: out = LN(s U f(D x) + z + 2 y) with x = LN(z + y)",
    ),
    "seq_bn_no_ln_after": (
        "seq_bn[reduction_factor=4,original_ln_after=False,residual_before_ln=False]",
        "AdapterPlus's form: out = s U f(D x) + x with x = LN(z + y); no second LN",
    ),
    "seq_bn_no_ln_after_raw": (
        "seq_bn[reduction_factor=4,original_ln_after=False]",
        "out = s U f(D LN(z + y)) + z: the encoder's residual y is lost outside the bottleneck",
    ),
    "seq_bn_ln_before": (
        "seq_bn[reduction_factor=4,ln_before=True]",
        "a new N on the bottleneck's input only: U f(D N(x)). N is key `adapter_down.0`, so D is `adapter_down.1`; "
        "`adapter_norm_before` is the same tensor under a second name",
    ),
    "seq_bn_ln_after": (
        "seq_bn[reduction_factor=4,ln_after=True]",
        "a new N on the delta, before the adapter's residual: out = LN(N(s U f(D x)) + z + y)",
    ),
    "seq_bn_ln_after_residual": (
        "seq_bn[reduction_factor=4,ln_after=True,adapter_residual_before_ln=True]",
        "a new N over delta and residual: out = LN(N(s U f(D x) + z) + y)",
    ),
    "seq_bn_residual_flag_alone": (
        "seq_bn[reduction_factor=4,adapter_residual_before_ln=True]",
        "without ln_after the flag changes nothing: the function is that of seq_bn",
    ),
    "double_seq_bn": (
        "double_seq_bn[reduction_factor=4]",
        "Houlsby, swish, after attention and FFN: x = z; out = LN(s U f(D z) + z + y)",
    ),
    "double_seq_bn_ln_before": (
        "double_seq_bn[reduction_factor=4,original_ln_before=True]",
        "Pfeiffer's equation at both places",
    ),
    "par_bn": (
        "par_bn[reduction_factor=4]",
        "reads y, the FFN's input: out = LN(s U f(D y) + z + y), s = 4; no residual of its own",
    ),
    "par_bn_both": (
        "par_bn[reduction_factor=4,mh_adapter=True,scaling=1.0]",
        "at attention too: reads y, the attention's input (the layer's input)",
    ),
    "par_bn_ln_before": (
        "par_bn[reduction_factor=4,ln_before=True]",
        "out = LN(s U f(D N(y)) + z + y)",
    ),
    "par_bn_ln_after": (
        "par_bn[reduction_factor=4,ln_after=True]",
        "N acts on the scaled delta, so s almost cancels: out = LN(N(s U f(D y)) + z + y)",
    ),
    "par_bn_original_ln_before": (
        "par_bn[reduction_factor=4,original_ln_before=True,residual_before_ln=False]",
        "parallel adapters ignore both flags: the function is that of par_bn",
    ),
    "scaled_par_bn": (
        "scaled_par_bn[reduction_factor=4]",
        "par_bn with a learned scalar s, key `scaling` [1], 1 at the start",
    ),
    "compacter": (
        "compacter[reduction_factor=4]",
        "double_seq_bn with gelu whose D and U are x H + b, H = sum_k kron(rule[k], W_left[k] W_right[k]) [in, out]; "
        "rule is one tensor for the whole model",
    ),
    "compacter_plus": ("compacter++[reduction_factor=4]", "seq_bn with gelu and the same H"),
    "compacter_plus_factorized_rule": (
        "compacter++[reduction_factor=4,factorized_phm_rule=True]",
        "rule[k] = rule_left[k] rule_right[k] ([4,1] by [1,4])",
    ),
    "compacter_plus_own_full": (
        "compacter++[reduction_factor=4,shared_phm_rule=False,factorized_phm_W=False]",
        "a rule in every D and U, and W[k] in full",
    ),
    "lora": ("lora[r=4,alpha=8]", "query and value: W x + b + (alpha/r) B A x, here 2 B A x"),
    "lora_all": (
        "lora[r=4,alpha=2,attn_matrices=['q','k','v'],intermediate_lora=True,output_lora=True]",
        "and key, FFN in (before its gelu), FFN out (before LN). This library cannot adapt attention.output.dense",
    ),
    "ia3": (
        "ia3",
        "(W x + b) * l on key, value and FFN in, there **before** the gelu (the paper: after). l is `lora_B` [d,1]",
    ),
    "prefix_flat": (
        "prefix_tuning_flat[prefix_length=5]",
        "one vector viewed as [P, 2 L, heads, d]; layer i: keys 2i, values 2i+1; put before those of the tokens",
    ),
    "prefix_mlp": (
        f"prefix_tuning[{MLP}]",
        "that view of W2 tanh(W1 e + b1) + b2, e the rows of `wte` [P,H]; evaluated in prefix/{i}/{key,value} and flat",
    ),
    "prefix_leave_out": (
        "prefix_tuning_flat[prefix_length=5,leave_out=[0]]",
        "L counts the layers that have a prefix: the only pair is layer 1's",
    ),
    "prompt": (
        "prompt_tuning[prompt_length=5]",
        "rows put before the **output** of the embedding block (after its LN, no position): P + T states come out. "
        "With the library's default attention (sdpa) the prompts see the padding, and through them all the rest: that "
        "is `hidden_padded_sdpa`; `hidden_padded` is right. `load_as` forgets to rename these rows: they stay random",
    ),
    "prompt_after_bos": (
        "prompt_tuning[prompt_length=5,combine='prefix_after_bos']",
        "the same after the first token. The mask gets its P ones in front all the same: right for padding at the end",
    ),
    "mam": (
        f"prefix_tuning[{MLP}]|par_bn[reduction_factor=4]",
        "prefix MLP and par_bn side by side; a union",
    ),
    "unipelt": (
        f"prefix_tuning[{MLP},use_gating=True]|seq_bn[reduction_factor=4,use_gating=True]"
        "|lora[r=4,alpha=2,use_gating=True]",
        "g = mean over **all** positions of sigmoid(w x + b), one a row. Bottleneck: x its input, g times the delta, "
        "not the residual. LoRA: x the linear's input, g B A x **without** alpha/r; query and value have a gate each. "
        "Prefix: x the layer's input, g times keys and values. No padded output: the gates see the padding",
    ),
    "unipelt_two_gates": (
        f"prefix_tuning[{MLP},use_gating=True,shared_gating=False]|seq_bn[reduction_factor=4]",
        "a prefix gate with two outputs: 0 for keys, 1 for values; an ungated bottleneck beside it",
    ),
    "par_bn_gated": ("par_bn[reduction_factor=4,use_gating=True]", "g after s: out = LN(g s U f(D y) + z + y)"),
}

# What is saved in another way: name -> what it is
OTHERS: dict[str, str] = {
    "seq_bn_bare_model": "seq_bn saved from a bare `BertModel`: keys begin with `encoder.`, not `bert.encoder.`",
    "fusion_dynamic": "a setup's folder: three Pfeiffer adapters 8, 4 and 16 wide and their fusion. Per token "
    "w = softmax_n(q(x) . k(u_n)), out = LN(sum_n w_n v(u_n) + z + y), u_n = s_n U_n f(D_n x) **without** residual, no "
    "1/sqrt(d); x = LN(z + y). `weights/{i}` are w [rows, tokens, 3]. The gradient of `key.bias` is zero but for "
    "rounding. The keys hold the members' names with commas",
    "fusion_static": "the same without v (no `value.weight`)",
    "head_classification": "seq_bn and a flexible head in one folder: dense, tanh, dense over the first token's state; "
    "`heads.task.{1,4}`. Gradients are of sum(logits * probe[:, 0, :3])",
    "head_tagging": "one dense layer over every token, `heads.task.1`. Gradients are of sum(logits * probe[:, :9, :3])",
    "head_static": "the head of `BertForSequenceClassification` (`classifier`): the pooler (dense, tanh) and one dense "
    "layer. `name` and `config` of head_config.json are null",
    "pickle": "prefix_flat saved as the library does by default: `pytorch_adapter.bin`, to test that it is refused",
}

# What the library itself refuses: configuration string -> the error
REFUSED: dict[str, str] = {
    "seq_bn[reduction_factor=4,original_ln_before=False,residual_before_ln='post_add']": "UnboundLocalError",
    "seq_bn[reduction_factor=4,scaling=2]": "ValueError",  # an integer; 2.0 is taken
    "seq_bn[reduction_factor=4,non_linearity='relu_squared']": "KeyError",
    "compacter[reduction_factor=16]": "AssertionError",  # width 2 is not divisible by phm_dim 4
    "par_bn[reduction_factor=4,phm_layer=True]": "AttributeError",  # mam_adapter's initialisation asks PHM for .weight
    "ia3[r=2]": "ValueError",
}

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
    lines += ["", "Over the members of `fusion_dynamic`, outputs alone, in `compositions/`:", ""]
    lines += [f"- **{name}**: {what}." for name, what in WHAT.items()]
    lines += ["", "The library itself refuses, when the adapter is added or used:", ""]
    return "\n".join([*lines, *(f"- `{config}`: {error}" for config, error in REFUSED.items())]) + "\n"
