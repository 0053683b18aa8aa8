"""Gives Unsloth on torch before 2.12 the attention that it takes from later ones, such as the image's.

Unsloth's packed attention wants the argument enable_gqa of varlen_attn, which 2.12 brought; the kernel beneath takes
grouped keys and values before it. For benchmarks on machines whose torch cannot be chosen; the product never loads it.
"""

import sys

if any("training_rivals" in one or "modelgarden_train.attempt.worker" in one for one in sys.orig_argv):
    import torch

    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 12) and "trl" not in sys.orig_argv:
        import unsloth  # noqa: F401
        import unsloth.utils.attention_dispatch as dispatch
        from torch.nn.attention.varlen import varlen_attn

        dispatch._TORCH_VARLEN_ATTN, dispatch._LEAN_VARLEN = varlen_attn, True
        dispatch._varlen_can_use_cudnn = lambda *args, **options: False
