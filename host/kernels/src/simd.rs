//! Eight numbers at once: the AVX2 and FMA instructions that the kernels are written in.
//!
//! Every function needs a processor with both; [`Instructions::are_there`](crate::Instructions::are_there) is asked once, before a network is made.

use std::arch::x86_64::*;

/// The values of one block of eight channels at one voxel.
pub(crate) type V = __m256;

#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn zero() -> V {
    _mm256_setzero_ps()
}

#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn all(value: f32) -> V {
    _mm256_set1_ps(value)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn add(a: V, b: V) -> V {
    _mm256_add_ps(a, b)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn sub(a: V, b: V) -> V {
    _mm256_sub_ps(a, b)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn mul(a: V, b: V) -> V {
    _mm256_mul_ps(a, b)
}

/// a·b + c
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn fma(a: V, b: V, c: V) -> V {
    _mm256_fmadd_ps(a, b, c)
}

/// c − a·b
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn fnma(a: V, b: V, c: V) -> V {
    _mm256_fnmadd_ps(a, b, c)
}

/// The larger one; `b` where one of them is not a number.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn max(a: V, b: V) -> V {
    _mm256_max_ps(a, b)
}

/// # Safety
/// Eight floats can be read at `from`.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) unsafe fn load(from: *const f32) -> V {
    // SAFETY: the caller's promise; the load needs no alignment.
    unsafe { _mm256_loadu_ps(from) }
}

/// # Safety
/// Eight floats can be written at `to`, and nobody else reads or writes them meanwhile.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) unsafe fn store(to: *mut f32, value: V) {
    // SAFETY: the caller's promise; the store needs no alignment.
    unsafe { _mm256_storeu_ps(to, value) }
}

/// An array's eight floats.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn of(values: &[f32; 8]) -> V {
    // SAFETY: the array has eight floats.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}
