//! Every pipeline draws its random parameters as nnU-Net's does: rates, shares and distributions against those that
//! `tests/golden/make_draws.py` took from nnU-Net's own pipelines.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::intensity::drawn::{
    AddGradient, AddNoise, Blank, BlurBy, Coarsen, Raise, RaiseLocally, Scale, SharpenBy, Shift, Stretch, TakeMedian,
};
use super::intensity::{self, Operation};
use super::spatial::{Affine, Orientation};
use super::{Augmentation, Gamma, Intensity, Mirror, Scratch, Spatial, Step, Turn};

/// Of everything that happens with a probability.
const GATES: usize = 100_000;
/// Of everything that is drawn once that has happened. Half of the channels are left alone, and 10,000 values are needed.
const DRAWS: usize = 30_000;
/// Whose distributions are compared.
const COMPARED: usize = 10_000;
/// So many that a step which is applied changes one of them for certain, even if it changes each with probability 0.5.
const MANY_CHANNELS: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    patch: Vec<usize>,
    rotation_degrees: f64,
    rates: BTreeMap<String, f64>,
    shares: BTreeMap<String, BTreeMap<String, f64>>,
    quantiles: BTreeMap<String, Vec<f64>>,
}

/// Everything drawn by one pipeline, by the golden file's names.
#[derive(Default)]
struct Drawn {
    /// How often it happened, and of how many times.
    rates: BTreeMap<String, (f64, f64)>,
    counts: BTreeMap<String, BTreeMap<String, usize>>,
    values: BTreeMap<String, Vec<f64>>,
    /// Spatial axis that the golden file calls 0: its 2D patches have no z.
    first: usize,
}

impl Drawn {
    fn flag(&mut self, name: &str, happened: bool) {
        let (hits, of) = self.rates.entry(name.to_owned()).or_default();
        *hits += f64::from(u8::from(happened));
        *of += 1.0;
    }

    fn count(&mut self, name: &str, value: impl ToString) {
        *self.counts.entry(name.to_owned()).or_default().entry(value.to_string()).or_default() += 1;
    }

    fn value(&mut self, name: &str, value: f64) {
        self.values.entry(name.to_owned()).or_default().push(value);
    }

    fn value_per_axis(&mut self, name: &str, values: [f64; 3]) {
        for (axis, value) in values[self.first..].iter().enumerate() {
            self.value(&format!("{name}{axis}"), *value);
        }
    }

    fn spatial(&mut self, spatial: &Spatial, rng: &mut impl Rng) {
        // A rotation is seen only if it turns about some axis.
        let gates = Spatial { axis_probability: 1.0, ..spatial.clone() };
        for _ in 0..GATES {
            let (angles, factors) = gates.draw(rng).map_or(([0.0; 3], [1.0; 3]), |affine| angles_and_factors(&affine));
            self.flag("rotation", angles != [0.0; 3]);
            self.flag("scaling", factors.iter().any(|factor| (factor - 1.0).abs() > 1e-9));
        }
        let always = Spatial { rotation_probability: 1.0, scaling_probability: 1.0, ..spatial.clone() };
        let (turned, scaled) = if spatial.in_plane { (0..1, 1..3) } else { (0..3, 0..3) };
        for _ in 0..DRAWS {
            let (angles, factors) = angles_and_factors(&always.draw(rng).expect("always turns and scales"));
            assert!(!spatial.in_plane || (angles[1..] == [0.0; 2] && factors[0] == 1.0), "{angles:?} {factors:?} leave the plane");
            for axis in turned.clone() {
                self.flag(&format!("rotation.angle{axis}.zero_share"), angles[axis] == 0.0);
                if angles[axis] != 0.0 {
                    self.value(&format!("rotation.angle{axis}"), angles[axis]);
                }
            }
            let factors = &factors[scaled.clone()];
            self.flag("scaling.same", factors.iter().all(|factor| (factor - factors[0]).abs() < 1e-9));
            for (axis, factor) in factors.iter().enumerate() {
                self.value(&format!("scaling.factor{axis}"), *factor);
            }
        }
    }

