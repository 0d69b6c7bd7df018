//! Operations on many tensors at once, which an optimiser step is made of. Lists that belong together have one entry a tensor.

use super::{Error, check};
use std::ffi::{c_char, c_int};
use tch::Tensor;
use torch_sys::C_tensor;

type Handles = *const *const C_tensor;
type Message = *mut *mut c_char;

unsafe extern "C" {
    fn shim_clip_gradients(
        clipped: Handles,
        n_clipped: usize,
        others: Handles,
        n_others: usize,
        max_norm: f64,
        scale: f64,
        norm: *mut f64,
        error: Message,
    ) -> c_int;
    fn shim_sgd(tensors: Handles, velocities: Handles, n: usize, lr: f64, momentum: f64, weight_decay: f64, error: Message) -> c_int;
    fn shim_adam(
        tensors: Handles,
        means: Handles,
        squares: Handles,
        largest: Handles,
        steps: Handles,
        n: usize,
        options: *const Adam,
        error: Message,
    ) -> c_int;
    fn shim_lerp(averages: Handles, tensors: Handles, n: usize, weight: f64, error: Message) -> c_int;
    fn shim_swap(left: Handles, right: Handles, n: usize, error: Message) -> c_int;
    fn shim_versions(tensors: Handles, n: usize, versions: *mut u32);
    fn shim_clear_gradients(tensors: Handles, n: usize, error: Message) -> c_int;
}

/// Settings of a step of Adam, or of AdamW.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean.
    pub beta1: f64,
    /// Decay of the mean square.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Not 0: AdamW.
    pub decoupled: c_int,
    /// Not 0: divides by the largest mean square so far.
    pub amsgrad: c_int,
}

/// What Adam remembers of every tensor; all of it starts at zero.
#[derive(Clone, Copy, Debug)]
pub struct AdamState<'a> {
    /// Running means of gradients.
    pub means: &'a [Tensor],
    /// Running means of their squares.
    pub squares: &'a [Tensor],
    /// The largest of these; empty without amsgrad.
    pub largest: &'a [Tensor],
    /// Steps so far, f32 scalars.
    pub steps: &'a [Tensor],
}

fn pointers(tensors: &[Tensor]) -> Vec<*const C_tensor> {
    tensors.iter().map(Tensor::as_ptr).collect()
}

/// Divides all gradients by `scale`, clips the norm of those of `clipped` together to `max_norm`, and returns what it was (torch's
/// `clip_grad_norm_`). Infinite where any gradient is not finite; then gradients stay as they are.
pub fn clip_gradients(clipped: &[Tensor], others: &[Tensor], max_norm: f64, scale: f64) -> Result<f64, Error> {
    let (bounded, free, mut norm) = (pointers(clipped), pointers(others), 0.0);
    let (bounded_ptr, free_ptr) = (bounded.as_ptr(), free.as_ptr());
    // SAFETY: the handles are valid for as long as the slices are borrowed; only their gradients change.
    check(|error| unsafe { shim_clip_gradients(bounded_ptr, bounded.len(), free_ptr, free.len(), max_norm, scale, &mut norm, error) })?;
    Ok(norm)
}

/// One step of SGD with Nesterov momentum on every tensor that has a gradient; `velocities` start at zero.
pub fn sgd(tensors: &[Tensor], velocities: &[Tensor], lr: f64, momentum: f64, weight_decay: f64) -> Result<(), Error> {
    assert_eq!(tensors.len(), velocities.len(), "one velocity a tensor");
    let (handles, momenta) = (pointers(tensors), pointers(velocities));
    // SAFETY: both arrays are valid while borrowed and of the same length; an optimiser step is the one writer of its parameters.
    check(|error| unsafe { shim_sgd(handles.as_ptr(), momenta.as_ptr(), handles.len(), lr, momentum, weight_decay, error) })
}

/// One step of Adam on every tensor that has a gradient.
pub fn adam(tensors: &[Tensor], state: AdamState, options: &Adam) -> Result<(), Error> {
    let [handles, means, squares, largest, steps] = [tensors, state.means, state.squares, state.largest, state.steps].map(pointers);
    let lengths = [means.len(), squares.len(), steps.len()];
    assert_eq!(lengths, [handles.len(); 3], "one of each a tensor");
    assert!(options.amsgrad == 0 || largest.len() == handles.len(), "one largest square a tensor");
    // SAFETY: all arrays are valid while borrowed and of the same length; an optimiser step is the one writer of its parameters.
    check(|error| unsafe {
        shim_adam(handles.as_ptr(), means.as_ptr(), squares.as_ptr(), largest.as_ptr(), steps.as_ptr(), handles.len(), options, error)
    })
}

/// `averages += weight · (tensors − averages)`.
pub fn lerp(averages: &[Tensor], tensors: &[Tensor], weight: f64) -> Result<(), Error> {
    assert_eq!(averages.len(), tensors.len(), "one average a tensor");
    let (averages, tensors) = (pointers(averages), pointers(tensors));
    // SAFETY: both arrays are valid while borrowed and of the same length; the averages have no other user during the call.
    check(|error| unsafe { shim_lerp(averages.as_ptr(), tensors.as_ptr(), tensors.len(), weight, error) })
}

/// Swaps what the tensors of both lists hold, without copying.
pub fn swap(left: &[Tensor], right: &[Tensor]) -> Result<(), Error> {
    assert_eq!(left.len(), right.len(), "pairs");
    let (left, right) = (pointers(left), pointers(right));
    // SAFETY: both arrays are valid while borrowed and of the same length; no graph holds what is swapped.
    check(|error| unsafe { shim_swap(left.as_ptr(), right.as_ptr(), left.len(), error) })
}

/// How often each of `tensors`, or what it shares memory with, was written to in place: libtorch counts that for autograd. Costs no more
/// than reading a number each.
pub fn versions<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Vec<u32> {
    let handles: Vec<*const C_tensor> = tensors.map(Tensor::as_ptr).collect();
    let mut versions = vec![0; handles.len()];
    // SAFETY: the handles are valid while borrowed; there is room for as many numbers.
    unsafe { shim_versions(handles.as_ptr(), handles.len(), versions.as_mut_ptr()) };
    versions
}

/// Removes the gradients of `tensors`.
pub fn clear_gradients(tensors: &[Tensor]) -> Result<(), Error> {
    let handles = pointers(tensors);
    // SAFETY: valid while borrowed; only their gradients change.
    check(|error| unsafe { shim_clear_gradients(handles.as_ptr(), handles.len(), error) })
}
