//! Elementary functions that the compiler can turn into vector instructions, which those of the standard library are not.
//!
//! Plain arithmetic in a fixed order, so that every processor gives the same bits.

/// Base-2 logarithm of a positive, normal number; off by less than 3e-7, or as much in relation to it. A minimax polynomial.
#[inline(always)]
pub(super) fn log2(value: f32) -> f32 {
    /// √½, below which the exponent is one less and the mantissa doubled: it then lies around 1.
    const HALF_ROOT: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();
    let bits = value.to_bits().wrapping_sub(HALF_ROOT);
    let exponent = (bits as i32) >> 23;
    let x = f32::from_bits((bits & 0x007f_ffff) + HALF_ROOT) - 1.0;
    let mut y = -1.497_332e-1_f32;
    for coefficient in [2.357_096e-1, -2.483_228e-1, 2.868_688_7e-1, -3.602_634_7e-1, 4.809_311_6e-1, -7.213_524_6e-1, 1.442_694_9] {
        y = y * x + coefficient;
    }
    y * x + exponent as f32
}

/// 2 to the power of `value`, which is not positive; below -126 as at -126. The relative error is less than 2e-7. A minimax polynomial.
#[inline(always)]
fn exp2(value: f32) -> f32 {
    /// Adding it leaves no room for fractions.
    const WHOLE: f32 = 12_582_912.0;
    let value = if value < -126.0 { -126.0 } else { value };
    let shifted = value + WHOLE;
    let x = value - (shifted - WHOLE);
    let mut y = 1.341_000_6e-3_f32;
    for coefficient in [9.676_036e-3, 5.550_297_4e-2, 2.402_210_7e-1, 6.931_472_4e-1, 1.0] {
        y = y * x + coefficient;
    }
    y * f32::from_bits(shifted.to_bits().wrapping_sub(WHOLE.to_bits()).wrapping_add(127) << 23)
}

/// `base` to the power of `exponent`, for `base` from 0 to 1 and `exponent` > 0.
#[inline(always)]
pub(super) fn power(base: f32, exponent: f32) -> f32 {
    let raised = exp2(exponent * log2(base));
    // Also for what is too small to be a normal number.
    if base < f32::MIN_POSITIVE { 0.0 } else { raised }
}

/// The standard normal number below which a share of `(bits + ½) / 2³²` lies: equally likely bits become normal numbers. M. Giles,
/// "Approximating the erfinv function", GPU Computing Gems 2 (2010).
#[inline(always)]
pub(super) fn normal(bits: u32) -> f32 {
    // The distance to the nearer end, in halves of the lowest of 31 bits: exact where it matters, in the tails.
    let negative = bits >> 31 == 0;
    let from_end = if negative { bits } else { !bits };
    let tail = (from_end as i32 as f32 + 0.5) * (1.0 / 2_147_483_648.0);
    // With p = tail / 2 and x = 1 - tail: (1 - x)(1 + x) = tail (2 - tail).
    let w = -std::f32::consts::LN_2 * log2(tail * (2.0 - tail));
    let near = w - 2.5;
    let mut low = 2.810_226_4e-8_f32;
    for coefficient in
        [3.432_739_4e-7, -3.523_387_7e-6, -4.391_506_6e-6, 2.185_808_7e-4, -1.253_725e-3, -4.177_681_6e-3, 2.466_407_2e-1, 1.501_409_4]
    {
        low = low * near + coefficient;
    }
    let far = w.sqrt() - 3.0;
    let mut high = -2.002_142_6e-4_f32;
    for coefficient in
        [1.009_505_6e-4, 1.349_343_2e-3, -3.673_428_4e-3, 5.739_507_7e-3, -7.622_461_3e-3, 9.438_87e-3, 1.001_674, 2.832_976_8]
    {
        high = high * far + coefficient;
    }
    let size = std::f32::consts::SQRT_2 * (1.0 - tail) * if w < 5.0 { low } else { high };
    if negative { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_the_standard_library() {
        for i in 0..=100_000 {
            let base = i as f32 / 100_000.0;
            for exponent in [0.01, 0.3, 0.7, 1.0, 1.5, 4.0] {
                let (found, expected) = (power(base, exponent), f64::from(base).powf(f64::from(exponent)) as f32);
                assert!((found - expected).abs() < 6e-7, "{base} to the power of {exponent}: {found} instead of {expected}");
            }
        }
        assert_eq!((power(0.0, 0.7), power(1.0, 0.7), power(1e-40, 0.7)), (0.0, 1.0, 0.0));
    }

    #[test]
    fn normal_numbers_have_the_right_shares() {
        let share = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let mut before = f32::NEG_INFINITY;
        for i in 0..=4096_u32 {
            let bits = if i == 4096 { u32::MAX } else { i << 20 };
            let (value, expected) = (normal(bits), (f64::from(bits) + 0.5) / 4_294_967_296.0);
            let found = share(f64::from(value));
            let bound = 2e-6 * expected.min(1.0 - expected) + 1e-10;
            assert!((found - expected).abs() < bound * 4.0, "{bits}: {value} has {found} below it, not {expected}");
            assert!(value > before, "{bits}");
            before = value;
        }
        assert!((6.0..6.5).contains(&normal(u32::MAX)) && (-6.5..-6.0).contains(&normal(0)));
    }
}
