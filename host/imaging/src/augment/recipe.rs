//! A pipeline whose numbers are drawn: how one patch is made, of the image and of every target.
//!
//! What a recipe is made of can be read from JSON in tests: that is how nnU-Net's drawn numbers come into it.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::intensity::{self, Operation};
use super::placement::{Placement, Sampling};
use super::previous_stage::{self, PreviousStage};
use super::sample::Outside;
use super::spatial::{Interpolation, Moved};
use super::{Augmentation, Scratch};
use crate::{BoundingBox, VolumeView};

/// Outside the volume, in the image.
const OUTSIDE_IMAGE: f32 = 0.0;
/// nnU-Net's mark for voxels that do not belong to the case.
const OUTSIDE_LABELS: i16 = -1;
/// But of those beyond the box that it loads it knows nothing.
const BEYOND_FRAME: i16 = 0;

/// How one patch is made. All that is random is decided: it makes the same patch whenever it is used.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub(super) placement: Placement,
    pub(super) image: Interpolation,
    pub(super) labels: Interpolation,
    /// Channel and what is done to it, in order.
    pub(super) operations: Vec<(usize, Operation)>,
    /// What is done to the segmentation of a previous stage, and the seed of that.
    pub(super) stage: Option<(PreviousStage, u64)>,
}

impl Recipe {
    /// Draws a recipe for the patch of size `size` (Z, Y, X) whose lower corner is voxel `origin`, which may lie outside, of a volume of
    /// spatial shape `volume` with `channels` image channels. `augmentation` must be [valid](Augmentation::check) for the size.
    pub fn draw(
        augmentation: &Augmentation,
        volume: [usize; 3],
        origin: [i64; 3],
        size: [usize; 3],
        channels: usize,
        rng: &mut impl Rng,
    ) -> Self {
        let mut moved = Moved::default();
        augmentation.moves().into_iter().filter_map(|(_, found)| found).for_each(|found| found.add(&mut moved, size, rng));
        let mut operations = Vec::new();
        for step in &augmentation.intensity {
            step.draw(channels, size, rng, &mut |channel, operation| operations.push((channel, operation)));
        }
        Self {
            placement: Placement::new(volume, origin, size, moved.affine, moved.orientation, moved.loaded),
            image: moved.image,
            labels: moved.labels,
            operations,
            stage: augmentation.previous_stage.as_ref().map(|stage| (stage.clone(), rng.next_u64())),
        }
    }

    /// The patch at the same place, neither moved nor changed.
    pub fn plain(&self) -> Self {
        Self { placement: self.placement.plain(), operations: Vec::new(), stage: None, ..*self }
    }

    /// The same recipe for volumes that are at hand as a whole: [`Self::source`] is all of them.
    pub fn of_whole_volumes(&self) -> Self {
        Self { placement: self.placement.of_whole_volumes(), ..self.clone() }
    }

    /// The part of the volume that is needed to make the patch, empty when the patch lies outside.
    pub fn source(&self) -> &BoundingBox {
        self.placement.source()
    }

    /// Makes the patch of the image, (C, Z, Y, X), in `out`. `source` is [`Self::source`] of the image, like for all that follow.
    ///
    /// # Panics
    /// Like all that follow: when source or `out` do not have the right size.
    pub fn image(&self, source: VolumeView<'_, f32>, out: &mut [f32], scratch: &mut Scratch) {
        self.sample(source, OUTSIDE_IMAGE, out);
        let size = self.placement.size();
        for (number, channel) in out.chunks_exact_mut(size.iter().product()).enumerate() {
            let own = self.operations.iter().filter(|(channel, _)| *channel == number);
            intensity::apply(own.map(|(_, operation)| operation), channel, size, scratch);
        }
    }

