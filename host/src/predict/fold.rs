//! The network of one fold and what computes it: libtorch, or the CPU engine for its trunk.
//!
//! Some tiles of the padded image go through it together, once for every mirror image. libtorch gets them stacked and turned around; the CPU engine
//! reads them in place.

use super::Window;
use crate::model::{Error, Model, Native, native_threads};
use kernels::{Pool, View};
use plugin_api::Outputs;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use tch::{Device, Tensor};

/// Slices that go through the CPU engine at once: enough that the weights of its deep layers are read seldom.
const SLICES: usize = 8;

/// Bytes of packed weights of all folds that stay in memory; beyond that, every fold's are packed when its turn comes. They are up to eight times
/// as large as the weights.
const MOST_PACKED: usize = 1 << 30;

/// A network, and what computes it.
#[derive(Debug)]
pub struct Fold<'a> {
    pub(super) model: &'a Model,
    /// The trunk on the CPU engine, if that computes it.
    engine: Option<OnEngine>,
}

/// A trunk on the CPU engine.
pub(super) struct OnEngine {
    threads: Rc<Pool>,
    /// (z, y, x).
    patch: [usize; 3],
    /// Tiles that go through together.
    images: usize,
    /// Its weights stay packed.
    stays: bool,
    native: RefCell<Option<Native>>,
}

/// Tiles of an image that go through a network together.
pub(super) enum Tiles<'a> {
    /// `(B, C, [Z,] Y, X)`.
    Stacked {
        model: &'a Model,
        batch: Tensor,
    },
    InPlace {
        model: &'a Model,
        engine: &'a OnEngine,
        image: Tensor,
        corners: &'a [[usize; 3]],
        dims: usize,
    },
}

impl<'a> Fold<'a> {
    /// With libtorch.
    pub fn new(model: &'a Model) -> Self {
        Self { model, engine: None }
    }

    /// All folds of one network with the CPU engine, for the patches of `window`.
    ///
    /// # Errors
    /// When the engine cannot compute the network.
    pub fn on_engine(models: &[&'a Model], window: &Window) -> Result<Vec<Self>, Error> {
        let Window { dims, patch: [z, y, x], .. } = *window;
        let (patch, images) = if dims == 2 { ([1, y, x], SLICES) } else { ([z, y, x], 1) };
        let threads = native_threads()?;
        let mut folds = Vec::with_capacity(models.len());
        let mut stays = true;
        for model in models {
            let native = if stays { Some(Native::new(model, &threads, patch, images)?) } else { None };
            // All folds have the same layers.
            stays = native.as_ref().is_some_and(|native| models.len() == 1 || native.bytes() * models.len() <= MOST_PACKED);
            let native = RefCell::new(native.filter(|_| stays));
            folds.push(Self { model, engine: Some(OnEngine { threads: Rc::clone(&threads), patch, images, stays, native }) });
        }
        Ok(folds)
    }

    /// Tiles that go through the network at once. On CPUs, whose threads share the work within a tile, more of them gain nothing, but for slices, which
    /// are small.
    pub(super) fn tiles_at_once(&self, dims: usize) -> usize {
        match (&self.engine, dims, self.model.parameters.device()) {
            (Some(engine), ..) => engine.images,
            (None, 2, _) => 32,
            (None, _, Device::Cpu) => 1,
            _ => 4,
        }
    }

    /// Gives back the memory that an image needed.
    pub(super) fn release(&self) {
        if let Some(OnEngine { stays, native, .. }) = &self.engine {
            let mut native = native.borrow_mut();
            *native = native.take().filter(|_| *stays);
            native.iter_mut().for_each(Native::release);
        }
    }

    /// The tiles of `padded` (C, Z, Y, X), on the model's device, at `corners`; 2D networks see slices.
    pub(super) fn tiles(&'a self, padded: &Tensor, corners: &'a [[usize; 3]], patch: [usize; 3], dims: usize) -> Result<Tiles<'a>, Error> {
        if let Some(engine) = &self.engine {
            return Ok(Tiles::InPlace { model: self.model, engine, image: padded.f_contiguous()?, corners, dims });
        }
        let views = corners.iter().map(|corner| part(padded, *corner, patch)).collect::<Result<Vec<_>, _>>()?;
        let batch = Tensor::f_stack(&views, 0)?;
        let batch = if dims == 2 { batch.f_squeeze_dim(2)? } else { batch };
        Ok(Tiles::Stacked { model: self.model, batch })
    }
}

impl Tiles<'_> {
    /// The finest level of every output for the mirror images along `axes`, counted from z for 3D and from y for 2D. Outputs are mirrored, too.
    pub fn forward(&self, axes: &[usize]) -> Result<Outputs, Error> {
        match self {
            Self::Stacked { model, batch } => {
                let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64 + 2).collect();
                let input = if axes.is_empty() { batch.shallow_clone() } else { batch.f_flip(&axes)? };
                model.forward(&input, 1, false, 0)
            }
            Self::InPlace { model, engine, image, corners, dims } => {
                let mut mirrored = [false; 3];
                axes.iter().for_each(|axis| mirrored[axis + 3 - dims] = true);
                let size = image.size();
                let shape = std::array::from_fn(|axis| size[axis] as usize);
                // SAFETY: `tiles` made it contiguous; images are floats on the model's device, which is the CPU where the engine computes.
                let data = unsafe { std::slice::from_raw_parts(image.data_ptr().cast::<f32>(), image.numel()) };
                let views: Vec<View> = corners.iter().map(|corner| View::new(data, shape, *corner, engine.patch, mirrored)).collect();
                let mut native = engine.native.borrow_mut();
                let native = match &mut *native {
                    Some(native) => native,
                    empty => empty.insert(Native::new(model, &engine.threads, engine.patch, engine.images)?),
                };
                model.forward_native(native, &views)
            }
        }
    }
}

/// The box of `size` at `corner` of `volume` (C, Z, Y, X).
pub(super) fn part(volume: &Tensor, corner: [usize; 3], size: [usize; 3]) -> Result<Tensor, Error> {
    let mut view = volume.shallow_clone();
    for axis in 0..3 {
        view = view.f_narrow(axis as i64 + 1, corner[axis] as i64, size[axis] as i64)?;
    }
    Ok(view)
}

impl fmt::Debug for OnEngine {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("OnEngine").field("patch", &self.patch).field("stays", &self.stays).finish_non_exhaustive()
    }
}
