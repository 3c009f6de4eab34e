"""The rows of the tables: methods with the settings their files name, and the same thing in `peft` or `adapters`."""

from __future__ import annotations

from dataclasses import dataclass

from continual.method.base import Described
from continual.method.bitfit import BitFit
from continual.method.bottleneck import Bottleneck
from continual.method.bundle import Bundle
from continual.method.compacter import Compacter
from continual.method.full import Full
from continual.method.hat import HAT
from continual.method.head import HeadOnly
from continual.method.ia3 import IA3
from continual.method.lora import LoRA
from continual.method.parallel import Parallel
from continual.method.prefix import Prefix
from continual.method.prefix_mlp import PrefixMLP
from continual.method.prompt import Prompt
from continual.method.sparse import Sparse
from continual.method.unipelt import GatedBundle

LINEARS = ("query", "key", "value", "attn_out", "ffn_in", "ffn_out")
MAM = {"prefix": {"length": 30}, "parallel": {"reduction_factor": 2.0, "scale": 4.0}}
UNION = "prefix_tuning_flat[prefix_length=10]|seq_bn[reduction_factor=16,non_linearity='relu']|lora[r=8,alpha=16]"
GATED = "prefix_tuning_flat[prefix_length=10,use_gating=True]|seq_bn[reduction_factor=16,non_linearity='relu'"
GATED += ",use_gating=True]|lora[r=8,alpha=8,use_gating=True]"


@dataclass(frozen=True)
class Row:
    """peft      its configuration's class and arguments, where it has the method
    adapters  its configuration string, where it has the method
    quantize  how the frozen encoder is kept on a CPU and on a GPU; None: in float32
    """

    method: Described
    peft: tuple[str, dict[str, object]] | None = None
    adapters: str | None = None
    quantize: tuple[str, str] | None = None


ROWS = {
    "head": Row(HeadOnly()),
    "bottleneck": Row(Bottleneck(), adapters="seq_bn[reduction_factor=16,non_linearity='relu']"),
    "houlsby": Row(
        Bottleneck(targets=("attn_out", "ffn_out")), adapters="double_seq_bn[reduction_factor=16,non_linearity='relu']"
    ),
    "parallel": Row(Parallel(), adapters="par_bn[reduction_factor=2]"),
    "hat": Row(HAT()),
    "compacter": Row(Compacter(), adapters="compacter[reduction_factor=32]"),
    "lora": Row(
        LoRA(),
        ("LoraConfig", {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": ["query", "value"]}),
        "lora[r=8,alpha=16]",
    ),
    "ia3": Row(
        IA3(),
        (
            "IA3Config",
            {
                "target_modules": r".*(key|value|layer\.\d+\.output\.dense)",
                "feedforward_modules": r".*layer\.\d+\.output\.dense",
            },
        ),
        "ia3",
    ),
    "bitfit": Row(BitFit()),
    "prefix": Row(Prefix(), adapters="prefix_tuning_flat[prefix_length=10]"),
    "prefix_mlp": Row(PrefixMLP(), adapters="prefix_tuning[prefix_length=10,bottleneck_size=512]"),
    "prompt": Row(Prompt(), ("PromptTuningConfig", {"num_virtual_tokens": 10}), "prompt_tuning[prompt_length=10]"),
    "sparse": Row(Sparse()),
    "bundle": Row(Bundle(), adapters=UNION),
    "unipelt": Row(GatedBundle(), adapters=GATED),
    "mam": Row(Bundle(MAM), adapters="prefix_tuning_flat[prefix_length=30]|par_bn[reduction_factor=2]"),
    "qlora": Row(LoRA(targets=LINEARS), quantize=("int8", "nf4")),
    "full": Row(Full()),
}
