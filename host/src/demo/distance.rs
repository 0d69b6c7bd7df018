//! Exact Euclidean distance transform: Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions" (2012).

/// Distance in mm from every voxel to the nearest one that is set; infinite when none is. `spatial` and `spacing` are (z, y, x).
pub fn to_nearest(set: &[bool], spatial: [usize; 3], spacing: [f64; 3]) -> Vec<f64> {
    let mut squared: Vec<f64> = set.iter().map(|set| if *set { 0.0 } else { f64::INFINITY }).collect();
    let strides = [spatial[1] * spatial[2], spatial[2], 1];
    for axis in 0..3 {
        let (length, stride) = (spatial[axis], strides[axis]);
        let mut line = vec![0.0; length];
        // Every voxel that is first along the axis starts a line.
        for start in (0..squared.len()).filter(|position| position / stride % length == 0) {
            for (i, value) in line.iter_mut().enumerate() {
                *value = squared[start + i * stride];
            }
            for (i, value) in lower_envelope(&line, spacing[axis]).into_iter().enumerate() {
                squared[start + i * stride] = value;
            }
        }
    }
    squared.into_iter().map(f64::sqrt).collect()
}

/// For every sample x: the minimum over q of (x - q)² + heights\[q\], with samples `spacing` apart.
fn lower_envelope(heights: &[f64], spacing: f64) -> Vec<f64> {
    // Vertex and height of every parabola of the envelope, and where it becomes the lowest.
    let mut parabolas: Vec<(f64, f64, f64)> = Vec::new();
    for (q, height) in heights.iter().enumerate().filter(|(_, height)| height.is_finite()) {
        let vertex = q as f64 * spacing;
        let mut from = f64::NEG_INFINITY;
        while let Some((other, other_height, other_from)) = parabolas.last() {
            from = ((height + vertex * vertex) - (other_height + other * other)) / (2.0 * (vertex - other));
            if from > *other_from {
                break;
            }
            parabolas.pop();
            from = f64::NEG_INFINITY;
        }
        parabolas.push((vertex, *height, from));
    }
    let mut current = 0;
    let mut value_at = |x: f64| {
        while parabolas.get(current + 1).is_some_and(|(_, _, from)| *from < x) {
            current += 1;
        }
        parabolas.get(current).map_or(f64::INFINITY, |(vertex, height, _)| (x - vertex).powi(2) + height)
    };
    (0..heights.len()).map(|i| value_at(i as f64 * spacing)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_nearest_of_all_voxels() {
        let (spatial, spacing) = ([5, 7, 6], [2.5, 1.0, 0.7]);
        let points: Vec<[usize; 3]> = (0..5).flat_map(|z| (0..7).flat_map(move |y| (0..6).map(move |x| [z, y, x]))).collect();
        let set: Vec<bool> = (0..points.len()).map(|i| i * 37 % 101 % 23 == 0).collect();
        assert!(set.iter().filter(|set| **set).count() > 3);
        let length = |a: [usize; 3], b: [usize; 3]| {
            (0..3).map(|axis| ((a[axis] as f64 - b[axis] as f64) * spacing[axis]).powi(2)).sum::<f64>().sqrt()
        };
        for (found, point) in to_nearest(&set, spatial, spacing).into_iter().zip(&points) {
            let nearest = points.iter().zip(&set).filter(|(_, set)| **set).map(|(other, _)| length(*point, *other));
            let expected = nearest.fold(f64::INFINITY, f64::min);
            assert!((found - expected).abs() < 1e-9, "{point:?}: {found} instead of {expected}");
        }
    }

    #[test]
    fn nothing_set_is_infinitely_far() {
        assert!(to_nearest(&[false; 8], [2, 2, 2], [1.0; 3]).iter().all(|distance| distance.is_infinite()));
    }
}
