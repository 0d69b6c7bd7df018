//! One synthetic case. Only basic arithmetic and square roots are used, whose results are the same on every machine.

use imaging::Volume;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// (z, y, x) in voxels.
const SHAPE: [usize; 3] = [32, 40, 32];
/// Intensities of background, liver and kidney.
const INTENSITIES: [f32; 3] = [100.0, 150.0, 60.0];
/// Voxels that stay free between the two organs, and between organ and border.
const MARGIN: f32 = 1.5;

/// Image and label map of one case.
pub struct Case {
    /// One channel.
    pub image: Volume<f32>,
    /// 0 background, 1 liver, 2 kidney.
    pub labels: Volume<i16>,
}

/// Makes case `number`; every case has random numbers of its own.
pub fn generate(seed: u64, number: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    let organs = place_organs(&mut rng);
    let texture = SmoothField::random(&mut rng, 8, 12.0);
    let bias = SmoothField::random(&mut rng, 40, 0.15);
    let shape = [1, SHAPE[0], SHAPE[1], SHAPE[2]];
    let (mut image, mut labels) = (Volume::filled(shape, 0.0), Volume::filled(shape, 0));
    let voxels = image.data_mut().iter_mut().zip(labels.data_mut());
    for ((intensity, label), point) in voxels.zip(points()) {
        let inside = organs.iter().position(|organ| organ.contains(point)).map_or(0, |organ| organ + 1);
        *label = inside as i16;
        // Close to a normal distribution with a standard deviation of 8.
        let noise = (0..4).map(|_| rng.random_range(-1.0..1.0_f32)).sum::<f32>() * 7.0;
        *intensity = ((INTENSITIES[inside] + texture.at(point)) * (1.0 + bias.at(point)) + noise).round().max(1.0);
    }
    Case { image, labels }
}

/// An ellipsoid, bent along its first axis into a bean.
struct Organ {
    centre: [f32; 3],
    /// Half axes in voxels.
    radii: [f32; 3],
    /// Rows are the organ's own axes.
    rotation: [[f32; 3]; 3],
    bend: f32,
}

impl Organ {
    fn random(rng: &mut ChaCha8Rng, radii: [std::ops::Range<f32>; 3], bend: f32) -> Self {
        let radii = radii.map(|range| rng.random_range(range));
        let mut organ = Self { centre: [0.0; 3], radii, rotation: random_rotation(rng), bend };
        let reach = organ.reach() + MARGIN;
        organ.centre = SHAPE.map(|length| rng.random_range(reach..length as f32 - 1.0 - reach));
        organ
    }

    /// Radius of a sphere around all of it.
    fn reach(&self) -> f32 {
        self.radii.iter().copied().fold(0.0, f32::max) * (1.0 + self.bend / 2.0)
    }

    fn grown(&self, by: f32) -> Self {
        Self { radii: self.radii.map(|radius| radius + by), ..*self }
    }

    fn contains(&self, point: [f32; 3]) -> bool {
        let offset: [f32; 3] = std::array::from_fn(|i| point[i] - self.centre[i]);
        let [a, b, c]: [f32; 3] = std::array::from_fn(|i| dot(self.rotation[i], offset) / self.radii[i]);
        let bent = b + self.bend * (a * a - 0.5);
        a * a + bent * bent + c * c <= 1.0
    }
}

/// Liver and kidney, drawn until they keep apart.
fn place_organs(rng: &mut ChaCha8Rng) -> [Organ; 2] {
    loop {
        let organs = [Organ::random(rng, [7.0..9.0, 5.5..8.0, 5.0..7.0], 0.0), Organ::random(rng, [5.5..7.0, 3.5..4.5, 3.0..4.5], 0.6)];
        let grown = organs.each_ref().map(|organ| organ.grown(MARGIN));
        if !points().any(|point| grown.iter().all(|organ| organ.contains(point))) {
            return organs;
        }
    }
}

/// The centre of every voxel, in the order of a volume.
fn points() -> impl Iterator<Item = [f32; 3]> {
    let [depth, height, width] = SHAPE;
    (0..depth).flat_map(move |z| (0..height).flat_map(move |y| (0..width).map(move |x| [z, y, x].map(|i| i as f32))))
}