    fn turn(&mut self, turn: &Turn, rng: &mut impl Rng) {
        let with = |turn_probability, exchange_probability| Turn { turn_probability, exchange_probability, axes: turn.axes.clone() };
        let (always_turn, always_exchange) = (with(1.0, 0.0), with(0.0, 1.0));
        let first = self.first;
        for _ in 0..DRAWS {
            let steps = always_turn.draw(rng).steps;
            let moved: Vec<usize> = (0..3).filter(|axis| steps[*axis] != (*axis, 1)).collect();
            let turns = match moved[..] {
                [] => 0,
                [a, _] if steps[a].0 == a => 2,
                [a, _] if steps[a].1 < 0 => 1,
                _ => 3,
            };
            self.count("rot90.turns", turns);
            if let [a, b] = moved[..] {
                self.count("rot90.axes", format!("{},{}", a - first, b - first));
            }
            let order = always_exchange.draw(rng).steps[first..].iter().map(|(axis, _)| (axis - first).to_string()).collect::<Vec<_>>();
            self.count("transpose.order", order.join(","));
        }
        // What leaves all axes where they are isn't seen: as many of those that always happen stand for all.
        let mut rate = |name: &str, certain: &Turn, gate: &Turn| {
            let mut seen = |turn: &Turn| (0..GATES).filter(|_| turn.draw(rng) != Orientation::default()).count() as f64;
            self.rates.insert(name.to_owned(), (seen(gate), seen(certain)));
        };
        rate("rot90", &always_turn, &with(turn.turn_probability, 0.0));
        rate("transpose", &always_exchange, &with(0.0, turn.exchange_probability));
    }

    fn mirror(&mut self, mirror: &Mirror, rng: &mut impl Rng) {
        for _ in 0..GATES {
            let flips = mirror.draw(rng).steps;
            for (axis, (_, direction)) in flips[self.first..].iter().enumerate() {
                self.flag(&format!("mirror.axis{axis}"), *direction < 0);
            }
        }
    }

    fn step(&mut self, step: &Step, patch: [usize; 3], name: impl Fn(&Operation) -> String, rng: &mut impl Rng) {
        let transforms = match &step.transform {
            Intensity::OneOf(steps) => steps.iter().map(|step| &step.transform).collect(),
            transform => vec![transform],
        };
        for transform in transforms {
            let mut operations = Vec::new();
            for _ in 0..DRAWS {
                transform.draw(1, patch, rng, &mut |_, operation| operations.push(operation));
            }
            let name = name(&operations[0]);
            self.rates.insert(format!("{name}.channel"), (operations.len() as f64, DRAWS as f64));
            operations.iter().for_each(|operation| self.operation(&name, operation, patch));
            self.rates.insert(name, (0.0, GATES as f64));
        }
        for _ in 0..GATES {
            let mut applied = None;
            step.draw(MANY_CHANNELS, patch, rng, &mut |_, operation| applied = Some(operation));
            if let Some(operation) = applied {
                self.rates.get_mut(&name(&operation)).expect("one of the transforms").0 += 1.0;
            }
        }
    }

    fn operation(&mut self, name: &str, operation: &Operation, patch: [usize; 3]) {
        let mut value = |what: &str, value: f64| self.value(&format!("{name}.{what}"), value);
        match operation {
            Operation::Noise(AddNoise { sigma, .. }) => value("sigma", *sigma),
            Operation::Blur(BlurBy { sigmas }) => {
                self.value_per_axis(&format!("{name}.sigma"), *sigmas);
                self.flag(&format!("{name}.same"), sigmas.iter().all(|sigma| *sigma == sigmas[0]));
            }
            Operation::Brightness(Scale { factor }) | Operation::Contrast(Stretch { factor, .. }) => value("multiplier", *factor),
            Operation::BrightnessShift(Shift { by }) => value("shift", *by),
            Operation::LowResolution(Coarsen { scales }) => value("scale", scales[2]),
            Operation::Gamma(Raise { exponent, .. }) => value("exponent", *exponent),
            Operation::Median(TakeMedian { size }) => self.count(&format!("{name}.size"), size),
            Operation::Rectangles(Blank { boxes }) => {
                self.count(&format!("{name}.number"), boxes.len());
                for bbox in boxes {
                    for (axis, size) in bbox.size()[self.first..].iter().enumerate() {
                        self.count(&format!("{name}.size{axis}"), size);
                    }
                    let room: [usize; 3] = std::array::from_fn(|axis| patch[axis] - bbox.size()[axis]);
                    let position = std::array::from_fn(|axis| bbox.lower[axis] as f64 / room[axis] as f64);
                    self.value_per_axis(&format!("{name}.position"), position);
                }
            }
            Operation::BrightnessGradient(AddGradient { bump, strength: shape })
            | Operation::LocalGamma(RaiseLocally { bump, exponent: shape }) => {
                let what = if matches!(operation, Operation::LocalGamma(_)) { "gamma" } else { "strength" };
                value(what, *shape);
                self.value_per_axis(&format!("{name}.scale"), bump.width.map(f64::ln));
                let loc = std::array::from_fn(|axis| bump.centre[axis] / patch[axis] as f64);
                self.value_per_axis(&format!("{name}.loc"), loc);
            }
            Operation::Sharpen(SharpenBy { strength }) => value("strength", *strength),
        }
    }
}

