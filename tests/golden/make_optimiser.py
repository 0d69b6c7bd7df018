"""Golden numbers of nnU-Net's optimiser step: writes optimiser.safetensors and accumulation.safetensors beside this file.

Gradients are given rather than computed by a network, so that nothing but clipping, SGD and the schedule is compared.

accumulation.safetensors has several gradients a step, of micro-batches; the step is taken with their mean.
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


def make(file: str, micro_batches: int) -> None:
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
                grads = [torch.randn(p.shape) * (0.3 + 0.4 * (step % 4)) * micro_batches**0.5 for _ in range(micro_batches)]
                p.grad = sum(grad / micro_batches for grad in grads)
                keys = [f"grad.{step}.{name}"] if micro_batches == 1 else [f"grad.{step}.{micro}.{name}" for micro in range(micro_batches)]
                tensors.update(zip(keys, grads))
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP).item())
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        tensors.update({f"parameter.{step}.{name}": p.detach().clone() for name, p in parameters.items()})
    assert min(norms) < CLIP < max(norms)

    tensors["norm"] = torch.tensor(norms)
    tensors["lr"] = torch.tensor(rates, dtype=torch.float64)
    settings = {"epochs": EPOCHS, "steps_per_epoch": STEPS_PER_EPOCH, "initial_lr": INITIAL_LR, "weight_decay": WEIGHT_DECAY,
                "momentum": MOMENTUM, "nesterov": True, "clip": CLIP, "parameters": list(SHAPES)}
    if micro_batches > 1:
        settings["micro_batches"] = micro_batches
    save_file(tensors, FOLDER / file, metadata={"settings": json.dumps(settings)})


if __name__ == "__main__":
    torch.set_num_threads(1)
    make("optimiser.safetensors", micro_batches=1)
    make("accumulation.safetensors", micro_batches=2)
