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

/// The table of extension `id` of `T`; null where it has none.
pub(crate) unsafe extern "C" fn find<T: Trainer>(id: Str) -> *const c_void {
    // SAFETY: the id is lent for the call.
    let id = unsafe { id.bytes() };
    T::EXTENSIONS.iter().find(|extension| extension.id.as_bytes() == id).map_or(std::ptr::null(), |extension| extension.table)
}
