"""Golden numbers of Adam, AdamW and an exponential moving average: writes optimisers.safetensors beside this file.

As in make_optimiser.py gradients are given, so that nothing but the optimisers and the average is compared.
"""
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

FOLDER = Path(__file__).parent
STEPS = 10
OPTIMISERS = {"adam": (torch.optim.Adam, False), "adamw": (torch.optim.AdamW, False), "adamw_amsgrad": (torch.optim.AdamW, True)}
BETAS, EPS, WEIGHT_DECAY, EMA_DECAY = (0.9, 0.98), 1e-8, 0.05, 0.9
GROUPS = {"trunk": {"lr": 3e-3, "parameters": ["weight", "bias"]}, "heads": {"lr": 3e-4, "parameters": ["head", "unused"]}}
SHAPES = {"weight": (4, 3, 3, 3), "bias": (4,), "head": (3, 4), "unused": (3,)}


def run(name: str, initial: dict, grads: list[dict]) -> dict:
    """Parameters and their average after every step, by key."""
    kind, amsgrad = OPTIMISERS[name]
    model = torch.nn.ParameterDict({n: t.clone() for n, t in initial.items()})
    groups = [{"params": [model[n] for n in group["parameters"]], "lr": group["lr"]} for group in GROUPS.values()]
    optimiser = kind(groups, betas=BETAS, eps=EPS, weight_decay=WEIGHT_DECAY, amsgrad=amsgrad)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    tensors = {}
    for step, grad in enumerate(grads):
        optimiser.zero_grad(set_to_none=True)
        for n, g in grad.items():
            model[n].grad = g.clone()
        optimiser.step()
        average.update_parameters(model)
        tensors.update({f"{name}.parameter.{step}.{n}": p.detach().clone() for n, p in model.items()})
        tensors.update({f"{name}.ema.{step}.{n}": p.detach().clone() for n, p in average.module.items()})
    return tensors


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    initial = {n: torch.randn(shape) for n, shape in SHAPES.items()}
    # Large gradients first: later the maximum that amsgrad keeps is not the present value. `unused` never has one, as in make_optimiser.py.
    grads = [{n: torch.randn(shape) * (2 if step < 2 else 0.2) for n, shape in SHAPES.items() if n != "unused"} for step in range(STEPS)]

    tensors = {f"initial.{n}": t for n, t in initial.items()}
    tensors.update({f"grad.{step}.{n}": g for step, grad in enumerate(grads) for n, g in grad.items()})
    for name in OPTIMISERS:
        new = run(name, initial, grads)
        exact = run(name, {n: t.double() for n, t in initial.items()}, [{n: g.double() for n, g in grad.items()} for grad in grads])
        assert all((new[key] - p).abs().max() < 5e-7 * max(1, p.abs().max()) for key, p in exact.items()), "1e-6 would be within rounding"
        tensors.update(new)
    last = [tensors[f"{name}.parameter.{STEPS - 1}.weight"] for name in OPTIMISERS]
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(last, last[1:])), "one would pass for the other"

    optimisers = {name: {"decoupled": kind is torch.optim.AdamW, "amsgrad": amsgrad} for name, (kind, amsgrad) in OPTIMISERS.items()}
    settings = {"steps": STEPS, "optimisers": optimisers, "groups": GROUPS, "betas": BETAS, "eps": EPS, "weight_decay": WEIGHT_DECAY,
                "ema_decay": EMA_DECAY, "parameters": list(SHAPES)}
    # One key only: safetensors writes several in random order.
    save_file(tensors, FOLDER / "optimisers.safetensors", metadata={"settings": json.dumps(settings)})


if __name__ == "__main__":
    main()
