//! How often each axis is halved, and with which kernels: nnU-Net's `get_pool_and_conv_props`.

/// Smallest edge of the bottleneck's feature maps (`UNet_featuremap_min_edge_length`).
const MIN_EDGE: f64 = 4.0;

/// Shape of a U-Net for one patch size.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Topology {
    /// Stride at the entrance of every stage.
    pub strides: Vec<Vec<usize>>,
    /// Convolution kernel of every stage.
    pub kernel_sizes: Vec<Vec<usize>>,
    /// The patch, padded so that every halving is exact.
    pub patch: Vec<usize>,
    /// Product of the strides along each axis.
    pub divisor: Vec<usize>,
}

/// Halves the axes of `patch` (voxels; medians may be halves) until they are small, axes of fine spacing first.
pub(super) fn topology(spacing: &[f64], patch: &[f64]) -> Topology {
    let dims = spacing.len();
    let mut current_spacing = spacing.to_vec();
    let mut current_size = patch.to_vec();
    let mut kernel = vec![1; dims];
    let mut strides = vec![vec![1; dims]];
    let mut kernel_sizes = Vec::new();
    let mut divisor = vec![1; dims];
    loop {
        let large: Vec<usize> = (0..dims).filter(|axis| current_size[*axis] >= 2.0 * MIN_EDGE).collect();
        let finest = large.iter().map(|axis| current_spacing[*axis]).fold(f64::INFINITY, f64::min);
        let pooled: Vec<usize> = large.into_iter().filter(|axis| current_spacing[*axis] / finest < 2.0).collect();
        match pooled[..] {
            [] => break,
            // A single axis is only halved while the result is not as small as it may get.
            [axis] if current_size[axis] < 3.0 * MIN_EDGE => break,
            _ => {}
        }
        let finest = current_spacing.iter().copied().fold(f64::INFINITY, f64::min);
        for axis in 0..dims {
            // Once 3, a kernel stays 3.
            if current_spacing[axis] / finest < 2.0 {
                kernel[axis] = 3;
            }
        }
        let mut stride = vec![1; dims];
        for axis in pooled {
            stride[axis] = 2;
            divisor[axis] *= 2;
            current_spacing[axis] *= 2.0;
            current_size[axis] = (current_size[axis] / 2.0).ceil();
        }
        strides.push(stride);
        kernel_sizes.push(kernel.clone());
    }
    // The bottleneck always has full kernels.
    kernel_sizes.push(vec![3; dims]);
    let patch = patch.iter().zip(&divisor).map(|(size, d)| (size / *d as f64).ceil() as usize * d).collect();
    Topology { strides, kernel_sizes, patch, divisor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isotropic() {
        let found = topology(&[1.0; 3], &[36.0, 50.0, 35.0]);
        assert_eq!(found.patch, [40, 56, 40]);
        assert_eq!(found.strides, [[1; 3], [2; 3], [2; 3], [2; 3]]);
        assert_eq!(found.kernel_sizes, [[3; 3]; 4]);
    }

    #[test]
    fn coarse_axes_are_halved_later() {
        let found = topology(&[10.0, 1.5, 1.5], &[9.5, 256.0, 216.0]);
        assert_eq!(found.patch, [10, 256, 224]);
        // What get_pool_and_conv_props([10, 1.5, 1.5], [9.5, 256, 216], 4, 999999) gives.
        assert_eq!(found.divisor, [2, 32, 32]);
        let flat = [1, 2, 2];
        assert_eq!(found.strides, [[1; 3], flat, flat, [2; 3], flat, flat]);
        assert_eq!(found.kernel_sizes, [[1, 3, 3], [1, 3, 3], [3; 3], [3; 3], [3; 3], [3; 3]]);
    }
}
