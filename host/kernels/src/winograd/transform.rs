//! Winograd's minimal filtering along one axis: `m` neighbouring outputs of a kernel of 3 from `m + 2` inputs with `m + 2` multiplications
//! instead of `3 m`.
//!
//! y = Aᵀ [(G g) ⊙ (Bᵀ d)], with the kernel g, the inputs d and the outputs y. The matrices evaluate polynomials at `m + 1` points and at infinity
//! (Cook and Toom). F(2,3), with the points 0, 1, −1, ∞ (Lavin and Gray 2016, section 4.1):
//!
//! ```text
//!      | 1  0 −1  0 |      |  1   0   0 |
//! Bᵀ = | 0  1  1  0 |  G = |  ½   ½   ½ |  Aᵀ = | 1  1  1  0 |
//!      | 0 −1  1  0 |      |  ½  −½   ½ |       | 0  1 −1 −1 |
//!      | 0  1  0 −1 |      |  0   0   1 |
//! ```
//!
//! F(4,3) has the points 0, ±a, ±b, ∞ with a = √½ and b = √2 instead of Lavin and Gray's 0, ±1, ±2, ∞: products of neighbouring points are then
//! 1, and rounding errors smaller (on choosing points: Barabasz, Anderson, Soodhalter and Gregg 2020). With p(x) = g₀ + g₁x + g₂x²,
//! nₐ = 2a²(a² − b²) and n_b = 2b²(b² − a²):
//!
//! ```text
//! G g    = ( g₀/(a²b²), p(a)/nₐ, p(−a)/nₐ, p(b)/n_b, p(−b)/n_b, g₂ )
//! (Bᵀd)₀ = a²b² d₀ − (a² + b²) d₂ + d₄                    (Aᵀx)ᵢ = aⁱ(x₁ ± x₂) + bⁱ(x₃ ± x₄), + for even i and − for odd i,
//! (Bᵀd)₁,₂ = (d₄ − b² d₂) ± a (d₃ − b² d₁)                         and x₀ is added for i = 0, x₅ for i = 3
//! (Bᵀd)₃,₄ = (d₄ − a² d₂) ± b (d₃ − a² d₁)
//! (Bᵀd)₅ = a²b² d₁ − (a² + b²) d₃ + d₅
//! ```
//!
//! In two and three dimensions, each axis is transformed after the other (Zlateski, Jia, Li and Durand 2018). An axis along which the kernel is 1
//! has one output from one input, m = 1, and is left as it is.

use crate::simd::{V, add, all, fma, fnma, mul, sub, zero};
use std::f64::consts::{FRAC_1_SQRT_2 as A, SQRT_2 as B};

/// Inputs, and products, of a tile with so many outputs.
pub(super) const fn points(outputs: usize) -> usize {
    if outputs == 1 { 1 } else { outputs + 2 }
}

/// Most inputs and outputs that an axis has.
pub(super) const MOST_POINTS: usize = 6;
pub(super) const MOST_OUTPUTS: usize = 4;

/// Bᵀ d of `M` outputs; entries beyond the points are anything, and zero afterwards.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(super) fn input<const M: usize>(d: &[V; 6]) -> [V; 6] {
    let z = zero();
    match M {
        1 => [d[0], z, z, z, z, z],
        2 => [sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3]), z, z],
        _ => {
            let (a, b, a2, b2, sum) = (all(A as f32), all(B as f32), all((A * A) as f32), all((B * B) as f32), all((A * A + B * B) as f32));
            let (even_a, odd_a) = (fnma(b2, d[2], d[4]), fnma(b2, d[1], d[3]));
            let (even_b, odd_b) = (fnma(a2, d[2], d[4]), fnma(a2, d[1], d[3]));
            [
                // a·b = 1
                add(fnma(sum, d[2], d[4]), d[0]),
                fma(a, odd_a, even_a),
                fnma(a, odd_a, even_a),
                fma(b, odd_b, even_b),
                fnma(b, odd_b, even_b),
                add(fnma(sum, d[3], d[5]), d[1]),
            ]
        }
    }
}

/// Aᵀ x: `M` outputs, zeros after them.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(super) fn output<const M: usize>(x: &[V; 6]) -> [V; 4] {
    let z = zero();
    match M {
        1 => [x[0], z, z, z],
        2 => [add(add(x[0], x[1]), x[2]), sub(sub(x[1], x[2]), x[3]), z, z],
        _ => {
            let (a, a2, a3) = (all(A as f32), all((A * A) as f32), all((A * A * A) as f32));
            let (b, b2, b3) = (all(B as f32), all((B * B) as f32), all((B * B * B) as f32));
            let (sum_a, difference_a, sum_b, difference_b) = (add(x[1], x[2]), sub(x[1], x[2]), add(x[3], x[4]), sub(x[3], x[4]));
            [
                add(add(x[0], sum_a), sum_b),
                fma(b, difference_b, mul(a, difference_a)),
                fma(b2, sum_b, mul(a2, sum_a)),
                fma(b3, difference_b, fma(a3, difference_a, x[5])),
            ]
        }
    }
}

/// G g for `outputs` outputs, zeros after the points; with one output, the kernel is `g[0]` alone.
pub(super) fn weights(outputs: usize, g: [f64; 3]) -> [f64; 6] {
    match outputs {
        1 => [g[0], 0.0, 0.0, 0.0, 0.0, 0.0],
        2 => [g[0], 0.5 * (g[0] + g[1] + g[2]), 0.5 * (g[0] - g[1] + g[2]), g[2], 0.0, 0.0],
        _ => {
            let (a2, b2) = (A * A, B * B);
            let (norm_a, norm_b) = (2.0 * a2 * (a2 - b2), 2.0 * b2 * (b2 - a2));
            let p = |x: f64| g[0] + x * g[1] + x * x * g[2];
            [g[0] / (a2 * b2), p(A) / norm_a, p(-A) / norm_a, p(B) / norm_b, p(-B) / norm_b, g[2]]
        }
    }
}
