"""nnU-Net's side of `step`: prints `step SECONDS` for every training step of its Hippocampus network on the CPU.

usage: peer_step.py fp32|bf16 BATCH STEPS

A step is what `nnUNetTrainer.train_step` does: forward, loss, backward, clipping, SGD, the loss read back. The trainer itself has no bf16 on
the CPU; `bf16` puts the forward pass under torch's autocast.
"""
import sys
import time

import numpy as np
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

PATCH = (40, 56, 40)
CLASSES = 3
STAGES = 4


def main(precision: str, batch: int, steps: int) -> None:
    torch.manual_seed(0)
    network = get_network_from_plans(
        "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        {
            "n_stages": STAGES,
            "features_per_stage": [32, 64, 128, 256],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * STAGES,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (STAGES - 1),
            "n_conv_per_stage": [2] * STAGES,
            "n_conv_per_stage_decoder": [2] * (STAGES - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        ["conv_op", "norm_op", "dropout_op", "nonlin"], input_channels=1, output_channels=CLASSES, deep_supervision=True)
    weights = np.array([1, 0.5, 0]) / 1.5
    loss = DeepSupervisionWrapper(
        DC_and_CE_loss({"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}, {}, dice_class=MemoryEfficientSoftDiceLoss),
        weights)
    optimiser = torch.optim.SGD(network.parameters(), 1e-2, weight_decay=3e-5, momentum=0.99, nesterov=True)
    image = torch.randn(batch, 1, *PATCH)
    target = [torch.randint(0, CLASSES, (batch, 1, *(n // scale for n in PATCH)), dtype=torch.int16) for scale in (1, 2, 4)]

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            outputs = network(image)
        value = loss([output.float() for output in outputs], target)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimiser.step()
        value.item()

    step()  # warm-up
    for _ in range(steps):
        start = time.perf_counter()
        step()
        print(f"step {time.perf_counter() - start:.4f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("fp32", "bf16"):
        sys.exit("usage: peer_step.py fp32|bf16 BATCH STEPS")
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
