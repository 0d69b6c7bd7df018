"""Golden numbers of paired.rs: writes paired.json beside this file.

p-values and bootstrap intervals are SciPy's (1.17.1); where SciPy has no p, as all differences are 0, it is 1 by definition. An interval
is null where there is only one difference, or all are equal: it is their value.
"""
import json
import warnings
from pathlib import Path

import numpy as np
from scipy import stats

RNG = np.random.default_rng(20261)


def untied(n: int, shift: float = 0.0) -> np.ndarray:
    """Of either sign, none zero, no two of the same size."""
    d = RNG.normal(shift, 1, n).round(6)
    assert len(np.unique(np.abs(d))) == n and np.all(d != 0)
    return d


def tied(n: int, shift: float = 0.0) -> np.ndarray:
    """Multiples of 1/4, none zero: from about 10 on, most are tied."""
    d = (RNG.normal(shift, 1, n) * 4).round() / 4
    d[d == 0] = 0.25
    return d


def with_zeros(d: np.ndarray, zeros: int) -> np.ndarray:
    return RNG.permutation(np.concatenate([d, np.zeros(zeros)]))


def mirrored(d: np.ndarray, count: int) -> np.ndarray:
    """The first `count` are there with the other sign, too."""
    return np.concatenate([d, -d[:count]])


def heavy(n: int) -> np.ndarray:
    return RNG.standard_t(2, n).round(6)


# Around the limits of the exact test: 13 (with ties or zeros), 50 (without).
VECTORS = {
    "one": untied(1),
    "one zero": np.zeros(1),
    "two": untied(2),
    "two opposite": np.array([0.5, -0.5]),
    "three": untied(3, 1),
    "five of one sign": np.abs(untied(5)),
    "tiny with a zero": with_zeros(untied(4, 0.5), 1),
    "all equal": np.full(9, 0.1),
    "all equal, many": np.full(60, -0.3),
    "all zero, few": np.zeros(6),
    "all zero, many": np.zeros(20),
    "12 untied": untied(12, 0.3),
    "13 tied": tied(13, 0.4),
    "14 tied": tied(14, 0.4),
    "13, one of them zero": with_zeros(untied(12, 0.5), 1),
    "14, one of them zero": with_zeros(untied(13, 0.5), 1),
    "13, ties and zeros": with_zeros(tied(9, 0.6), 4),
    "30, ties and zeros": with_zeros(tied(22, 0.2), 8),
    "30 untied": untied(30, 0.3),
    "50 untied": untied(50, 0.2),
    "50, one of them zero": with_zeros(untied(49, 0.2), 1),
    "50, two of them tied": mirrored(untied(49, 0.2), 1),
    "51 untied": untied(51, 0.2),
    "60, most of them zero": with_zeros(untied(7, 1), 53),
    "heavy tails, exact": heavy(40),
    "heavy tails, normal": heavy(120),
    "large shift, exact": untied(45, 6),
    "large shift, normal": untied(200, 6),
    "200 tied": tied(200, 0.1),
    "symmetric": mirrored(untied(40), 40),
}


def wilcoxon(d: np.ndarray) -> float:
    if not np.any(d):
        return 1.0
    return float(stats.wilcoxon(d, zero_method="wilcox", correction=False, alternative="two-sided", method="auto").pvalue)


def interval(d: np.ndarray) -> list[float] | None:
    if np.all(d == d[0]):
        return None
    result = stats.bootstrap((d,), np.mean, method="percentile", confidence_level=0.95, n_resamples=10_000, rng=np.random.default_rng(1))
    return [round(float(end), 6) for end in result.confidence_interval]


def holm(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p, kind="stable")
    steps = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    corrected = np.empty_like(p)
    corrected[order] = steps
    return corrected


HOLM = [
    np.array([0.03]),
    np.array([0.01, 0.04, 0.03, 0.005]),
    np.array([0.2, 0.2, 0.001, 0.7, 1.0, 0.0]),
    np.array([0.02, 0.019, 0.018, 0.5]),
    RNG.uniform(0, 0.1, 12).round(6),
]


def main() -> None:
    warnings.simplefilter("error")
    cases = [{"name": name, "p": wilcoxon(d), "interval": interval(d), "differences": d.tolist()} for name, d in VECTORS.items()]
    corrections = [{"p": p.tolist(), "corrected": holm(p).tolist()} for p in HOLM]
    # An entry a line.
    sections = {name: ",\n".join(map(json.dumps, entries)) for name, entries in {"wilcoxon": cases, "holm": corrections}.items()}
    text = ",\n".join(f'"{name}": [\n{lines}\n]' for name, lines in sections.items())
    Path(__file__).with_name("paired.json").write_text(f"{{\n{text}\n}}\n")


if __name__ == "__main__":
    main()
