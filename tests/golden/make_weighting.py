"""Golden numbers of weighting strategies on a small analytic problem: writes weighting.json beside this file.

Needs torch (2.13.0). Two quadratic tasks of different scale share one vector W: L_i = |s_i (A_i W - b_i)|² / 2.

- gradnorm: algorithm 1 of Chen et al. 2018 as written there, with torch's autograd through the gradients' norms and torch's Adam on the weights.
- dwa: equation 7 of Liu, Johns and Davison 2019, as in the authors' code (`lambda_weight`), on mean losses of epochs.
"""
import json
from pathlib import Path

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)


def problem():
    scales = [1.0, 3.0, 0.5]
    return [(s * torch.randn(5, 4), s * torch.randn(5)) for s in scales]


def losses_of(tasks, shared):
    return torch.stack([((a @ shared - b) ** 2).sum() / 2 for a, b in tasks])


def gradnorm(given, alpha, rate, steps=25):
    tasks = problem()
    shared = torch.randn(4, requires_grad=True)
    weights = torch.tensor(given, requires_grad=True)
    adam = torch.optim.Adam([weights], lr=rate)
    initial = losses_of(tasks, shared).detach()
    record = []
    for _ in range(steps):
        losses = losses_of(tasks, shared)
        plain = [torch.autograd.grad(loss, shared, retain_graph=True)[0].norm().item() for loss in losses]
        norms = torch.stack([torch.autograd.grad(w * loss, shared, retain_graph=True, create_graph=True)[0].norm()
                             for w, loss in zip(weights, losses)])
        ratio = losses.detach() / initial
        target = (norms.mean() * (ratio / ratio.mean()) ** alpha).detach()
        adam.zero_grad()
        weights.grad = torch.autograd.grad((norms - target).abs().sum(), weights, retain_graph=True)[0]
        step = torch.autograd.grad((weights.detach() * losses).sum(), shared)[0]
        adam.step()
        with torch.no_grad():
            shared -= 1e-4 * step
            weights *= sum(given) / weights.sum()
        assert weights.min() > 0.01, "ours are kept from 0"
        record.append({"losses": losses.tolist(), "norms": plain, "weights": weights.tolist()})
    return {"given": given, "alpha": alpha, "rate": rate, "steps": record}


def dwa(temperature, epochs=8):
    cost = np.abs(np.random.default_rng(0).standard_normal((epochs, 3))) * np.array([1, 5, 0.2]) + 0.1
    lambda_weight = np.ones((3, epochs))
    for index in range(2, epochs):
        w = [cost[index - 1, i] / cost[index - 2, i] for i in range(3)]
        total = sum(np.exp(x / temperature) for x in w)
        lambda_weight[:, index] = [3 * np.exp(x / temperature) / total for x in w]
    return {"temperature": temperature, "losses": cost.tolist(), "weights": lambda_weight.T.tolist()}


def main():
    golden = {"gradnorm": [gradnorm([1.0, 1.0, 1.0], 1.5, 0.025), gradnorm([1.0, 0.5, 2.0], 0.5, 0.1)],
              "dwa": [dwa(2.0), dwa(0.7)]}
    Path(__file__).with_name("weighting.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
