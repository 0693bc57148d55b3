"""DeepMuCS-Segmentation (paper, section III): the network, its training and its predictions."""

import logging
import os
import warnings

from deepmucs_utils.errors import missing

# Threads that spin while they wait make a step several times as long when others use the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# What detectron2, which is older than this torch, and sparse matrices set off; none of it matters.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)
warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)

try:
    import torch

    from deepmucs_utils.segmentation import resnest, seeded_heads  # noqa: F401  (registered)
    from deepmucs_utils.segmentation.config import add_deepmucs_config, get_config
except ModuleNotFoundError as error:  # torch or detectron2: what the core does not need
    raise missing(error.name) from error

# On a GPU what stays in float32, such as the deformable convolutions, multiplies in TF32: factors
# of 11 significant bits, sums in float32. Boxes are decoded, compared and sampled without matrix
# products, so they keep all bits. The CPU knows no such setting.
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True

__all__ = ["add_deepmucs_config", "get_config"]
