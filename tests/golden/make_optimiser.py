"""Golden numbers of nnU-Net's optimiser step: writes optimiser.safetensors beside this file.

Gradients are given rather than computed by a network, so that nothing but clipping, SGD and the schedule is compared.
"""
import json
from pathlib import Path

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from safetensors.torch import save_file

FOLDER = Path(__file__).parent
EPOCHS, STEPS_PER_EPOCH = 5, 2
INITIAL_LR, WEIGHT_DECAY, MOMENTUM, CLIP = 1e-2, 3e-5, 0.99, 12
SHAPES = {"weight": (4, 3, 3, 3), "bias": (4,), "unused": (3,)}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    parameters = {name: torch.randn(shape).requires_grad_() for name, shape in SHAPES.items()}
    optimiser = torch.optim.SGD(parameters.values(), INITIAL_LR, weight_decay=WEIGHT_DECAY, momentum=MOMENTUM, nesterov=True)
    schedule = PolyLRScheduler(optimiser, INITIAL_LR, EPOCHS)

    tensors = {f"initial.{name}": p.detach().clone() for name, p in parameters.items()}
    norms, rates = [], []
    for step in range(EPOCHS * STEPS_PER_EPOCH):
        if step % STEPS_PER_EPOCH == 0:
            schedule.step(step // STEPS_PER_EPOCH)
        optimiser.zero_grad(set_to_none=True)
        for name, p in parameters.items():
            # `unused` is the head of a level of weight 0: it never has a gradient, so neither momentum nor decay touch it.
            if name != "unused":
                # Norms on both sides of the clipping bound.
                p.grad = torch.randn(p.shape) * (0.3 + 0.4 * (step % 4))
                tensors[f"grad.{step}.{name}"] = p.grad.clone()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP).item())
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        tensors.update({f"parameter.{step}.{name}": p.detach().clone() for name, p in parameters.items()})
    assert min(norms) < CLIP < max(norms)

    tensors["norm"] = torch.tensor(norms)
    tensors["lr"] = torch.tensor(rates, dtype=torch.float64)
    settings = {"epochs": EPOCHS, "steps_per_epoch": STEPS_PER_EPOCH, "initial_lr": INITIAL_LR, "weight_decay": WEIGHT_DECAY,
                "momentum": MOMENTUM, "nesterov": True, "clip": CLIP, "parameters": list(SHAPES)}
    save_file(tensors, FOLDER / "optimiser.safetensors", metadata={"settings": json.dumps(settings)})


if __name__ == "__main__":
    main()
