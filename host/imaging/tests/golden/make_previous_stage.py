"""Writes previous_stage.json: what batchgeneratorsv2 makes of the segmentation of a cascade's previous stage, with what it drew.

Run with the peer's Python (nnU-Net 2.8.1, batchgeneratorsv2 0.3.6), which gives the same file every time:

    OMP_NUM_THREADS=1 python make_previous_stage.py [SAMPLES OUTPUT SIZE]

Of small patches, or SIZE times as large ones. Every operator is applied with radii that make balls and disks of even and of odd sizes,
components are removed with several limits, and SAMPLES times everything is drawn as nnU-Net does. Labels are written as run lengths,
such as "5b2cd": 5 voxels of 0, 2 of 1, one of 2; "a" is -1.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from acvl_utils.morphology.morphology_helper import label_with_component_sizes
from batchgeneratorsv2.transforms.nnunet import random_binary_operator as operators
from batchgeneratorsv2.transforms.nnunet.random_binary_operator import ApplyRandomBinaryOperatorTransform
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import RemoveRandomConnectedComponentFromOneHotEncodingTransform
from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform

OPERATORS = {
    operators.binary_dilation_torch: "grow",
    operators.binary_erosion_torch: "shrink",
    operators.binary_closing_torch: "close",
    operators.binary_opening_torch: "open",
}
# Of balls of 3, 3, 4, 4, 5, 6, 7 and 8 points a side, and disks of 3, 4, 4, 5, 5, 7, 8 and 8. Rounding takes some tips off the ball of 3.1.
RADII = [1, 1.3, 1.5, 1.9, 2, 2.6, 3.1, 3.5]
LARGE = [4.45, 5.75, 7.3, 7.99, 8]
OUTSIDE, IGNORED = -1, 4
LABELS = [1, 2, 3, 5]


def encode(values):
    """`values` from -1 on, as the letters from a on."""
    values = np.asarray(values).ravel()
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    lengths = np.diff(np.r_[starts, values.size])
    return "".join(f"{n if n > 1 else ''}{chr(ord('b') + int(values[s]))}" for s, n in zip(starts, lengths))


def structures(shape, seed):
    """Smooth structures that touch each other and the border, with holes and specks."""
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    smooth = sum(np.sin(axis / generator.uniform(1.5, 5) + generator.uniform(0, 6)) for axis in axes)
    labels = np.digitize(smooth, [0.4, 0.9, 1.3])
    labels[smooth < -1.4] = 5
    labels[smooth < -1.9] = IGNORED
    specks = generator.random(shape)
    labels[specks > 0.995] = 2
    labels[specks < 0.004] = 0
    labels[..., :2] = OUTSIDE
    return labels.astype(np.int16)


def point(shape):
    labels = np.zeros(shape, np.int16)
    labels[tuple(n // 2 for n in shape)] = 1
    return labels


def blocks(shape):
    """Two components of one label: two voxels that touch in a corner, and behind them a tenth of the patch."""
    labels = np.zeros(shape, np.int16)
    slices = labels.reshape(-1, *shape[-2:])
    slices[0, 0, 0] = slices[min(1, len(slices) - 1), 1, 1] = 2
    z, y, x = np.nonzero(np.ones_like(slices[:, 3:]))
    slices[:, 3:][tuple(axis[: labels.size // 10] for axis in (z, y, x))] = 2
    return labels


def one_hot(labels):
    """Channels as the peer's first transform makes them; a 2D patch has no first axis."""
    segmentation = torch.from_numpy(np.stack([labels, labels]))
    data = {"image": torch.zeros((1, *labels.shape)), "segmentation": segmentation}
    return MoveSegAsOneHotToDataTransform(source_channel_idx=1, all_labels=LABELS)(**data)["image"][1:]


def joined(channels):
    """One label per voxel: channels stay disjoint."""
    assert float(channels.sum(0).max()) <= 1
    return sum(channels[i].numpy().astype(int) * label for i, label in enumerate(LABELS))


def channel(index):
    return index % len(LABELS)


