"""nnU-Net's side of `augment`: prints `sample SECONDS` for every sample of its default training augmentation, made in one worker.

usage: peer_augment.py Z,Y,X CHANNELS LABELS SAMPLES SEED

A patch with Z = 1 takes the 2D pipeline. The time of a sample starts where the loader has cut a box out of a case and ends where it has
written image and labels into the tensors of a batch. First prints `imported MB`: the peak resident memory of Python and its libraries.
"""
import os
import resource
import sys
import time

for folder in ("raw", "preprocessed", "results"):
    os.environ.setdefault(f"nnUNet_{folder}", "/tmp")  # or it warns
import numpy as np
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform, _compute_kernel_size
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

BATCH = 2
WARM_UP = 8


def case(shape: list[int], channels: int, labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, with labels in blocks of eight voxels a side."""
    blocks = torch.randint(0, labels, (1, *(-(-size // 8) for size in shape)), dtype=torch.int16)
    for axis, size in enumerate(shape, 1):
        blocks = blocks.repeat_interleave(8, axis).narrow(axis, 0, size)
    return torch.randn(channels, *shape), blocks.contiguous()


def settle_blur(transform, patch: list[int]) -> None:
    """The blur times its two ways once for every length of an axis and of its kernel, in the middle of a sample: gets that over with."""
    blur = next(part.transform for part in transform.transforms if isinstance(getattr(part, "transform", None), GaussianBlurTransform))
    sigmas = {_compute_kernel_size(sigma): sigma for sigma in np.linspace(*blur.blur_sigma, 51)}
    image = torch.randn(1, *patch)
    for sigma in sigmas.values():
        for axis in range(len(patch)):
            for _ in range(3):
                blur._benchmark_wrapper(image, sigma, axis)


def main(shape: str, channels: int, labels: int, samples: int, seed: int) -> None:
    print(f"imported {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.1f}", flush=True)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)
    patch = [int(size) for size in shape.split(",")]
    if patch[0] == 1:
        del patch[0]
    # What the trainer sets for patches that are about as long on all axes.
    turn = (180 if len(patch) == 2 else 30) / 360 * 2 * np.pi
    rotation = (-turn, turn)
    transform = nnUNetTrainer.get_training_transforms(
        patch, rotation, [[scale] * len(patch) for scale in (1, 0.5, 0.25)], tuple(range(len(patch))), False,
        use_mask_for_norm=[False] * channels, foreground_labels=list(range(1, labels)))
    initial = [int(size) for size in get_patch_size(patch, rotation, rotation, rotation, (0.85, 1.25))]
    image, segmentation = case(initial, channels, labels)
    with torch.no_grad():
        settle_blur(transform, patch)
        made = transform(image=image.clone(), segmentation=segmentation.clone())
        batch = [torch.empty((BATCH, *part.shape), dtype=part.dtype) for part in (made["image"], *made["segmentation"])]
        del made
        for sample in range(WARM_UP + samples):
            cut = {"image": image.clone(), "segmentation": segmentation.clone()}
            start = time.perf_counter()
            made = transform(**cut)
            for tensor, part in zip(batch, (made["image"], *made["segmentation"]), strict=True):
                tensor[sample % BATCH] = part
            seconds = time.perf_counter() - start
            if sample >= WARM_UP:
                print(f"sample {seconds:.6f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit("usage: peer_augment.py Z,Y,X CHANNELS LABELS SAMPLES SEED")
    main(sys.argv[1], *map(int, sys.argv[2:]))
