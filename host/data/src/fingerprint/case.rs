//! What the fingerprint needs of one case: read, find the nonzero box, draw from the foreground inside of it.
//!
//! nnU-Net's `analyze_case`. It crops image and label map; here both stay where they are, and the foreground is taken row by
//! row of the box, which is the same order.

use imaging::io::Reader;
use imaging::{BoundingBox, Volume};

use super::sample::Sample;
use crate::dataset::{Case, Dataset, Error, read_images};
use crate::numpy::RandomState;
use crate::read::{check_intensities, read_labels};

/// nnU-Net's seed of every case.
const SEED: u32 = 1234;

pub(super) struct CaseStatistics {
    /// Shape (z, y, x) of the nonzero box.
    pub(super) shape: [usize; 3],
    /// Spacing (z, y, x) in mm.
    pub(super) spacing: [f64; 3],
    /// Voxels of the nonzero box by voxels of the image.
    pub(super) relative_size: f64,
    /// Intensities drawn from the foreground, one sample a channel; empty ones when there is no foreground.
    pub(super) channels: Vec<Sample>,
}

/// Reads `case` by `reader` and draws `draws` foreground intensities from every channel.
pub(super) fn case_statistics(case: &Case, dataset: &Dataset, reader: Reader, draws: usize) -> Result<CaseStatistics, Error> {
    let description = &dataset.description;
    let image = read_images(reader, &case.images, description.channel_names.len())?;
    for (number, name) in description.channel_names.iter().enumerate() {
        check_intensities(&case.images[0], number, name, image.volume.channel(number))?;
    }
    let labels = match case.segmentation() {
        Some(path) => Some(read_labels(reader, path, description.segmentation(), &image, &case.images[0])?),
        None => None,
    };
    let volume = &image.volume;
    let bbox = nonzero_box(volume);
    // One generator a case: every channel goes on where the one before it stopped.
    let mut random = RandomState::new(SEED);
    let channels = (0..volume.channels())
        .map(|channel| {
            let values = labels.as_ref().map(|labels| foreground(volume, channel, labels, &bbox)).unwrap_or_default();
            Sample::draw(&values, draws, &mut random)
        })
        .collect();
    let voxels = |shape: [usize; 3]| shape.iter().product::<usize>() as f64;
    Ok(CaseStatistics {
        shape: bbox.size(),
        spacing: image.geometry.spacing(),
        relative_size: voxels(bbox.size()) / voxels(volume.spatial()),
        channels,
    })
}

/// The smallest box around everything that is not zero in some channel; the whole image when all is zero.
///
/// The same as that of nnU-Net's nonzero mask, whose filled holes lie inside.
fn nonzero_box(image: &Volume<f32>) -> BoundingBox {
    let [depth, height, width] = image.spatial();
    let mut bbox = BoundingBox { lower: image.spatial(), upper: [0; 3] };
    for channel in 0..image.channels() {
        for (row, values) in image.channel(channel).chunks_exact(width.max(1)).enumerate() {
            // What lies between the first and the last of a row need not be looked at.
            let Some(first) = values.iter().position(|value| *value != 0.0) else { continue };
            let last = values.iter().rposition(|value| *value != 0.0).unwrap_or(first);
            let [z, y] = [row / height, row % height];
            for (axis, (from, to)) in [(z, z), (y, y), (first, last)].into_iter().enumerate() {
                bbox.lower[axis] = bbox.lower[axis].min(from);
                bbox.upper[axis] = bbox.upper[axis].max(to + 1);
            }
        }
    }
    if bbox.upper == [0; 3] { BoundingBox::whole([depth, height, width]) } else { bbox }
}

/// The intensities of `channel` inside `bbox` where the label is above 0, in C order.
fn foreground(image: &Volume<f32>, channel: usize, labels: &Volume<i16>, bbox: &BoundingBox) -> Vec<f32> {
    let [_, height, width] = image.spatial();
    let (image, labels) = (image.channel(channel), labels.data());
    let rows = || {
        let planes = bbox.lower[0]..bbox.upper[0];
        planes.flat_map(|z| (bbox.lower[1]..bbox.upper[1]).map(move |y| (z * height + y) * width)).filter_map(|start| {
            let row = start + bbox.lower[2]..start + bbox.upper[2];
            let count = labels[row.clone()].iter().map(|label| usize::from(*label > 0)).sum::<usize>();
            (count > 0).then_some((row, count))
        })
    };
    let mut values = Vec::with_capacity(rows().map(|(_, count)| count).sum());
    for (row, count) in rows() {
        if count == row.len() {
            values.extend_from_slice(&image[row]);
        } else {
            let pairs = image[row.clone()].iter().zip(&labels[row]);
            values.extend(pairs.filter(|(_, label)| **label > 0).map(|(value, _)| *value));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_holds_what_is_nonzero_in_any_channel() {
        let mut image = Volume::filled([2, 3, 4, 5], 0.0);
        assert_eq!(nonzero_box(&image), BoundingBox::whole([3, 4, 5]));
        image.channel_mut(0)[20 + 5 + 3] = -1.0;
        image.channel_mut(1)[20 + 10 + 1] = f32::MIN_POSITIVE;
        assert_eq!(nonzero_box(&image), BoundingBox { lower: [1, 1, 1], upper: [2, 3, 4] });
    }

    #[test]
    fn foreground_comes_in_the_order_of_the_cropped_volume() {
        let image = Volume::new([1, 3, 4, 5], (0..60).map(|i| i as f32).collect());
        let labels = Volume::new([1, 3, 4, 5], (0..60).map(|i| i16::from(i % 3 == 1 || i / 5 == 5) - i16::from(i % 7 == 0)).collect());
        let bbox = BoundingBox { lower: [1, 0, 1], upper: [3, 3, 5] };
        let cropped = labels.crop(&bbox);
        let expected: Vec<f32> =
            image.crop(&bbox).data().iter().zip(cropped.data()).filter(|(_, label)| **label > 0).map(|(value, _)| *value).collect();
        assert!(!expected.is_empty());
        assert_eq!(foreground(&image, 0, &labels, &bbox), expected);
    }
}
