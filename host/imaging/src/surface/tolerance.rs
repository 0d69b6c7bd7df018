//! Comparison of distances with a tolerance where they are equal but for rounding.
//!
//! A tolerance is often a multiple of the spacing, so that whether many distances are within it hangs on their last digit. They are
//! decided in f64, as in scipy, though distances are f32.

/// What distances in f32 differ by from those in f64, with a margin.
const ROUNDING: f64 = 1e-6;

/// Finds out whether distances are at most a tolerance.
pub(super) struct Tolerance {
    limit: f64,
    shape: [usize; 3],
    /// Steps (z, y, x) whose length rounds to the limit, and whether it is within it.
    near: Vec<([usize; 3], bool)>,
    /// What all of these agree on.
    verdict: Option<bool>,
}

impl Tolerance {
    /// For distances in a grid of points of `shape`, with `spacing` and `limit` in mm.
    pub(super) fn new(limit: f64, shape: [usize; 3], spacing: [f64; 3]) -> Self {
        let mut near = Vec::new();
        let steps = |axis: usize| 0..shape[axis].min(((limit / spacing[axis]) as usize).saturating_add(2));
        for z in steps(0) {
            for y in steps(1) {
                let [z_mm, y_mm] = [z as f64 * spacing[0], y as f64 * spacing[1]];
                let left = limit * limit - z_mm * z_mm - y_mm * y_mm;
                let x = (left.max(0.0).sqrt() / spacing[2]).round();
                let x_mm = x * spacing[2];
                let length = (z_mm * z_mm + y_mm * y_mm + x_mm * x_mm).sqrt();
                if (length - limit).abs() <= limit * ROUNDING && x < shape[2] as f64 {
                    near.push(([z, y, x as usize], length <= limit));
                }
            }
        }
        let verdict = near.first().map(|(_, within)| *within).filter(|first| near.iter().all(|(_, within)| within == first));
        Self { limit, shape, near, verdict }
    }

    /// Whether the point with index `at` is within the limit of `set`, from which it is `distance` away.
    pub(super) fn includes(&self, distance: f32, at: usize, set: &[bool]) -> bool {
        let distance = f64::from(distance);
        if (distance - self.limit).abs() > self.limit * ROUNDING || self.near.is_empty() {
            return distance <= self.limit;
        }
        self.verdict.unwrap_or_else(|| self.near.iter().any(|(steps, within)| *within && self.leads_to(set, *steps, at)))
    }

    /// Whether a point of `set` lies `steps` to either side along each axis.
    fn leads_to(&self, set: &[bool], steps: [usize; 3], at: usize) -> bool {
        let [_, height, width] = self.shape;
        let from = [at / width / height, at / width % height, at % width];
        (0..8).any(|sides| {
            let to = [0, 1, 2].map(|axis| {
                let step = steps[axis];
                if sides >> axis & 1 == 0 { from[axis].wrapping_sub(step) } else { from[axis] + step }
            });
            (0..3).all(|axis| to[axis] < self.shape[axis]) && set[(to[0] * height + to[1]) * width + to[2]]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_decides_as_in_f64() {
        // 3 * 0.1 is above 0.3, 2 * 0.1 is 0.2.
        assert!(!Tolerance::new(0.3, [1, 1, 9], [0.1; 3]).includes(0.3, 0, &[]));
        assert!(Tolerance::new(0.2, [1, 1, 9], [0.1; 3]).includes(0.2, 0, &[]));
        assert!(Tolerance::new(0.0, [1, 1, 9], [0.1; 3]).includes(0.0, 0, &[]));
    }

    #[test]
    fn steps_of_about_the_same_length_are_told_apart_by_where_they_lead() {
        // By (0, 5) it is 5.5, by (3, 4) a little more.
        let (shape, tolerance) = ([1, 6, 6], Tolerance::new(5.5, [1, 6, 6], [1.1; 3]));
        for (steps, expected) in [([0, 5], true), ([5, 0], true), ([3, 4], false), ([4, 3], false)] {
            let mut set = vec![false; shape.iter().product()];
            set[steps[0] * 6 + steps[1]] = true;
            assert_eq!(tolerance.includes(5.5, 0, &set), expected, "{steps:?}");
            set.reverse();
            assert_eq!(tolerance.includes(5.5, 35, &set), expected, "{steps:?}");
        }
    }

    #[test]
    fn any_tolerance_is_accepted() {
        for (limit, expected) in [(-1.0, false), (f64::NAN, false), (f64::INFINITY, true), (1e9, true)] {
            assert_eq!(Tolerance::new(limit, [3, 3, 3], [1.0; 3]).includes(1.0, 0, &[true; 27]), expected, "{limit}");
        }
        for spacing in [0.0, f64::NAN, -1.0] {
            Tolerance::new(1.0, [3, 3, 3], [spacing; 3]).includes(1.0, 0, &[true; 27]);
        }
    }
}
