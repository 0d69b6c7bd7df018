//! Why a network cannot be computed here.

/// A network cannot be computed here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The processor lacks instructions.
    #[error("the processor lacks {0:?}")]
    Processor(crate::Instructions),
    /// A layer is not one that there are kernels for.
    #[error("{0}")]
    Layer(String),
    /// The system gives no more memory.
    #[error("out of memory: a map of {0} bytes does not fit")]
    Memory(usize),
}