/// The rotation of a random unit quaternion, which is uniform over all rotations.
fn random_rotation(rng: &mut ChaCha8Rng) -> [[f32; 3]; 3] {
    let (quaternion, norm) = loop {
        let candidate: [f32; 4] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
        let norm = candidate.iter().map(|value| value * value).sum::<f32>();
        if (0.01..=1.0).contains(&norm) {
            break (candidate, norm.sqrt());
        }
    };
    let [w, x, y, z] = quaternion.map(|value| value / norm);
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
        [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
        [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Random values on a coarse grid, trilinear in between.
struct SmoothField {
    /// Voxels between two grid points.
    step: usize,
    nodes: [usize; 3],
    values: Vec<f32>,
}

impl SmoothField {
    fn random(rng: &mut ChaCha8Rng, step: usize, amplitude: f32) -> Self {
        let nodes = SHAPE.map(|length| length.div_ceil(step) + 1);
        let values = (0..nodes.iter().product()).map(|_| rng.random_range(-amplitude..amplitude)).collect();
        Self { step, nodes, values }
    }

    fn at(&self, point: [f32; 3]) -> f32 {
        let scaled = point.map(|coordinate| coordinate / self.step as f32);
        let low = scaled.map(|coordinate| coordinate as usize);
        let mut sum = 0.0;
        for corner in 0..8 {
            let (mut weight, mut position) = (1.0, 0);
            for axis in 0..3 {
                let up = corner >> axis & 1;
                let fraction = scaled[axis] - low[axis] as f32;
                weight *= if up == 1 { fraction } else { 1.0 - fraction };
                position = position * self.nodes[axis] + low[axis] + up;
            }
            sum += weight * self.values[position];
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_two_whole_organs_that_do_not_touch_and_can_be_told_apart() {
        for number in 0..10 {
            let case = generate(7, number);
            let [depth, height, width] = SHAPE;
            let label = |z: usize, y: usize, x: usize| case.labels.data()[(z * height + y) * width + x];
            let mut intensities = [(0.0, 0.0); 3];
            for (value, label) in case.image.data().iter().zip(case.labels.data()) {
                let (sum, count) = &mut intensities[usize::try_from(*label).unwrap()];
                *sum += value;
                *count += 1.0;
            }
            let [background, liver, kidney] = intensities.map(|(sum, count)| sum / count);
            assert!(liver > background + 25.0 && kidney < background - 20.0, "case {number}: {liver} {background} {kidney}");
            let [_, (_, liver), (_, kidney)] = intensities;
            assert!((600.0..2300.0).contains(&liver) && (150.0..650.0).contains(&kidney), "case {number}: {liver}, {kidney} voxels");
            for z in 0..depth {
                for y in 0..height {
                    for x in 0..width {
                        let border = [z, y, x].iter().zip(SHAPE).any(|(i, length)| *i == 0 || *i == length - 1);
                        assert!(!border || label(z, y, x) == 0, "case {number}: an organ is cut off");
                        let neighbours = [(z + 1, y, x), (z, y + 1, x), (z, y, x + 1)];
                        for (z2, y2, x2) in neighbours.into_iter().filter(|_| !border) {
                            let pair = (label(z, y, x), label(z2, y2, x2));
                            assert!(!matches!(pair, (1, 2) | (2, 1)), "case {number}: the organs touch");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rotations_keep_lengths_and_angles() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..20 {
            let rows = random_rotation(&mut rng);
            for (i, a) in rows.iter().enumerate() {
                for (j, b) in rows.iter().enumerate() {
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((dot(*a, *b) - expected).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn a_smooth_field_passes_through_its_nodes_and_is_linear_between() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let field = SmoothField::random(&mut rng, 8, 2.0);
        assert_eq!(field.at([0.0, 0.0, 0.0]), field.values[0]);
        assert_eq!(field.at([0.0, 0.0, 8.0]), field.values[1]);
        let half = (field.values[0] + field.values[field.nodes[2]]) / 2.0;
        assert!((field.at([0.0, 4.0, 0.0]) - half).abs() < 1e-6);
    }
}
