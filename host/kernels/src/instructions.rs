//! What the processor can do, asked when the program runs.

/// Instructions that a network is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// AVX2 and FMA.
    Avx2,
    /// These, and AVX-512F.
    Avx512,
}

impl Instructions {
    /// The fastest ones that this processor has, if it has any.
    pub fn best() -> Option<Self> {
        [Self::Avx512, Self::Avx2].into_iter().find(|instructions| instructions.are_there())
    }

    /// Whether this processor has them.
    #[cfg(target_arch = "x86_64")]
    pub fn are_there(self) -> bool {
        let has_avx2 = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        has_avx2 && (self == Self::Avx2 || std::arch::is_x86_feature_detected!("avx512f"))
    }

    /// Whether this processor has them.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn are_there(self) -> bool {
        false
    }
}
