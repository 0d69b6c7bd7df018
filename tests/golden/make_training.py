"""Golden numbers of short trainings: writes a file NAME.safetensors beside this file for every name in NETWORKS.

The steps are those of nnU-Net's trainer on the CPU; the learning rate stays what it is at first.

A rounding that turns the sign of an activation makes the gradient jump, from where trainings part by up to 1e-2. The seeds of NETWORKS are such
that no activation comes that close to 0. Most others are not, and hardly any are for a PlainConvUNet with more convolutions.
"""
import copy
import json
from collections.abc import Iterator

import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss, SoftDiceLoss
from safetensors.torch import save_file

from make_loss import deep_supervision_weights
from make_network import BATCH, FOLDER, architecture, build, unique_state
from make_schedule import make_trainer

STEPS, BATCHES = 20, 4
NUDGES, NUDGE = 8, 1e-6  # how often the exact training is repeated, and how far from the same parameters; float32 rounds to within 1e-7
CLIP = 12  # as in nnUNetTrainer.train_step
BLOCK = 4  # edge length of the blocks of one label

# Four stages give three levels, of which two count.
NETWORKS = {
    "training_2d": {
        "seed": 30,
        "input_channels": 2,
        "num_classes": 4,
        "patch_size": [32, 32],
        "features_per_stage": [4, 8, 8, 8],
        "kernel_sizes": [[3, 3]] * 4,
        "strides": [[1, 1], [2, 2], [2, 1], [1, 2]],
        "n_conv_per_stage": [2, 1, 2, 1],
        "n_conv_per_stage_decoder": [1, 1, 1],
    },
    "training_3d": {
        "seed": 3,
        "input_channels": 1,
        "num_classes": 3,
        "patch_size": [8, 16, 16],
        "features_per_stage": [4, 8, 8, 8],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 1, 2]],
        "n_conv_per_stage": [2, 1, 2, 1],
        "n_conv_per_stage_decoder": [1, 1, 1],
    },
    "training_residual_2d": {
        "seed": 0,
        "input_channels": 2,
        "num_classes": 4,
        "patch_size": [32, 32],
        "features_per_stage": [4, 8, 8, 12],
        "kernel_sizes": [[3, 3]] * 4,
        "strides": [[1, 1], [2, 2], [2, 1], [1, 2]],
        "n_blocks_per_stage": [1, 2, 3, 1],
        "n_conv_per_stage_decoder": [1, 1, 1],
    },
    "training_residual_3d": {
        "seed": 2,
        "input_channels": 1,
        "num_classes": 3,
        "patch_size": [8, 16, 16],
        "features_per_stage": [4, 8, 8, 12],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 1, 2]],
        "n_blocks_per_stage": [1, 2, 2, 1],
        "n_conv_per_stage_decoder": [1, 1, 1],
    },
}


def make_batch(network: dict) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """An image in which every label has a brightness of its own under noise, and its labels at each level."""
    labels = torch.randint(0, network["num_classes"], (BATCH, 1, *(size // BLOCK for size in network["patch_size"])))
    for axis in range(2, labels.ndim):
        labels = labels.repeat_interleave(BLOCK, axis)
    # A lower contrast in every further channel.
    contrast = 1 / torch.arange(1, network["input_channels"] + 1).reshape(-1, *[1] * len(network["patch_size"]))
    image = (labels - 1) * contrast + 0.5 * torch.randn(BATCH, network["input_channels"], *network["patch_size"])
    levels, scale = [], [1] * len(network["patch_size"])
    for stride in network["strides"][:-1]:
        scale = [a * b for a, b in zip(scale, stride)]
        levels.append(labels[(..., *(slice(None, None, step) for step in scale))])
    return image, levels


def train(model: torch.nn.Module, batches: list, dice: type) -> tuple[list[float], dict]:
    """The loss of each step, and the optimiser's settings."""
    trainer = make_trainer(model)
    trainer.optimizer, _ = trainer.configure_optimizers()
    loss = DC_and_CE_loss({"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}, {}, weight_ce=1, weight_dice=1, dice_class=dice)
    trainer.loss = DeepSupervisionWrapper(loss, deep_supervision_weights(len(batches[0][1])))
    steps = [batches[step % len(batches)] for step in range(STEPS)]
    losses = [float(trainer.train_step({"data": image, "target": target})["loss"]) for image, target in steps]
    return losses, trainer.optimizer.param_groups[0]


def exact_losses(model: torch.nn.Module, batches: list) -> Iterator[list[float]]:
    """The losses in float64: of this model, then of ones that differ from it by more than rounding."""
    batches = [(image.double(), levels) for image, levels in batches]
    for nudge in [0] + [NUDGE] * NUDGES:
        nudged = copy.deepcopy(model).double()
        with torch.no_grad():
            for parameter in nudged.parameters():
                parameter.mul_(1 + nudge * torch.randn_like(parameter))
        # The memory-efficient Dice sums in float32 whatever it is given.
        yield train(nudged, batches, SoftDiceLoss)[0]


def make(name: str) -> None:
    network = NETWORKS[name]
    torch.manual_seed(network["seed"])
    model = build(network)
    batches = [make_batch(network) for _ in range(BATCHES)]
    tensors = {n: t.clone() for n, t in unique_state(model).items()}
    for batch, (image, levels) in enumerate(batches):
        tensors[f"image.{batch}"] = image
        tensors.update({f"target.{batch}.{level}": labels.to(torch.int16).contiguous() for level, labels in enumerate(levels)})

    exact = list(exact_losses(model, batches))
    losses, settings = train(model, batches, MemoryEfficientSoftDiceLoss)
    off = [max(abs(a - b) for a, b in zip(losses, each)) for each in exact]
    assert max(off) < 3e-5, f"a tolerance of 1e-4 would be within rounding: {off}"
    assert sum(losses[-BATCHES:]) < sum(losses[:BATCHES]) - BATCHES * 0.3, "hardly anything was learnt"

    tensors["loss"] = torch.tensor(losses, dtype=torch.float64)
    metadata = {
        "input_channels": network["input_channels"],
        "num_classes": network["num_classes"],
        "patch_size": network["patch_size"],
        "architecture": architecture(network),
        "parameters": [n for n, _ in model.named_parameters()],
        "learning_rate": settings["lr"],
        "momentum": settings["momentum"],
        "nesterov": settings["nesterov"],
        "weight_decay": settings["weight_decay"],
        "clip": CLIP,
        "batch_dice": True,
        "weights": deep_supervision_weights(len(batches[0][1])).tolist(),
        "cycle": [step % BATCHES for step in range(STEPS)],
    }
    # One key only: safetensors writes several in random order.
    save_file(tensors, FOLDER / f"{name}.safetensors", metadata={"training": json.dumps(metadata)})


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in NETWORKS:
        make(name)
