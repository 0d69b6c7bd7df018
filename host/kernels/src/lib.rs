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

mod choice;
mod direct;
mod graph;
mod map;
mod memory;
mod moments;
mod network;
mod norm;
mod panel;
mod pointwise;
mod pool;
mod simd;
mod view;
mod winograd;

pub use graph::{Convolution, Graph, Norm, TransposedConvolution, Value};
pub use network::{Error, Network};
pub use panel::Instructions;
pub use pool::Pool;
pub use view::View;