/// Of [`Affine::new`], in degrees; the angle about the second axis must be less than 90. The matrix is a rotation times a diagonal matrix.
fn angles_and_factors(Affine { matrix }: &Affine) -> ([f64; 3], [f64; 3]) {
    let factors: [f64; 3] = std::array::from_fn(|column| matrix.iter().map(|row| row[column] * row[column]).sum::<f64>().sqrt());
    let rotation = |row: usize, column: usize| matrix[row][column] / factors[column];
    let angles = [rotation(2, 1).atan2(rotation(2, 2)), (-rotation(2, 0)).asin(), rotation(1, 0).atan2(rotation(0, 0))];
    (angles.map(f64::to_degrees), factors)
}

/// What the golden file calls the transform behind `operation`. DA5 has two kinds of contrast.
fn kind(operation: &Operation, is_da5: bool) -> &'static str {
    match operation {
        Operation::Noise(_) => "noise",
        Operation::Blur(_) => "blur",
        Operation::Brightness(_) => "brightness",
        Operation::BrightnessShift(_) => "brightness_additive",
        Operation::Contrast(_) if !is_da5 => "contrast",
        Operation::Contrast(Stretch { keep_range: true, .. }) => "contrast_preserving",
        Operation::Contrast(Stretch { keep_range: false, .. }) => "contrast_free",
        Operation::LowResolution(_) => "low_resolution",
        Operation::Gamma(Raise { inverted: true, .. }) => "gamma_inverted",
        Operation::Gamma(Raise { inverted: false, .. }) => "gamma",
        Operation::Median(_) => "median",
        Operation::Rectangles(_) => "rectangles",
        Operation::BrightnessGradient(_) => "gradient",
        Operation::LocalGamma(_) => "local_gamma",
        Operation::Sharpen(_) => "sharpen",
    }
}

fn drawn(augmentation: &Augmentation, patch: [usize; 3], dims: usize, is_da5: bool, rng: &mut impl Rng) -> Drawn {
    let mut drawn = Drawn { first: 3 - dims, ..Drawn::default() };
    drawn.spatial(augmentation.spatial.as_ref().expect("turns and scales"), rng);
    if let Some(turn) = &augmentation.turn {
        drawn.turn(turn, rng);
    }
    drawn.mirror(augmentation.mirror.as_ref().expect("flips"), rng);
    let mut inverted = 0;
    for step in &augmentation.intensity {
        inverted += usize::from(matches!(step.transform, Intensity::Gamma(Gamma { inverted: true, .. })));
        let name = |operation: &Operation| match kind(operation, is_da5) {
            "gamma_inverted" if is_da5 => format!("gamma_inverted_{inverted}"),
            kind => kind.to_owned(),
        };
        drawn.step(step, patch, name, rng);
    }
    drawn
}

/// How many standard errors of both samples together two shares differ by.
fn errors((hits, of): (f64, f64), expected: f64, expected_of: f64) -> f64 {
    let difference = (hits / of - expected).abs();
    let share = (hits + expected * expected_of) / (of + expected_of);
    // Not a number where both are 0 or both are 1.
    if difference == 0.0 { 0.0 } else { difference / (share * (1.0 - share) * (1.0 / of + 1.0 / expected_of)).sqrt() }
}

/// Kolmogorov and Smirnov's, where the golden quantiles are. Their digits are rounded, which matters where values repeat.
fn distance(draws: &[f64], quantiles: &[f64]) -> f64 {
    let mut sorted = draws.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let below = |at: f64| sorted.partition_point(|draw| *draw < at) as f64 / sorted.len() as f64;
    let last = (quantiles.len() - 1) as f64;
    let beyond = quantiles.iter().enumerate().map(|(number, quantile)| {
        let (share, rounding) = (number as f64 / last, quantile.abs() * 1e-5 + 1e-9);
        (below(quantile - rounding) - share).max(share - below(quantile + rounding))
    });
    beyond.fold(0.0, f64::max)
}

/// How large it is, and of what.
type Difference = (f64, String);