def morphology(channels, p_per_label, **parameters):
    transform = ApplyRandomBinaryOperatorTransform(list(range(-len(LABELS), 0)), p_per_label=p_per_label, **parameters)
    drawn = transform.get_parameters(image=channels)
    after = transform._apply_to_image(channels.clone(), **drawn)
    chosen = zip(drawn["apply_to_channels"], drawn["operators"], drawn["strel_size"])
    return after, [{"morphology": {"channel": channel(a), "operator": OPERATORS[o], "radius": float(r)}} for a, o, r in chosen]


def removal(channels, p_per_label, below):
    transform = RemoveRandomConnectedComponentFromOneHotEncodingTransform(list(range(-len(LABELS), 0)), 0, below, p_per_label)
    drawn = transform.get_parameters(image=channels)
    after = transform._apply_to_image(channels.clone(), **drawn)
    return after, [{"removal": {"channel": channel(a), "pick": pick(channels[a], after[a], below), "below": below}} for a in drawn["apply_to_channels"]]


def pick(before, after, below):
    """The middle of what selects the component that was removed."""
    numbers, sizes = label_with_component_sizes(before.numpy() > 0)
    small = [number for number, size in sizes.items() if size < before.numel() * below]
    gone = np.unique(numbers[(before != after).numpy()]).tolist()
    assert len(gone) == (len(small) > 0)
    return (small.index(gone[0]) + 0.5) / len(small) if small else 0.5


def records():
    for source in ("point", "slice point"):
        for radius in RADII + LARGE:
            yield source, *morphology(SOURCES[source], 1, any_of_these=(operators.binary_dilation_torch,), strel_size=(radius, radius))
    for source in ("volume", "slice"):
        for operator in OPERATORS:
            # Half of them in 3D, the others in 2D, or the file would be too large.
            for radius in RADII[len(SHAPES[source]) - 2 :: 2] if SIZE == 1 else RADII + LARGE:
                yield source, *morphology(SOURCES[source], 0.6, any_of_these=(operator,), strel_size=(radius, radius))
    for source in ("volume", "slice", "blocks", "slice blocks"):
        # 0.1 is the share of a component, which is therefore not small enough.
        for below in (0.15, 0.1, 0.1001, 1e-9):
            yield source, *removal(SOURCES[source], 1, below)
    for _ in range(SAMPLES):
        for source in ("volume", "slice", "blocks", "slice blocks"):
            after, first = morphology(SOURCES[source], 0.5, strel_size=(1, 8))
            after, second = removal(after, 0.5, 0.15)
            yield source, after, first + second


SAMPLES = int(sys.argv[1]) if len(sys.argv) > 1 else 3
OUTPUT = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("previous_stage.json")
SIZE = int(sys.argv[3]) if len(sys.argv) > 3 else 1
torch.manual_seed(0)
np.random.seed(0)
torch.set_num_threads(1)
# Rows of more than 64 voxels, and of fewer; a ball of radius 8 has 17 a side.
SHAPES = {"volume": (5, 8, 70), "slice": (21, 70), "point": (18, 19, 18), "slice point": (19, 18), "blocks": (4, 10, 10), "slice blocks": (20, 64)}
SHAPES = {name: tuple(n * SIZE for n in shape) for name, shape in SHAPES.items()}
made = {name: structures(shape, 1) if name in ("volume", "slice") else (point if "point" in name else blocks)(shape) for name, shape in SHAPES.items()}
SOURCES = {name: one_hot(labels) for name, labels in made.items()}
sources = {name: {"shape": [1] * (3 - labels.ndim) + list(labels.shape), "segmentation": encode(labels), "one_hot": encode(joined(SOURCES[name]))}
           for name, labels in made.items()}
lines = [json.dumps({"source": source, "operations": operations, "after": encode(joined(after))}, separators=(",", ":"))
         for source, after, operations in records() if operations]
OUTPUT.write_text(f'{{"labels":{LABELS},"sources":{json.dumps(sources, separators=(",", ":"))},\n"records":[\n' + ",\n".join(lines) + "\n]}\n")
