//! Further abilities of a trainer, each a trait, a table of C functions, and an id `trainer.NAME/REVISION` under which the host asks for it.
//!
//! A trainer offers what its [`EXTENSIONS`](Trainer::EXTENSIONS) list; a host uses those that it knows and leaves the others alone. A table is frozen once
//! released: what it lacks comes as its next revision, beside it. Ids of others begin with a name of theirs, `org.lab.NAME/REVISION`.

pub mod loss_with_grad;
pub mod metrics;
pub mod target_transform;

use crate::Trainer;
use crate::abi::Str;
use std::ffi::c_void;

pub use loss_with_grad::{LossWithGrad, TermWithGrad};
pub use metrics::{Metric, Metrics};
pub use target_transform::{MadeTarget, Sample, TargetPatch, TargetTransform, Values, ValuesMut};

/// An extension that a trainer offers: its id beside its table.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    id: &'static str,
    table: *const c_void,
}

impl Extension {
    /// [`Metrics`] of `T`.
    pub const fn metrics<T: Metrics>() -> Self {
        Self::new(metrics::ID, &metrics::Of::<T>::TABLE)
    }

    /// [`LossWithGrad`] of `T`.
    pub const fn loss_with_grad<T: LossWithGrad>() -> Self {
        Self::new(loss_with_grad::ID, &loss_with_grad::Of::<T>::TABLE)
    }

    /// [`TargetTransform`] `T`, of the trainer that it names.
    pub const fn target_transform<T: TargetTransform>() -> Self {
        Self::new(target_transform::ID, &target_transform::Of::<T>::TABLE)
    }

    /// One of your own: `table` is whatever a host that knows `id` takes it for.
    pub const fn new<Table>(id: &'static str, table: &'static Table) -> Self {
        Self { id, table: std::ptr::from_ref(table).cast() }
    }
}

/// Whether `T` lists extension `id`.
#[doc(hidden)]
pub const fn lists<T: Trainer>(id: &str) -> bool {
    let mut i = 0;
    while i < T::EXTENSIONS.len() {
        if same(T::EXTENSIONS[i].id.as_bytes(), id.as_bytes()) {
            return true;
        }
        i += 1;
    }
    false
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// Length of [`ids`].
#[doc(hidden)]
pub const fn ids_length<T: Trainer>() -> usize {
    let (mut length, mut i) = (0, 0);
    while i < T::EXTENSIONS.len() {
        length += T::EXTENSIONS[i].id.len() + if i == 0 { 2 } else { 3 };
        i += 1;
    }
    length
}

/// The ids that `T` lists, quoted, with commas between them.
#[doc(hidden)]
pub const fn ids<T: Trainer, const N: usize>() -> [u8; N] {
    let mut out = [b'"'; N];
    let (mut at, mut i) = (0, 0);
    while i < T::EXTENSIONS.len() {
        if i > 0 {
            out[at] = b',';
            at += 1;
        }
        let id = T::EXTENSIONS[i].id.as_bytes();
        let mut j = 0;
        while j < id.len() {
            out[at + 1 + j] = id[j];
            j += 1;
        }
        at += id.len() + 2;
        i += 1;
    }
    out
}

/// Which traits of extensions a type implements, as constants: an inherent one, which there is only where the trait is implemented, hides that of the trait
/// [`Unimplemented`](listed::Unimplemented), which every type has.
#[doc(hidden)]
pub mod listed {
    use super::{LossWithGrad, Metrics};
    use std::marker::PhantomData;

    /// Of `T`.
    #[derive(Debug)]
    pub struct Implements<T>(PhantomData<T>);

    /// Neither.
    pub trait Unimplemented {
        /// [`Metrics`].
        const METRICS: bool = false;
        /// [`LossWithGrad`].
        const LOSS_WITH_GRAD: bool = false;
    }

    impl<T> Unimplemented for Implements<T> {}

    impl<T: Metrics> Implements<T> {
        /// [`Metrics`].
        pub const METRICS: bool = true;
    }

    impl<T: LossWithGrad> Implements<T> {
        /// [`LossWithGrad`].
        pub const LOSS_WITH_GRAD: bool = true;
    }
}

/// The table of extension `id` of `T`; null where it has none.
pub(crate) unsafe extern "C" fn find<T: Trainer>(id: Str) -> *const c_void {
    // SAFETY: the id is lent for the call.
    let id = unsafe { id.bytes() };
    T::EXTENSIONS.iter().find(|extension| extension.id.as_bytes() == id).map_or(std::ptr::null(), |extension| extension.table)
}
