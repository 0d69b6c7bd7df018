"""Two outputs on one label map: the network returns {"parts": levels, "sharp": levels}, the loss is w1 · loss1 + w2 · loss2."""
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class FocalLoss(torch.nn.Module):
    """−mean (1 − p)² ln p, p being the probability of the right class."""

    def forward(self, logits, target):
        log_p = torch.log_softmax(logits, 1).gather(1, target)
        return (-(1 - log_p.exp()) ** 2 * log_p).mean()


class TwoLosses(torch.nn.Module):
    def __init__(self, loss1, loss2, w1, w2):
        super().__init__()
        self.loss1, self.loss2, self.w1, self.w2 = loss1, loss2, w1, w2

    def forward(self, output, target):
        terms = {"parts": self.loss1(output["parts"], target), "sharp": self.loss2(output["sharp"], target)}
        return self.w1 * terms["parts"] + self.w2 * terms["sharp"], terms


class nnUNetTrainerTwoHeads(nnUNetTrainer):
    w1, w2 = 1.0, 0.5

    def _build_loss(self):
        dice_ce = super()._build_loss()  # under deep supervision
        focal = DeepSupervisionWrapper(FocalLoss(), dice_ce.weight_factors)
        return TwoLosses(dice_ce, focal, self.w1, self.w2)
