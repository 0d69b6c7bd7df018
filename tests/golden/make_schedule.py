"""Golden numbers of nnU-Net's learning-rate schedules: writes schedule.json beside this file.

The rates are those that nnU-Net's trainers set at the start of each epoch.
"""
import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.lr_schedule.nnUNetTrainer_warmup import nnUNetTrainer_warmup
from nnunetv2.training.nnUNetTrainer.variants.lr_schedule.nnUNetTrainerCosAnneal import nnUNetTrainerCosAnneal

FOLDER = Path(__file__).parent
EPOCHS, WARMUP = 60, 10
INITIAL_LR, WEIGHT_DECAY = 1e-2, 3e-5


def make_trainer(network: torch.nn.Module, kind: type = nnUNetTrainer) -> nnUNetTrainer:
    """A trainer with what its schedule and steps need; its constructor wants a preprocessed data set."""
    trainer = kind.__new__(kind)
    trainer.network, trainer.device, trainer.grad_scaler = network, torch.device("cpu"), None
    trainer.initial_lr, trainer.weight_decay, trainer.num_epochs = INITIAL_LR, WEIGHT_DECAY, EPOCHS
    trainer.warmup_duration_whole_net, trainer.training_stage = WARMUP, None
    trainer.print_to_log_file = lambda *text: None
    trainer.logger = SimpleNamespace(log=lambda *entry: None)
    return trainer


def rates(kind: type) -> list[float]:
    trainer = make_trainer(torch.nn.Linear(1, 1), kind)
    trainer.current_epoch = 0
    trainer.optimizer, trainer.lr_scheduler = trainer.configure_optimizers()
    each = []
    for trainer.current_epoch in range(EPOCHS):
        trainer.on_train_epoch_start()
        each.append(trainer.optimizer.param_groups[0]["lr"])
    return each


def main() -> None:
    # torch would rather be told no epoch, and have a step of the optimiser before one of the schedule.
    warnings.simplefilter("ignore")
    schedules = {"poly": nnUNetTrainer, "cosine": nnUNetTrainerCosAnneal, "warmup": nnUNetTrainer_warmup}
    schedule = {"epochs": EPOCHS, "warmup": WARMUP, "initial_lr": INITIAL_LR,
                "rates": {**{name: rates(kind) for name, kind in schedules.items()}, "constant": [INITIAL_LR] * EPOCHS}}
    (FOLDER / "schedule.json").write_text(json.dumps(schedule) + "\n")


if __name__ == "__main__":
    main()