    /// Makes the patch of a label map, (1, Z, Y, X); -1 outside the volume.
    pub fn labels(&self, source: VolumeView<'_, i16>, out: &mut [i16], scratch: &mut Scratch) {
        const OUTSIDE: Outside<i16> = Outside { volume: OUTSIDE_LABELS, frame: BEYOND_FRAME };
        self.check(source.shape, out.len());
        match (self.placement.sampling(), self.labels) {
            (Sampling::Crop(crop), _) => crop.cut(source.data, OUTSIDE_LABELS, out),
            (Sampling::Grid(grid), Interpolation::Linear) => grid.vote(source.data, OUTSIDE, out, &mut scratch.cells),
            (Sampling::Grid(grid), Interpolation::Nearest) => grid.nearest(source.data, OUTSIDE, out),
        }
    }

    /// Makes the input channels that a cascade has of its previous stage's segmentation: (labels, Z, Y, X), 1 where that has the label, 0
    /// elsewhere. Labels are then made imperfect as [`PreviousStage`] says.
    pub fn previous_stage(&self, source: VolumeView<'_, i16>, labels: &[i16], out: &mut [f32], scratch: &mut Scratch) {
        let size = self.placement.size();
        let mut segmentation = std::mem::take(&mut scratch.segmentation);
        segmentation.resize(size.iter().product(), 0);
        self.labels(source, &mut segmentation, scratch);
        previous_stage::one_hot(&segmentation, labels, out);
        scratch.segmentation = segmentation;
        if let Some((stage, seed)) = &self.stage {
            let operations = stage.draw(labels.len(), &mut ChaCha8Rng::seed_from_u64(*seed));
            previous_stage::apply(&operations, out, size, &mut scratch.stage);
        }
    }

    /// Makes the patch of a regression target, (C, Z, Y, X); `pad` outside the volume.
    pub fn regression(&self, source: VolumeView<'_, f32>, pad: f32, out: &mut [f32]) {
        self.sample(source, pad, out);
    }

    /// Which voxels of the patch, (1, Z, Y, X), the volume has; where the patch is turned, those whose nearest voxel it has.
    pub fn inside(&self, out: &mut [bool]) {
        assert_eq!(out.len(), self.placement.size().iter().product::<usize>(), "not the size of the patch");
        self.placement.inside(out);
    }

    /// Turns, scales and flips the vectors of a patch that [`Self::regression`] made as the patch itself was. Channels are their components
    /// along (z, y, x) in mm, and voxels are `spacing` apart: a vector to a voxel still points to it.
    pub fn turn_vectors(&self, vectors: &mut [f32], spacing: [f64; 3]) {
        let Some(inverse) = self.placement.inverse() else { return };
        let matrix: [[f32; 3]; 3] = std::array::from_fn(|r| std::array::from_fn(|c| (inverse[r][c] * spacing[r] / spacing[c]) as f32));
        let (z, rest) = vectors.split_at_mut(vectors.len() / 3);
        let (y, x) = rest.split_at_mut(z.len());
        for ((z, y), x) in z.iter_mut().zip(y).zip(x) {
            let [a, b, c] = matrix.map(|row| row[0] * *z + row[1] * *y + row[2] * *x);
            (*z, *y, *x) = (a, b, c);
        }
    }

    fn sample(&self, source: VolumeView<'_, f32>, outside: f32, out: &mut [f32]) {
        self.check(source.shape, out.len());
        match (self.placement.sampling(), self.image) {
            (Sampling::Crop(crop), _) => crop.cut(source.data, outside, out),
            (Sampling::Grid(grid), Interpolation::Linear) => grid.linear(source.data, outside, out),
            (Sampling::Grid(grid), Interpolation::Nearest) => grid.nearest(source.data, Outside::all(outside), out),
        }
    }

    fn check(&self, [channels, source @ ..]: [usize; 4], length: usize) {
        assert_eq!(source, self.source().size(), "the source is not what the patch needs");
        assert_eq!(length, channels * self.placement.size().iter().product::<usize>(), "not the size of the patch");
    }

    /// Whether voxels are interpolated rather than copied.
    #[cfg(test)]
    pub(super) fn is_sampled(&self) -> bool {
        matches!(self.placement.sampling(), Sampling::Grid(_))
    }
}
