"""Golden values and gradients of segmentation losses: writes losses.safetensors and losses.json beside this file.

Needs, besides nnU-Net 2.8.1 and what it brings (torch 2.13.0, numpy 2.4.6, scipy 1.17.1, scikit-image 0.26.0), MONAI 1.6.1 and
segmentation-models-pytorch 0.6.0 (smp), which can stay out of its environment:

    pip install --target /tmp/loss-pkgs --no-deps monai==1.6.1 segmentation-models-pytorch==0.6.0
    PYTHONPATH=/tmp/loss-pkgs python make_losses.py

losses.safetensors has `CASE.logits`, `CASE.target`, in tube cases `CASE.skeleton`, and gradients. losses.json is a list of entries: `case`,
`loss` (its name and the settings that differ from the defaults below), `batch` (true: sums run over the batch; false: over a sample, or the
loss has none), `class_weights` and `spacing` if any, `value`, `reference` (what computed it), `gradient` (key of d value / d logits).
Logits, values and gradients are float64.

p is the softmax over classes (labels) or the sigmoid (regions), g the target as 0 and 1, s = 1e-5. Foreground: all classes but 0, or all
regions. "Mean" is over foreground and, unless `batch`, samples. Sums Σ are over voxels.

    dice              -mean (2 Σpg + s) / (Σp + Σg + s). background: with class 0; squared: Σp² + Σg² below; log_cosh: log cosh (1 + dice)
    ce, bce           torch's; smoothing as torch's label_smoothing
    topk              mean cross-entropy of the k percent worst voxels of the batch (rounded down)
    dice_ce, …        dice + ce, dice + topk of 10 percent, dice + bce
    focal             mean over voxels (regions: and channels) of -(1 - p_t)^gamma log p_t; gamma 2; alpha for g = 1, 1 - alpha for g = 0
    generalised_dice  1 - (2 Σ_c w Σpg + s) / (Σ_c w (Σp + Σg) + s) over all classes, w = 1 / (Σg)², an absent class the largest of the
                      others, all divided by that one; mean over samples
    tversky           mean 1 - T, T = (Σpg + s) / (Σpg + alpha Σp(1-g) + beta Σ(1-p)g + s); alpha 0.3, beta 0.7
    focal_tversky     mean (1 - T)^gamma; gamma 0.75
    jaccard           mean 1 - (2 Σpg + s) / (2 (Σp + Σg - Σpg) + s)
    lovasz            labels: Lovász-softmax, mean over all classes present in the batch or sample, 0 too; regions: Lovász hinge
    boundary          mean over voxels, too, of p φ; φ is the distance to g outside, inside -(distance to the outside - smallest spacing);
                      0 for a class without voxels
    hausdorff         mean over voxels, too, of (p - g)² (d_p^alpha + d_g^alpha); d is the distance to the other side of p > 0.5 or of g,
                      0 where there is none; alpha 2
    cldice            mean 1 - 2 tp ts / (tp + ts), tp = (Σ skel(p) g + 1) / (Σ skel(p) + 1), ts = (Σ skel(g) p + 1) / (Σ skel(g) + 1);
                      3 iterations
    skeleton_recall   -mean (Σpt + s) / (Σt + s); t is the skeleton dilated twice by the cross, with the labels of the target
    mse, l1, huber    torch's; delta 1
    cosine            mean over voxels of 1 - cosine similarity along the channels
    class_ce          torch's

Weights of classes: ce as in torch; in a mean over foreground Σ w_c L_c / Σ w_c, where the background's weight has no effect.
"""
import contextlib
import json
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Callable
from unittest import mock

import monai
import monai.losses
import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from monai.losses.cldice import soft_skel
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss, DC_and_topk_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.loss.robust_ce_loss import RobustCrossEntropyLoss, TopKLoss
from nnunetv2.utilities.helpers import softmax_helper_dim1
from safetensors.torch import save_file
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, generate_binary_structure
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits
from skimage.morphology import dilation, skeletonize

FOLDER = Path(__file__).parent
NNUNET, MONAI, SMP = version("nnunetv2"), monai.__version__, smp.__version__
TORCH = torch.__version__.partition("+")[0]
S = 1e-5
CE_WEIGHTS = [0.5, 1.0, 2.5]
FOREGROUND_WEIGHTS = [3.0, 0.5, 2.0]
SPACINGS = {2: [0.7, 1.3], 3: [2.5, 0.8, 0.7]}


