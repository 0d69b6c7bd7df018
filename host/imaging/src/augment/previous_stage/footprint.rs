//! Balls and disks whose radius need not be a whole number, as scikit-image makes them.

/// The voxels of a row of a footprint, as offsets from its centre.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub z: isize,
    pub y: isize,
    /// First and last x.
    pub first: isize,
    pub last: isize,
}

/// Makes `rows` those of a disk (`flat`) or ball of `radius` voxels (skimage `morphology/footprints.py`), shortest first. Each lies within
/// all longer ones.
///
/// A ball's points spread evenly from `-radius` to `radius`, as many as fit at a distance of at least 1; those of a disk go up from
/// `-radius` in steps of 1. Unless the radius is a whole number, a ball is therefore smaller than that, and a disk is not centred. Where
/// the number of points is even, the centre is the lower one of the middle two (batchgeneratorsv2 `helpers/fft_conv.py` pads one voxel
/// more above than below).
pub(super) fn rows(flat: bool, radius: f64, rows: &mut Vec<Row>) {
    let points = if flat { disk(radius) } else { ball(radius) };
    let centre = (points.len() as isize - 1) / 2;
    let only = [0.0];
    let slices = if flat { &only[..] } else { &points };
    rows.clear();
    for (k, z) in slices.iter().enumerate() {
        for (j, y) in points.iter().enumerate() {
            // To the last bit as there: tips are in or out by what rounding makes of them.
            let within = |x: &f64| x * x + y * y + z * z <= radius * radius;
            let (Some(first), Some(last)) = (points.iter().position(within), points.iter().rposition(within)) else { continue };
            let z = if flat { 0 } else { k as isize - centre };
            rows.push(Row { z, y: j as isize - centre, first: first as isize - centre, last: last as isize - centre });
        }
    }
    rows.sort_by_key(|row| row.last - row.first);
}

/// `numpy.mgrid[-radius : radius : (2 * radius + 1) * 1j]`.
fn ball(radius: f64) -> Vec<f64> {
    let count = (2.0 * radius + 1.0) as usize;
    let step = if count == 1 { 1.0 } else { (radius + radius) / (count - 1) as f64 };
    (0..count).map(|i| i as f64 * step - radius).collect()
}

/// `numpy.arange(-radius, radius + 1)`.
fn disk(radius: f64) -> Vec<f64> {
    let count = (radius + 1.0 + radius).ceil() as usize;
    (0..count).map(|i| i as f64 - radius).collect()
}
