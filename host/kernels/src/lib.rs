//! The CPU engine: networks of nnU-Net on slices of floats, without libtorch, on processors with AVX2 and FMA.
//!
//! A [`Graph`] says what a network computes. [`Network::new`] makes it ready for images of one size: it chooses an algorithm for every layer and
//! packs the weights. [`Network::forward`] then reads images in place ([`View`]) and writes the values that are asked for as plain arrays.
//!
//! ```text
//! View ─ direct ─ map ─ winograd ─ map ─ … ─ transposed ─ map ─┬ winograd ─ … ─ unblock ─ array (image, channel, z, y, x)
//!                  └───────────────── skip ────────────────────┘
//! ```
//! Where things are: `map` is the layout that layers share, `panel` the one multiplication that all of them stand on; `winograd` and `direct` are the
//! two ways to convolve and `choice` decides between their variants; `norm`, `moments` and `pointwise` do the rest; `pool` has the threads.

mod error;
mod graph;
mod instructions;
mod view;

#[cfg(target_arch = "x86_64")]
mod choice;
#[cfg(target_arch = "x86_64")]
mod direct;
#[cfg(target_arch = "x86_64")]
mod map;
#[cfg(target_arch = "x86_64")]
mod memory;
#[cfg(target_arch = "x86_64")]
mod moments;
#[cfg(target_arch = "x86_64")]
mod network;
#[cfg(target_arch = "x86_64")]
mod norm;
#[cfg(target_arch = "x86_64")]
mod panel;
#[cfg(target_arch = "x86_64")]
mod pointwise;
#[cfg(target_arch = "x86_64")]
mod pool;
#[cfg(target_arch = "x86_64")]
mod simd;
#[cfg(target_arch = "x86_64")]
mod winograd;

#[cfg(not(target_arch = "x86_64"))]
mod elsewhere;

#[cfg(not(target_arch = "x86_64"))]
pub use elsewhere::{Network, Pool};
pub use error::Error;
pub use graph::{Convolution, Graph, Norm, TransposedConvolution, Value};
pub use instructions::Instructions;
#[cfg(target_arch = "x86_64")]
pub use network::Network;
#[cfg(target_arch = "x86_64")]
pub use pool::Pool;
pub use view::View;