/// Every rate and share with the standard errors, and every distribution with the distance, by which it differs.
fn differences(drawn: &Drawn, golden: &Golden, pipeline: &str) -> (Vec<Difference>, Vec<Difference>) {
    /// Of each golden share, at least.
    const OF: f64 = 90_000.0;
    let found: Vec<&String> = drawn.rates.keys().chain(drawn.counts.keys()).chain(drawn.values.keys()).collect();
    let expected: Vec<&String> = golden.rates.keys().chain(golden.shares.keys()).chain(golden.quantiles.keys()).collect();
    assert_eq!(found, expected, "{pipeline}");
    let mut rates = Vec::new();
    for ((name, found), expected) in drawn.rates.iter().zip(golden.rates.values()) {
        let of = match name.as_str() {
            "gradient.channel" | "local_gamma.channel" => 60_000.0,
            // Of those samples, of 200,000, that are rotated at all.
            name if name.ends_with(".zero_share") => 40_000.0,
            _ => 200_000.0,
        };
        rates.push((errors(*found, *expected, of), format!("{pipeline} {name}")));
    }
    for ((name, counts), shares) in drawn.counts.iter().zip(golden.shares.values()) {
        assert!(counts.keys().eq(shares.keys()), "{pipeline} {name}: {counts:?}, not {shares:?}");
        let total = counts.values().sum::<usize>() as f64;
        for ((value, count), share) in counts.iter().zip(shares.values()) {
            rates.push((errors((*count as f64, total), *share, OF), format!("{pipeline} {name} {value}")));
        }
    }
    let distributions = drawn.values.iter().zip(golden.quantiles.values());
    let distributions =
        distributions.map(|((name, values), quantiles)| (distance(&values[..COMPARED], quantiles), format!("{pipeline} {name}")));
    (rates, distributions.collect())
}

fn largest(differences: &[Difference]) -> &Difference {
    differences.iter().max_by(|a, b| a.0.total_cmp(&b.0)).expect("some")
}

#[test]
fn parameters_are_drawn_as_by_nnunet() {
    // Exceeded by one of a thousand, if nothing differs; the golden distributions have at least 30,000 values.
    let most = 1.95 * (1.0 / COMPARED as f64 + 1.0 / 30_000.0).sqrt();
    let golden: BTreeMap<String, Golden> =
        serde_json::from_str(include_str!("../../tests/golden/draws.json")).expect("golden file is valid");
    let (mut rates, mut distributions) = (Vec::new(), Vec::new());
    for (seed, (pipeline, golden)) in golden.iter().enumerate() {
        let (name, _) = pipeline.split_once('-').expect("a trainer and a situation");
        let dims = golden.patch.len();
        let mut patch = [1; 3];
        patch[3 - dims..].copy_from_slice(&golden.patch);
        let augmentation = Augmentation::named(name, patch, dims).expect("known");
        let degrees = golden.rotation_degrees;
        assert_eq!(augmentation.spatial.as_ref().map(|spatial| spatial.rotation_degrees), Some([-degrees, degrees]), "{pipeline}");
        let drawn = drawn(&augmentation, patch, dims, name == "da5", &mut ChaCha8Rng::seed_from_u64(seed as u64));
        let (of_rates, of_distributions) = differences(&drawn, golden, pipeline);
        rates.extend(of_rates);
        distributions.extend(of_distributions);
    }
    let (error, distance) = (largest(&rates), largest(&distributions));
    let (n, m) = (distributions.len(), rates.len());
    println!("{n} distributions: largest distance {distance:?}, of {most:.4}; {m} rates: {error:?} standard errors");
    assert!(distance.0 < most, "{distance:?}");
    assert!(error.0 < 4.5, "{error:?}");
}

#[test]
fn noise_is_normal_and_differs_from_seed_to_seed() {
    const SIDE: usize = 100;
    const N: usize = SIDE * SIDE;
    let noise = |seed| {
        let mut values = vec![0.0_f32; N];
        let operation = Operation::Noise(AddNoise { sigma: 1.0, seed });
        intensity::apply([operation].iter(), &mut values, [1, SIDE, SIDE], &mut Scratch::default());
        values.into_iter().map(f64::from).collect::<Vec<_>>()
    };
    let noises: Vec<Vec<f64>> = [0, 1, 2, 3, 1 << 32, u64::MAX].map(noise).into();
    let (mut farthest, mut strongest) = (0.0_f64, 0.0_f64);
    for (number, values) in noises.iter().enumerate() {
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        for (i, value) in sorted.iter().enumerate() {
            let below = 0.5 * libm::erfc(-value / std::f64::consts::SQRT_2);
            farthest = farthest.max(below - i as f64 / N as f64).max((i + 1) as f64 / N as f64 - below);
        }
        // Means are 0 and standard deviations 1, so that the mean product is the correlation.
        let correlation = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / N as f64;
        let others = noises[..number].iter().map(|other| correlation(values, other));
        // Neighbours, and equal places of the blocks that random bits are drawn in.
        let shifted = [1, SIDE, 256].map(|by| correlation(values, &values[by..]));
        strongest = others.chain(shifted).fold(strongest, |most, r| most.max(r.abs()));
    }
    println!("noise: distance to the normal distribution {farthest}, correlations up to {strongest}");
    assert!(farthest < 1.95 / (N as f64).sqrt(), "{farthest}");
    assert!(strongest < 4.0 / (N as f64).sqrt(), "{strongest}");
}
