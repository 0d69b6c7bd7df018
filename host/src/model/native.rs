//! A trunk on the CPU engine, ready for patches of one size; the heads stay the plugin's, on ordinary tensors.

use super::{Error, Model};
use crate::network::{self, TrunkGraph};
use kernels::{Instructions, Network, Pool, View};
use plugin_api::manifest::FORWARD;
use plugin_api::{Features, Kind, Outputs, Pass};
use std::rc::Rc;
use tch::{Device, Kind as Dtype, Tensor};

/// A model's trunk with the weights that it had when this was made.
pub struct Native {
    network: Network,
    pool: Rc<Pool>,
    /// What the network's outputs are, in their order.
    places: Vec<Place>,
    /// How many maps there are in [`Features`], whether they are computed or not: of the decoder, and skips.
    maps: [usize; 2],
    dims: usize,
}

/// Where a map belongs in [`Features`].
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Decoder(usize),
    Bottleneck,
    Skip(usize),
}

impl Native {
    /// Packs the weights of the trunk of `model` for `patch` (z, y, x), in batches of up to `images`.
    ///
    /// # Errors
    /// When the engine has no such layers, or the system no more memory.
    pub fn new(model: &Model, pool: &Rc<Pool>, patch: [usize; 3], images: usize) -> Result<Self, Error> {
        let instructions = Instructions::best().ok_or_else(|| failed("this processor lacks AVX2"))?;
        let TrunkGraph { graph, decoder, bottleneck, skips } = model.trunk.graph()?;
        let keeps_forward = model.trainer.identity().manifest.keeps(FORWARD);
        let has_class = model.trainer.outputs().iter().any(|output| output.kind == Kind::Class);
        // A kept `forward` makes the finest level from the finest map, and classes from the bottleneck, too.
        let is_read = |place: &Place| match place {
            Place::Decoder(0) => true,
            Place::Bottleneck => has_class || !keeps_forward,
            _ => !keeps_forward,
        };
        let maps = [decoder.len(), skips.len()];
        let all = decoder.iter().enumerate().map(|(i, value)| (Place::Decoder(i), *value));
        let all = all.chain([(Place::Bottleneck, bottleneck)]).chain(skips.iter().enumerate().map(|(i, value)| (Place::Skip(i), *value)));
        let (places, values): (Vec<Place>, Vec<_>) = all.filter(|(place, _)| is_read(place)).unzip();
        let network = Network::new(pool, graph, patch, images, &values, instructions).map_err(failed)?;
        Ok(Self { network, pool: Rc::clone(pool), places, maps, dims: model.task.dims })
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self) -> usize {
        self.network.bytes()
    }

    /// Gives back what is only needed while images go through.
    pub fn release(&mut self) {
        self.network.release();
    }

    /// The features that the heads of `model` read; other maps are empty.
    fn features(&mut self, images: &[View]) -> Result<Features, Error> {
        let batch = images.len() as i64;
        let mut computed = Vec::with_capacity(self.places.len());
        for index in 0..self.places.len() {
            let [channels, z, y, x] = self.network.output_shape(index).map(|size| size as i64);
            let shape = if self.dims == 2 { vec![batch, channels, y, x] } else { vec![batch, channels, z, y, x] };
            computed.push(Tensor::f_empty(&shape, (Dtype::Float, Device::Cpu))?);
        }
        let mut outputs: Vec<&mut [f32]> = computed.iter().map(floats).collect();
        self.network.forward(&self.pool, images, &mut outputs).map_err(failed)?;
        let empty = || Tensor::f_zeros([batch, 0], (Dtype::Float, Device::Cpu));
        let map = |place: Place| match self.places.iter().position(|other| *other == place) {
            Some(index) => Ok(computed[index].shallow_clone()),
            None => empty(),
        };
        Ok(Features {
            decoder: (0..self.maps[0]).map(|i| map(Place::Decoder(i))).collect::<Result<_, _>>()?,
            bottleneck: map(Place::Bottleneck)?,
            skips: (0..self.maps[1]).map(|i| map(Place::Skip(i))).collect::<Result<_, _>>()?,
        })
    }
}

/// As many threads as libtorch has.
///
/// # Errors
/// When the system gives no more.
pub fn native_threads() -> Result<Rc<Pool>, Error> {
    Ok(Rc::new(Pool::new(usize::try_from(tch::get_num_threads()).unwrap_or(1)).map_err(failed)?))
}

fn failed(reason: impl ToString) -> network::Error {
    network::Error::Engine(reason.to_string())
}

/// The floats of a new tensor.
#[expect(clippy::mut_from_ref, reason = "tensors share their storage")]
fn floats(tensor: &Tensor) -> &mut [f32] {
    // SAFETY: a contiguous tensor of floats on the CPU, which `features` has just made and nobody else knows.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<f32>(), tensor.numel()) }
}

impl Model {
    /// The finest level of every output for `images`, the trunk computed by `native`, which was made of this model.
    pub fn forward_native(&self, native: &mut Native, images: &[View]) -> Result<Outputs, Error> {
        let features = native.features(images)?;
        Ok(self.trainer.forward(&features, &Pass { training: false, levels: 1, amp: false }, 0)?)
    }
}

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_list().entries(self.network.layers()).finish()
    }
}
