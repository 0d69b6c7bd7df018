"""Golden numbers of the two-headed trainer of two_heads.py: writes two_heads.safetensors beside this file.

The loss is the one that `nnUNetTrainerTwoHeads._build_loss` puts together; of the trainer there is no more than what that method asks for.
"""
import json
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import save_file
from two_heads import nnUNetTrainerTwoHeads

FOLDER = Path(__file__).parent
BATCH = 2
CLASSES = 3
# The trunk's strides, of which the first is that of the finest stage and the last leads to the bottleneck, and the sizes of its decoder's maps.
STRIDES = {"2d": [(1, 1), (2, 2), (2, 2), (2, 2), (2, 2)], "3d": [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)]}
LEVELS = {"2d": [(16, 24), (8, 12), (4, 6), (2, 3)], "3d": [(4, 8, 12), (4, 4, 6), (2, 2, 3)]}


def trainer(dims: str, batch_dice: bool) -> nnUNetTrainerTwoHeads:
    made = object.__new__(nnUNetTrainerTwoHeads)
    made.label_manager = SimpleNamespace(has_regions=False, ignore_label=None)
    made.configuration_manager = SimpleNamespace(batch_dice=batch_dice, pool_op_kernel_sizes=STRIDES[dims])
    made.device, made.is_ddp, made.enable_deep_supervision = torch.device("cpu"), False, True
    return made


def make(name: str, dims: str, batch_dice: bool) -> tuple[dict, dict]:
    """One case: its tensors by key, and its description."""
    shapes = LEVELS[dims]
    output = {head: [(2 * torch.randn(BATCH, CLASSES, *shape)).requires_grad_() for shape in shapes] for head in ("parts", "sharp")}
    target = [torch.randint(0, CLASSES, (BATCH, 1, *shape)) for shape in shapes]
    loss = trainer(dims, batch_dice)._build_loss()
    value, terms = loss(output, target)
    value.backward()

    tensors = {f"{name}.loss": value.detach(), **{f"{name}.{term}": of.detach() for term, of in terms.items()}}
    tensors.update({f"{name}.target.{level}": labels for level, labels in enumerate(target)})
    weights = loss.loss1.weight_factors
    for head, levels in output.items():
        tensors.update({f"{name}.{head}.logits.{level}": logits.detach() for level, logits in enumerate(levels)})
        assert all((logits.grad is None) == (weight == 0) for logits, weight in zip(levels, weights))
        tensors.update({f"{name}.{head}.grad.{level}": logits.grad for level, logits in enumerate(levels) if logits.grad is not None})
    description = {"patch_size": shapes[0], "strides": STRIDES[dims], "batch_dice": batch_dice, "weights": list(weights),
                   "w1": loss.w1, "w2": loss.w2}
    return tensors, description


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tensors, cases = {}, {}
    for dims in STRIDES:
        for batch_dice in (True, False):
            name = f"{dims}.{'batch_dice' if batch_dice else 'sample_dice'}"
            new, cases[name] = make(name, dims, batch_dice)
            tensors.update(new)
    # One key only: safetensors writes several in random order.
    save_file(tensors, FOLDER / "two_heads.safetensors", metadata={"cases": json.dumps(cases)})


if __name__ == "__main__":
    main()
