"""Golden numbers of nnU-Net's losses under deep supervision: writes loss.safetensors beside this file.

The losses are put together as `nnUNetTrainer._build_loss` does. A case is one loss on one set of logits and targets.
"""
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from safetensors.torch import save_file

FOLDER = Path(__file__).parent
BATCH = 2
CLASSES = 3
IGNORE_LABEL = CLASSES  # nnU-Net: the highest label
REGIONS = [(1, 2), (2,), (1,)]  # label values of each region; they overlap
LEVELS = {"2d": [(16, 24), (8, 12), (4, 6), (2, 3)], "3d": [(8, 10, 12), (4, 5, 6), (2, 2, 3)]}


def deep_supervision_weights(levels: int) -> np.ndarray:
    """As nnU-Net: halved from level to level, the coarsest 0, normalised to a sum of 1."""
    weights = np.array([1 / 2**i for i in range(levels)])
    weights[-1] = 0
    return weights / weights.sum()


def build_loss(kind: str, batch_dice: bool, ignore: bool):
    if kind == "regions":
        return DC_and_BCE_loss({}, {"batch_dice": batch_dice, "do_bg": True, "smooth": 1e-5, "ddp": False},
                               use_ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss)
    return DC_and_CE_loss({"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False}, {}, weight_ce=1, weight_dice=1,
                          ignore_label=IGNORE_LABEL if ignore else None, dice_class=MemoryEfficientSoftDiceLoss)


def label_map(shape: tuple, ignore: bool) -> torch.Tensor:
    """Random labels (B, 1, …). The last class is absent from the last sample, as it often is in a patch."""
    labels = torch.randint(0, CLASSES, (BATCH, 1, *shape))
    labels[-1][labels[-1] == CLASSES - 1] = 0
    if ignore:
        labels[torch.rand(labels.shape) < 0.4] = IGNORE_LABEL
    return labels


def to_regions(labels: torch.Tensor, ignore: bool) -> torch.Tensor:
    """Bool channels (B, R, …), with ignore one more at the end, as nnU-Net's ConvertSegmentationToRegionsTransform."""
    groups = REGIONS + [(IGNORE_LABEL,)] if ignore else REGIONS
    return torch.cat([torch.isin(labels, torch.tensor(group)) for group in groups], dim=1)


def make(name: str, dims: str, kind: str, batch_dice: bool, ignore: bool, unannotated_level: int | None = None) -> tuple[dict, dict]:
    """One case: its tensors by key, and its description."""
    shapes = LEVELS[dims]
    logits = [(2 * torch.randn(BATCH, CLASSES, *shape)).requires_grad_() for shape in shapes]
    labels = [label_map(shape, ignore) for shape in shapes]
    if unannotated_level is not None:
        labels[unannotated_level].fill_(IGNORE_LABEL)
    targets = [to_regions(level, ignore) for level in labels] if kind == "regions" else labels
    weights = deep_supervision_weights(len(shapes))

    value = DeepSupervisionWrapper(build_loss(kind, batch_dice, ignore), weights)(logits, targets)
    value.backward()

    # A loss whose other weight is 0 is one of the two parts alone.
    dice, ce = build_loss(kind, batch_dice, ignore), build_loss(kind, batch_dice, ignore)
    dice.weight_ce, ce.weight_dice = 0, 0
    with torch.no_grad():
        parts = {part: torch.stack([torch.as_tensor(loss(x, t), dtype=torch.float32) for x, t in zip(logits, targets)])
                 for part, loss in (("dice", dice), ("ce", ce))}

    tensors = {f"{name}.loss": value.detach(), **{f"{name}.{part}": values for part, values in parts.items()}}
    for level, (x, target) in enumerate(zip(logits, targets)):
        tensors[f"{name}.logits.{level}"] = x.detach()
        tensors[f"{name}.target.{level}"] = target
        assert (x.grad is None) == (weights[level] == 0)
        if x.grad is not None:
            tensors[f"{name}.grad.{level}"] = x.grad
    description = {"kind": kind, "batch_dice": batch_dice, "ignore_label": IGNORE_LABEL if ignore and kind == "labels" else None,
                   "ignore_channel": ignore and kind == "regions", "weights": weights.tolist()}
    return tensors, description


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tensors, cases = {}, {}
    options = itertools.product(LEVELS, ("labels", "regions"), (False, True), (True, False))
    for dims, kind, ignore, batch_dice in options:
        dice = "batch_dice" if batch_dice else "sample_dice"
        name = ".".join([dims] + ["regions"] * (kind == "regions") + ["ignore"] * ignore + [dice])
        new, cases[name] = make(name, dims, kind, batch_dice, ignore)
        tensors.update(new)
    # A level with no annotated voxel at all must not turn the loss into NaN.
    for kind in ("labels", "regions"):
        name = ".".join(["2d"] + ["regions"] * (kind == "regions") + ["unannotated", "sample_dice"])
        new, cases[name] = make(name, "2d", kind, batch_dice=False, ignore=True, unannotated_level=1)
        tensors.update(new)
    # One key only: safetensors writes several in random order.
    save_file(tensors, FOLDER / "loss.safetensors", metadata={"cases": json.dumps(cases)})


if __name__ == "__main__":
    main()
