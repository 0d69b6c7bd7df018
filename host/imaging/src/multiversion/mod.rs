//! Function multiversioning: loops over voxels are compiled several times, for processors with different vector instructions, and the
//! best variant that this processor can run is called.
//!
//! All variants of a function give the same bits. However wide the vectors are, rustc keeps floating-point arithmetic in the order in
//! which it is written, and never makes one operation of a product and a sum. `tests` compares every variant of every function.

#[cfg(test)]
pub(crate) mod tests;

use std::sync::OnceLock;

/// What a function is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Every processor of the architecture.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Variant {
    /// The best that this processor can run.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Variant> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().filter(|(_, supported)| *supported).last().map_or(Self::Portable, |(variant, _)| variant))
    }

    /// All of them, from the slowest to the fastest, and whether this processor can run them.
    fn all() -> impl Iterator<Item = (Self, bool)> {
        #[cfg(target_arch = "x86_64")]
        let others = multiversion! { @with_instruction_sets detect };
        #[cfg(not(target_arch = "x86_64"))]
        let others = [];
        std::iter::once((Self::Portable, true)).chain(others)
    }
}

/// Compiles a function for every [`Variant`]. Calling it calls the best one, which costs about as much as a call through a pointer: loops
/// belong inside. Whatever is called in the loop has to be inlined, or it stays portable. Arguments are names, not patterns.
///
/// ```text
/// multiversion! {
///     /// Changes all values.
///     pub(super) fn scale(values: &mut [f32], factor: f32) {
///         values.iter_mut().for_each(|value| *value *= factor);
///     }
/// }
/// ```
macro_rules! multiversion {
    // What AVX2 and AVX-512 variants need. Nothing else lists it, so that a function is compiled with what the processor is asked for.
    // VBMI2 came with Ice Lake and Zen 4; earlier processors slow down when they use wide vectors.
    (@with_instruction_sets $rule:ident $($input:tt)*) => {
        $crate::multiversion::multiversion! {
            @$rule ["avx2"] ["avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512vbmi2"] $($input)*
        }
    };
    (@detect [$($avx2:tt)+] [$($avx512:tt)+]) => {
        [
            (Variant::Avx2, $(std::arch::is_x86_feature_detected!($avx2))&&+),
            (Variant::Avx512, $(std::arch::is_x86_feature_detected!($avx512))&&+),
        ]
    };
    (
        @function [$($avx2:tt)+] [$($avx512:tt)+]
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block
    ) => {
        $(#[$attribute])*
        // A caller is not lengthened by the choice, nor by the loop of the portable variant, which it seldom runs.
        #[inline(never)]
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            fn portable($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            $(#[target_feature(enable = $avx2)])+
            fn avx2($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            $(#[target_feature(enable = $avx512)])+
            fn avx512($($argument: $type),*) $(-> $result)? $body

            let variant = $crate::multiversion::Variant::best();
            #[cfg(test)]
            let variant = $crate::multiversion::tests::demanded(file!(), stringify!($name)).unwrap_or(variant);
            match variant {
                $crate::multiversion::Variant::Portable => portable($($argument),*),
                #[cfg(target_arch = "x86_64")]
                $crate::multiversion::Variant::Avx2 => {
                    // SAFETY: the variant is one of those that this processor supports.
                    unsafe { avx2($($argument),*) }
                }
                #[cfg(target_arch = "x86_64")]
                $crate::multiversion::Variant::Avx512 => {
                    // SAFETY: as above.
                    unsafe { avx512($($argument),*) }
                }
            }
        }
    };
    ($($function:tt)*) => {
        $crate::multiversion::multiversion! { @with_instruction_sets function $($function)* }
    };
}
pub(crate) use multiversion;