@dataclass
class Case:
    name: str
    kind: str  # labels, regions, regression, class
    logits: torch.Tensor
    target: torch.Tensor
    skeleton: torch.Tensor | None = None

    @property
    def dims(self) -> int:
        return self.logits.ndim - 2

    @property
    def first(self) -> int:
        """The first foreground channel."""
        return int(self.kind == "labels")

    @property
    def one_hot(self) -> torch.Tensor:
        """The target as 0 and 1, float64, of the logits' shape."""
        return self.target.double() if self.kind == "regions" else one_hot(self.target, self.logits.shape[1])

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(logits) if self.kind == "regions" else torch.softmax(logits, 1)

    def foreground(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """p and g of the foreground."""
        return self.probabilities(logits)[:, self.first:], self.one_hot[:, self.first:]

    @property
    def monai(self) -> dict:
        """MONAI's options for this kind of target, which it gets as `one_hot`."""
        return {"sigmoid": True} if self.kind == "regions" else {"softmax": True, "include_background": False}

    @property
    def smp(self) -> dict:
        if self.kind == "regions":
            return {"mode": "multilabel"}
        return {"mode": "multiclass", "classes": list(range(1, self.logits.shape[1]))}


@dataclass
class Golden:
    """A loss on a case. `value` gives it from the logits, and `others` give the same by other means."""
    case: Case
    loss: dict
    reference: str
    value: Callable
    batch: bool = False
    class_weights: list | None = None
    spacing: list | None = None
    others: list = field(default_factory=list)


@contextlib.contextmanager
def in_float64():
    """The public losses convert to float32 in places; in here they convert to float64."""
    with (mock.patch.object(torch, "float32", torch.float64), mock.patch.object(torch, "float", torch.float64),
          mock.patch.object(torch.Tensor, "float", torch.Tensor.double)):
        yield


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.movedim(F.one_hot(labels[:, 0], classes), -1, 1).double()


# Cases


def smooth_fields(rng: np.random.Generator, shape: tuple, count: int) -> np.ndarray:
    """(B, count, …): random fields with blobs a few voxels wide and a standard deviation of 1."""
    fields = np.stack([[gaussian_filter(rng.standard_normal(shape[2:]), 1) for _ in range(count)] for _ in range(shape[0])])
    return fields / fields.std()


def random_logits(rng: np.random.Generator, shape: tuple) -> torch.Tensor:
    return torch.from_numpy(2 * rng.standard_normal(shape))


def labels_case(name: str, seed: int, shape: tuple) -> Case:
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(smooth_fields(rng, shape, 3).argmax(1)[:, None])
    labels[-1][labels[-1] == 2] = 0
    return Case(name, "labels", random_logits(rng, shape), labels)


def binary_case(name: str, seed: int, shape: tuple) -> Case:
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy((smooth_fields(rng, shape, 1) > 0.6).astype(np.int64))
    return Case(name, "labels", random_logits(rng, shape), labels)


def regions_case(name: str, seed: int, shape: tuple) -> Case:
    rng = np.random.default_rng(seed)
    fields = smooth_fields(rng, shape, 2)
    fields[:, 1] += fields[:, 0]
    regions = torch.from_numpy(fields > 0.4)
    first, second = regions.unbind(1)
    assert (first & second).any() and (first & ~second).any() and (second & ~first).any()
    return Case(name, "regions", random_logits(rng, shape), regions)


def tube_2d_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    labels = torch.zeros(1, 1, 14, 13, dtype=torch.int64)
    labels[0, 0, 2:5, 1:12] = 1  # 3 wide
    labels[0, 0, 5:13, 9:11] = 1  # 2 wide
    diagonal = torch.arange(7)
    labels[0, 0, 6 + diagonal, 1 + diagonal] = 1
    skeleton = torch.from_numpy(skeletonize(labels[0, 0].numpy() > 0).astype(np.int64))[None, None]
    skeleton[..., :5, :6] = 0  # only a part of it: a tube that is the whole target would hide how far it was dilated
    skeleton[..., 10:, :8] = 0
    return Case("tube_2d", "labels", random_logits(rng, (1, 2, 14, 13)), labels, skeleton)


def tube_3d_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    labels = torch.zeros(2, 1, 7, 8, 9, dtype=torch.int64)
    labels[0, 0, 1:6, 2:4, 2:4] = 1
    labels[0, 0, 4:6, 2:4, 4:9] = 2  # touches class 1, whose tube reaches into it
    labels[0, 0, 1, 5:7, 1:8] = 2
    labels[1, 0, 3:5, 1:7, 3:5] = 1  # class 2 is absent from this sample
    labels[1, 0, 1, 4, 1:8] = 1
    skeleton = torch.zeros_like(labels)
    skeleton[0, 0, 2:5, 2, 3] = skeleton[0, 0, 4, 3, 8] = skeleton[0, 0, 1, 6, 1:4] = 1
    skeleton[1, 0, 4, 1:3, 3] = skeleton[1, 0, 1, 4, 1:4] = 1
    return Case("tube_3d", "labels", random_logits(rng, (2, 3, 7, 8, 9)), labels, skeleton)


def make_cases() -> dict[str, Case]:
    rng = np.random.default_rng(7)
    shape = (2, 3, 5, 6, 4)
    regression = Case("regression_3d", "regression", random_logits(rng, shape), torch.from_numpy(rng.standard_normal(shape)))
    classes = Case("class", "class", random_logits(rng, (4, 3)), torch.tensor([0, 2, 1, 2]))
    cases = [labels_case("labels_3d", 1, (2, 3, 5, 6, 4)), labels_case("labels_2d", 2, (2, 3, 9, 8)),
             binary_case("binary_3d", 3, (2, 2, 6, 7, 5)), regions_case("regions_3d", 4, (2, 2, 5, 6, 4)),
             regression, classes, tube_2d_case(5), tube_3d_case(6)]
    return {case.name: case for case in cases}


# Dice and its relatives


def sums(case: Case, logits: torch.Tensor, batch: bool, with_background: bool = False) -> tuple:
    """Σpg, Σp(1-g), Σ(1-p)g by sample (one row if `batch`) and class."""
    p, g = (case.probabilities(logits), case.one_hot) if with_background else case.foreground(logits)
    parts = [part.flatten(2).sum(2) for part in (p * g, p * (1 - g), (1 - p) * g)]
    return tuple(part.sum(0, keepdim=True) if batch else part for part in parts)


def weighted_mean(values: torch.Tensor, weights: list | None) -> torch.Tensor:
    """Of (samples, foreground classes). `weights` have the background's, too."""
    if weights is None:
        return values.mean()
    weights = torch.tensor(weights[1:])
    return (values * weights).sum(-1).mean() / weights.sum()


def dice_formula(case: Case, logits, batch: bool, background: bool = False, weights: list | None = None):
    both, only_p, only_g = sums(case, logits, batch, background)
    return weighted_mean(-(2 * both + S) / (2 * both + only_p + only_g + S), weights)


def squared_dice_formula(case: Case, logits, batch: bool):
    p, g = case.foreground(logits)
    axes = (0, 2) if batch else (2,)
    p, g = p.flatten(2), g.flatten(2)
    return -((2 * (p * g).sum(axes) + S) / ((p * p).sum(axes) + (g * g).sum(axes) + S)).mean()


def generalised_dice_formula(case: Case, logits, batch: bool):
    both, only_p, only_g = sums(case, logits, batch, with_background=True)
    weights = generalised_weights(both + only_g)
    return (1 - (2 * (weights * both).sum(-1) + S) / ((weights * (2 * both + only_p + only_g)).sum(-1) + S)).mean()


def generalised_weights(voxels: torch.Tensor) -> torch.Tensor:
    """Of classes with so many voxels; the largest is 1."""
    weights = 1 / voxels.detach() ** 2
    largest = torch.where(weights.isinf(), 0, weights).amax(-1, keepdim=True)
    return torch.where(weights.isinf(), largest, weights) / largest


def tversky_formula(case: Case, logits, batch: bool, alpha=0.3, beta=0.7, gamma=1.0, weights: list | None = None):
    both, only_p, only_g = sums(case, logits, batch)
    index = (both + S) / (both + alpha * only_p + beta * only_g + S)
    return weighted_mean((1 - index) ** gamma, weights)


def jaccard_formula(case: Case, logits, batch: bool):
    both, only_p, only_g = sums(case, logits, batch)
    return (1 - (2 * both + S) / (2 * (both + only_p + only_g) + S)).mean()


def nnunet_dice(case: Case, logits, batch: bool, background: bool = False):
    nonlinearity = torch.sigmoid if case.kind == "regions" else softmax_helper_dim1
    do_bg = background or case.kind == "regions"
    return MemoryEfficientSoftDiceLoss(nonlinearity, batch_dice=batch, do_bg=do_bg, smooth=S, ddp=False)(logits, case.target)


def monai_dice(case: Case, logits, batch: bool, **options):
    return monai.losses.DiceLoss(**{**case.monai, **options}, batch=batch)(logits, case.one_hot)


def monai_weighted_dice(case: Case, logits, batch: bool, weights: list):
    """MONAI divides the weighted sum by the number of classes."""
    weights = weights[1:]
    return monai_dice(case, logits, batch, weight=weights) * len(weights) / sum(weights) - 1


def monai_tversky(case: Case, logits, batch: bool, alpha=0.3, beta=0.7, gamma=1.0, weights: list | None = None):
    loss = monai.losses.TverskyLoss(**case.monai, alpha=alpha, beta=beta, smooth_nr=S, smooth_dr=S, batch=batch, reduction="none")
    values = loss(logits, case.one_hot)  # by sample and class, or by class
    return weighted_mean(values**gamma, weights)


def monai_generalised_dice(case: Case, logits, batch: bool):
    """MONAI does not divide the weights by the largest, so its s has to be multiplied with that: one call for each row of weights."""
    rows = [slice(None)] if batch else [slice(i, i + 1) for i in range(len(logits))]
    values = []
    for row in rows:
        one_hot = case.one_hot[row]
        voxels = one_hot.sum(dim=(0, *range(2, one_hot.dim())))
        smooth = S / float(voxels[voxels > 0].min()) ** 2
        options = {**case.monai, "include_background": True, "smooth_nr": smooth, "smooth_dr": smooth}
        values.append(monai.losses.GeneralizedDiceLoss(**options, batch=batch)(logits[row], one_hot))
    return torch.stack(values).mean()


def smp_loss(loss: Callable, case: Case, logits, smooth: float, **options):
    """smp's losses with sums over the batch. They leave out classes that are absent, of which the cases have none."""
    return loss(**case.smp, smooth=smooth, **options)(logits, case.target)


def log_cosh(dice: Callable, *args, **options):
    return torch.log(torch.cosh(1 + dice(*args, **options)))


def dice_goldens(case: Case, batch: bool) -> list[Golden]:
    # smp adds its smoothing to Σpg, which is half of what MONAI and nnU-Net add it to.
    public = [lambda x: monai_dice(case, x, batch) - 1, partial(dice_formula, case, batch=batch)]
    if batch:
        public.append(lambda x: smp_loss(smp.losses.DiceLoss, case, x, S / 2) - 1)
    nnunet = f"nnunetv2.training.loss.dice.MemoryEfficientSoftDiceLoss {NNUNET}"
    found = [Golden(case, {"name": "dice"}, nnunet, partial(nnunet_dice, case, batch=batch), batch, others=public),
             Golden(case, {"name": "dice", "squared": True}, f"monai.losses.DiceLoss {MONAI}",
                    lambda x: monai_dice(case, x, batch, squared_pred=True) - 1, batch,
                    others=[partial(squared_dice_formula, case, batch=batch)]),
             Golden(case, {"name": "dice", "log_cosh": True}, f"formula: Jadon 2020, of {nnunet}",
                    partial(log_cosh, nnunet_dice, case, batch=batch), batch, others=[partial(log_cosh, dice_formula, case, batch=batch)])]
    if case.kind == "labels":
        options = {"batch": batch, "background": True}
        found.append(Golden(case, {"name": "dice", "background": True}, nnunet, partial(nnunet_dice, case, **options), batch,
                            others=[lambda x: monai_dice(case, x, batch, include_background=True) - 1,
                                    partial(dice_formula, case, **options)]))
    return found


def tversky_goldens(case: Case, batch: bool) -> list[Golden]:
    reference = f"monai.losses.TverskyLoss {MONAI}"
    found = []
    for settings in ({}, {"alpha": 0.5, "beta": 0.5}):
        others = [partial(tversky_formula, case, batch=batch, **settings)]
        if batch:
            options = {"alpha": 0.3, "beta": 0.7, **settings}
            others.append(lambda x, options=options: smp_loss(smp.losses.TverskyLoss, case, x, S, **options))
        found.append(Golden(case, {"name": "tversky", **settings}, reference, partial(monai_tversky, case, batch=batch, **settings), batch,
                            others=others))
    others = [partial(tversky_formula, case, batch=batch, gamma=0.75)]
    if batch and case.name == "binary_3d":
        # With several classes smp takes the power of their mean.
        others.append(lambda x: smp_loss(smp.losses.TverskyLoss, case, x, S, alpha=0.3, beta=0.7, gamma=0.75))
    found.append(Golden(case, {"name": "focal_tversky"}, f"formula: Abraham and Khan 2019, of {reference}",
                        partial(monai_tversky, case, batch=batch, gamma=0.75), batch, others=others))
    return found


def overlap_goldens(case: Case, batch: bool) -> list[Golden]:
    found = dice_goldens(case, batch) + tversky_goldens(case, batch)
    found.append(Golden(case, {"name": "generalised_dice"}, f"monai.losses.GeneralizedDiceLoss {MONAI}",
                        partial(monai_generalised_dice, case, batch=batch), batch,
                        others=[partial(generalised_dice_formula, case, batch=batch)]))
    others = [partial(jaccard_formula, case, batch=batch)]
    if batch:
        others.append(lambda x: smp_loss(smp.losses.JaccardLoss, case, x, S / 2))
    found.append(Golden(case, {"name": "jaccard"}, f"monai.losses.DiceLoss {MONAI}", partial(monai_dice, case, batch=batch, jaccard=True),
                        batch, others=others))
    return found


def weighted_goldens(case: Case, batch: bool) -> list[Golden]:
    options = {"batch": batch, "weights": FOREGROUND_WEIGHTS}
    return [Golden(case, {"name": name}, f"monai.losses.{reference} {MONAI}", partial(loss, case, **options), batch,
                   class_weights=FOREGROUND_WEIGHTS, others=[partial(formula, case, **options)])
            for name, reference, loss, formula in (("dice", "DiceLoss", monai_weighted_dice, dice_formula),
                                                   ("tversky", "TverskyLoss", monai_tversky, tversky_formula))]


# Lovász


def lovasz_formula(errors: torch.Tensor, g: torch.Tensor):
    """The Lovász extension of the Jaccard loss at these errors, by its definition (Berman et al. 2018). Both (voxels,)."""
    errors, order = errors.sort(descending=True)
    g = g[order].tolist()
    foreground = sum(g)
    wrong, background_wrong, before, total = 0, 0, 0.0, 0
    for error, is_foreground in zip(errors, g):
        wrong += 1
        background_wrong += not is_foreground
        jaccard_loss = wrong / (foreground + background_wrong)
        total = total + error * (jaccard_loss - before)
        before = jaccard_loss
    return total


def lovasz_by_formula(case: Case, logits, batch: bool):
    p, g = case.probabilities(logits), case.one_hot
    if case.kind == "regions":
        errors = F.relu(1 - logits * (2 * g - 1))
    else:
        errors = (g - p).abs()
    groups = [slice(None)] if batch else [slice(i, i + 1) for i in range(len(logits))]
    values = []
    for group in groups:
        pairs = [(errors[group, c].flatten(), g[group, c].flatten()) for c in range(logits.shape[1])]
        per_class = [lovasz_formula(e, t) for e, t in pairs if case.kind == "regions" or t.any()]
        values.append(sum(per_class) / len(per_class))
    return sum(values) / len(values)


def smp_lovasz(case: Case, logits, batch: bool):
    if case.kind == "labels":
        return smp.losses.LovaszLoss("multiclass", per_image=not batch)(logits, case.target)
    # smp's multilabel mode sorts the voxels of all channels together.
    loss = smp.losses.LovaszLoss("binary", per_image=not batch)
    return sum(loss(logits[:, c], case.one_hot[:, c]) for c in range(logits.shape[1])) / logits.shape[1]


def lovasz_golden(case: Case, batch: bool) -> Golden:
    return Golden(case, {"name": "lovasz"}, f"segmentation_models_pytorch.losses.LovaszLoss {SMP}", partial(smp_lovasz, case, batch=batch),
                  batch, others=[partial(lovasz_by_formula, case, batch=batch)])


# Voxel by voxel


def cross_entropy(case: Case, logits, loss: Callable = RobustCrossEntropyLoss, weights: list | None = None, smoothing: float = 0):
    target = case.target[:, 0] if loss is torch.nn.CrossEntropyLoss and case.kind == "labels" else case.target
    return loss(weight=None if weights is None else torch.tensor(weights), label_smoothing=smoothing)(logits, target)


def ce_goldens(case: Case) -> list[Golden]:
    torch_ce = torch.nn.CrossEntropyLoss
    others = [RobustCrossEntropyLoss] if case.kind == "labels" else []
    return [Golden(case, {"name": "class_ce" if case.kind == "class" else "ce", **settings}, f"torch.nn.CrossEntropyLoss {TORCH}",
                   partial(cross_entropy, case, loss=torch_ce, weights=weights, **settings), class_weights=weights,
                   others=[partial(cross_entropy, case, loss=other, weights=weights, **settings) for other in others])
            for weights in (None, CE_WEIGHTS) for settings in ({}, {"smoothing": 0.1})]


def topk_formula(case: Case, logits, k: int):
    losses = F.cross_entropy(logits, case.target[:, 0], reduction="none").flatten()
    return losses.sort(descending=True).values[:losses.numel() * k // 100].mean()


def bce(case: Case, logits):
    return torch.nn.BCEWithLogitsLoss()(logits, case.one_hot)


def focal_formula(case: Case, logits, gamma: float = 2.0, alpha: float | None = None):
    p, g = case.probabilities(logits), case.one_hot
    p_t = p * g + (1 - p) * (1 - g) if case.kind == "regions" else (p * g).sum(1)
    losses = -((1 - p_t) ** gamma) * p_t.log()
    return (losses if alpha is None else losses * (alpha * g + (1 - alpha) * (1 - g))).mean()


def monai_focal(case: Case, logits, gamma: float = 2.0, alpha: float | None = None):
    """For labels MONAI's mean is over the classes, too, of which all but one have a loss of 0 in a voxel."""
    scale = logits.shape[1] if case.kind == "labels" else 1
    return scale * monai.losses.FocalLoss(gamma=gamma, alpha=alpha, use_softmax=case.kind == "labels")(logits, case.one_hot)


def smp_focal(case: Case, logits, gamma: float = 2.0, alpha: float | None = None):
    if case.kind == "labels":
        return softmax_focal_loss_with_logits(logits, case.target[:, 0], gamma)
    return smp.losses.FocalLoss("multilabel", alpha=alpha, gamma=gamma)(logits, case.target)


def focal_goldens(case: Case) -> list[Golden]:
    all_settings = [{}, {"gamma": 1.5}] + [{"alpha": 0.25}] * (case.kind == "regions")
    return [Golden(case, {"name": "focal", **settings}, f"monai.losses.FocalLoss {MONAI}", partial(monai_focal, case, **settings),
                   others=[partial(smp_focal, case, **settings), partial(focal_formula, case, **settings)]) for settings in all_settings]


def voxel_goldens(case: Case) -> list[Golden]:
    if case.kind == "regions":
        return [Golden(case, {"name": "bce"}, f"torch.nn.BCEWithLogitsLoss {TORCH}", partial(bce, case),
                       others=[lambda x: monai_focal(case, x, gamma=0)])] + focal_goldens(case)
    topk = [Golden(case, {"name": "topk", "k": k}, f"nnunetv2.training.loss.robust_ce_loss.TopKLoss {NNUNET}",
                   lambda x, k=k: TopKLoss(k=k)(x, case.target), others=[partial(topk_formula, case, k=k)]) for k in (10, 50)]
    return ce_goldens(case) + topk + focal_goldens(case)


def nnunet_compound(case: Case, logits, batch: bool, topk: bool = False):
    """As nnUNetTrainer._build_loss, and as nnUNetTrainerDiceTopK10Loss."""
    dice = {"batch_dice": batch, "smooth": S, "do_bg": case.kind == "regions", "ddp": False}
    if topk:
        loss = DC_and_topk_loss(dice, {"k": 10, "label_smoothing": 0.0}, weight_ce=1, weight_dice=1)
    elif case.kind == "regions":
        loss = DC_and_BCE_loss({}, dice, dice_class=MemoryEfficientSoftDiceLoss)
    else:
        loss = DC_and_CE_loss(dice, {}, weight_ce=1, weight_dice=1, dice_class=MemoryEfficientSoftDiceLoss)
    return loss(logits, case.target)


def compound_goldens(case: Case, batch: bool) -> list[Golden]:
    def golden(name: str, nnunet: str, second: Callable, **options) -> Golden:
        return Golden(case, {"name": name}, f"nnunetv2.training.loss.compound_losses.{nnunet} {NNUNET}",
                      partial(nnunet_compound, case, batch=batch, **options), batch,
                      others=[lambda x: dice_formula(case, x, batch) + second(x)])

    if case.kind == "regions":
        return [golden("dice_bce", "DC_and_BCE_loss", partial(bce, case))]
    return [golden("dice_ce", "DC_and_CE_loss", partial(cross_entropy, case)),
            golden("dice_topk", "DC_and_topk_loss", partial(topk_formula, case, k=10), topk=True)]


# Distances


def by_mask(function: Callable, masks: torch.Tensor, spacing: list) -> torch.Tensor:
    """`function` of each sample's and channel's mask, 0 where a mask is empty or full."""
    maps = np.zeros(masks.shape)
    for index in np.ndindex(*masks.shape[:2]):
        mask = masks[index].numpy() > 0.5
        if mask.any() and not mask.all():
            maps[index] = function(mask, spacing)
    return torch.from_numpy(maps)


def signed_distance(mask: np.ndarray, spacing: list) -> np.ndarray:
    outside, inside = distance_transform_edt(~mask, sampling=spacing), distance_transform_edt(mask, sampling=spacing)
    return np.where(mask, -(inside - min(spacing)), outside)


def distance_to_other_side(mask: np.ndarray, spacing: list) -> np.ndarray:
    return distance_transform_edt(mask, sampling=spacing) + distance_transform_edt(~mask, sampling=spacing)


def boundary_formula(case: Case, logits, spacing: list):
    p, g = case.foreground(logits)
    return (p * by_mask(signed_distance, g, spacing)).mean()


def monai_boundary(case: Case, logits):
    return monai.losses.BoundaryLoss(**case.monai)(logits, case.one_hot)


def hausdorff_formula(case: Case, logits, spacing: list, alpha: float = 2.0):
    p, g = case.foreground(logits)
    distances = [by_mask(distance_to_other_side, mask.detach(), spacing) ** alpha for mask in (p, g)]
    return ((p - g) ** 2 * (distances[0] + distances[1])).mean()


def monai_hausdorff(case: Case, logits, alpha: float = 2.0):
    options = {"include_background": True, **case.monai}
    return monai.losses.HausdorffDTLoss(alpha=alpha, **options)(logits, case.one_hot)


def distance_goldens(case: Case) -> list[Golden]:
    p, _ = case.foreground(case.logits)
    predicted = (p > 0.5).flatten(2)
    assert predicted.any(2).all() and not predicted.all(2).any()
    assert (p - 0.5).abs().min() > 1e-4  # no rounding may move a voxel to the other side
    unit, spacing = [1.0] * case.dims, SPACINGS[case.dims]
    found = []
    losses = (({"name": "boundary"}, "BoundaryLoss", "Kervadec et al. 2019", monai_boundary, boundary_formula),
              ({"name": "hausdorff"}, "HausdorffDTLoss", "Karimi and Salcudean 2019", monai_hausdorff, hausdorff_formula))
    for loss, reference, paper, public, formula in losses:
        found += [Golden(case, loss, f"monai.losses.{reference} {MONAI}", partial(public, case), spacing=unit,
                         others=[partial(formula, case, spacing=unit)]),
                  Golden(case, loss, f"formula: {paper}", partial(formula, case, spacing=spacing), spacing=spacing)]
    found.append(Golden(case, {"name": "hausdorff", "alpha": 1.0}, f"monai.losses.HausdorffDTLoss {MONAI}",
                        partial(monai_hausdorff, case, alpha=1.0), spacing=unit,
                        others=[partial(hausdorff_formula, case, spacing=unit, alpha=1.0)]))
    return found


# Tubes


def monai_cldice(case: Case, logits):
    """MONAI sums over a sample's channels, so gets one at a time. Its `smooth` must be positive: here it is too small to have an effect."""
    loss = monai.losses.SoftclDiceLoss(iter_=3, smooth_nr=1, smooth_dr=1, smooth=1e-300)
    p, g = case.foreground(logits)
    return sum(loss(p[:, [c]], g[:, [c]]) for c in range(p.shape[1])) / p.shape[1]


def cldice_formula(case: Case, logits, batch: bool):
    p, g = case.foreground(logits)
    skeleton_p, skeleton_g = soft_skel(p, 3), soft_skel(g, 3)
    parts = [part.flatten(2).sum(2) for part in (skeleton_p * g, skeleton_p, skeleton_g * p, skeleton_g)]
    hit_p, all_p, hit_g, all_g = [part.sum(0) if batch else part for part in parts]
    precision, sensitivity = (hit_p + 1) / (all_p + 1), (hit_g + 1) / (all_g + 1)
    return (1 - 2 * precision * sensitivity / (precision + sensitivity)).mean()


def cldice_golden(case: Case, batch: bool) -> Golden:
    formula = partial(cldice_formula, case, batch=batch)
    if not batch:
        return Golden(case, {"name": "cldice"}, f"monai.losses.SoftclDiceLoss {MONAI}", partial(monai_cldice, case), others=[formula])
    return Golden(case, {"name": "cldice"}, f"formula: Shit et al. 2021, with monai.losses.cldice.soft_skel {MONAI}", formula, batch,
                  others=[partial(monai_cldice, case)] if len(case.logits) == 1 else [])


def tube(case: Case, dilations: int = 2, connectivity: int = 1) -> torch.Tensor:
    element = generate_binary_structure(case.dims, connectivity)
    dilated = [binary_dilation(skeleton[0].numpy() > 0, element, iterations=dilations) for skeleton in case.skeleton]
    return torch.from_numpy(np.stack(dilated))[:, None] * case.target


def skeleton_recall_formula(case: Case, logits, batch: bool):
    p, _ = case.foreground(logits)
    t = one_hot(tube(case), logits.shape[1])[:, 1:]
    axes = (0, 2) if batch else (2,)
    return -(((p * t).flatten(2).sum(axes) + S) / (t.flatten(2).sum(axes) + S)).mean()


def skeleton_recall_golden(case: Case, batch: bool) -> Golden:
    assert (case.target[case.skeleton > 0] > 0).all()
    by_skimage = np.stack([dilation(dilation(skeleton[0].numpy())) for skeleton in case.skeleton])[:, None]  # as Kirchhoff et al.
    assert (tube(case).numpy() == by_skimage * case.target.numpy()).all()
    sizes = [int((tube(case, dilations) > 0).sum()) for dilations in range(1, 4)]
    assert len({*sizes, int((tube(case, 2, case.dims) > 0).sum()), int((case.target > 0).sum())}) == 5  # so that a wrong tube shows
    return Golden(case, {"name": "skeleton_recall"}, "formula: Kirchhoff et al. 2024", partial(skeleton_recall_formula, case, batch=batch),
                  batch)


# Regression


def regression_goldens(case: Case) -> list[Golden]:
    losses = [({"name": "mse"}, torch.nn.MSELoss()), ({"name": "l1"}, torch.nn.L1Loss()), ({"name": "huber"}, torch.nn.HuberLoss()),
              ({"name": "huber", "delta": 0.5}, torch.nn.HuberLoss(delta=0.5))]
    found = [Golden(case, name, f"torch.nn.{type(loss).__name__} {TORCH}", lambda x, loss=loss: loss(x, case.target))
             for name, loss in losses]
    found.append(Golden(case, {"name": "cosine"}, f"torch.nn.functional.cosine_similarity {TORCH}",
                        lambda x: (1 - F.cosine_similarity(x, case.target, dim=1)).mean()))
    return found


# All


def make_goldens(cases: dict[str, Case]) -> list[Golden]:
    labels, flat, regions = cases["labels_3d"], cases["labels_2d"], cases["regions_3d"]
    binary, tube_2d, tube_3d = cases["binary_3d"], cases["tube_2d"], cases["tube_3d"]
    found = []
    for case in (labels, flat, binary, regions):
        for batch in (True, False):
            found += overlap_goldens(case, batch) + [lovasz_golden(case, batch)]
            if case is not binary:
                found += compound_goldens(case, batch)
        if case is not binary:
            found += voxel_goldens(case)
            found += distance_goldens(case)
    for batch in (True, False):
        found += weighted_goldens(labels, batch)
        found += [cldice_golden(case, batch) for case in (labels, regions, binary, tube_2d, tube_3d)]
        found += [skeleton_recall_golden(case, batch) for case in (tube_2d, tube_3d)]
    return found + regression_goldens(cases["regression_3d"]) + ce_goldens(cases["class"])


def value_and_gradient(function: Callable, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.clone().requires_grad_()
    with in_float64():
        value = function(logits)
    assert value.dtype == torch.float64 and value.ndim == 0
    gradient, = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def check(golden: Golden, value: torch.Tensor, gradient: torch.Tensor, generator: torch.Generator) -> None:
    """Against the other implementations, and the gradient against finite differences along one random direction."""
    logits = golden.case.logits
    for other in golden.others:
        other_value, other_gradient = value_and_gradient(other, logits)
        assert abs(value - other_value) < 1e-10 * max(1, abs(value)), (golden.case.name, golden.loss, float(value), float(other_value))
        assert (gradient - other_gradient).abs().max() < 1e-10 * max(1, gradient.abs().max()), (golden.case.name, golden.loss)
    direction = torch.randn(logits.shape, generator=generator)
    step = 1e-6
    with in_float64(), torch.no_grad():
        slope = (golden.value(logits + step * direction) - golden.value(logits - step * direction)) / (2 * step)
    expected = (gradient * direction).sum()
    scale = (gradient * direction).norm() + 1e-3
    assert abs(slope - expected) < 1e-5 * scale, (golden.case.name, golden.loss, float(slope), float(expected))


def main() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    cases = make_cases()
    tensors = {}
    for name, case in cases.items():
        parts = {"logits": case.logits, "target": case.target, "skeleton": case.skeleton}
        tensors.update({f"{name}.{part}": tensor.contiguous() for part, tensor in parts.items() if tensor is not None})
    generator = torch.Generator().manual_seed(0)
    entries = []
    for number, golden in enumerate(make_goldens(cases)):
        value, gradient = value_and_gradient(golden.value, golden.case.logits)
        check(golden, value, gradient, generator)
        key = f"{golden.case.name}.gradient.{number}"
        tensors[key] = gradient.contiguous()
        extra = {"class_weights": golden.class_weights, "spacing": golden.spacing}
        entries.append({"case": golden.case.name, "loss": golden.loss, "batch": golden.batch,
                        **{name: setting for name, setting in extra.items() if setting is not None},
                        "value": value.item(), "reference": golden.reference, "gradient": key})
    save_file(tensors, FOLDER / "losses.safetensors")
    (FOLDER / "losses.json").write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")


if __name__ == "__main__":
    main()
