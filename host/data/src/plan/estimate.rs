//! How much memory a network needs, in the unit that nnU-Net plans by: elements of all convolutions' outputs.

/// `PlainConvUNet.compute_conv_feature_map_size` of dynamic_network_architectures, without deep supervision: outputs of all
/// convolutions, transposed convolutions and the last segmentation layer for one sample.
pub(super) fn feature_map_elements(
    patch: &[usize],
    strides: &[Vec<usize>],
    features: &[usize],
    convs_encoder: &[usize],
    convs_decoder: &[usize],
    classes: usize,
) -> f64 {
    let mut size = patch.to_vec();
    let mut encoder = 0;
    let mut skips = Vec::new();
    for (stage, stride) in strides.iter().enumerate() {
        size.iter_mut().zip(stride).for_each(|(size, stride)| *size /= stride);
        let voxels: usize = size.iter().product();
        encoder += convs_encoder[stage] * features[stage] * voxels;
        skips.push((features[stage], voxels));
    }
    // The bottleneck is no skip.
    skips.pop();
    let decoder: usize = skips.iter().rev().zip(convs_decoder).map(|((features, voxels), convs)| (convs + 1) * features * voxels).sum();
    let segmentation = skips.first().map_or(0, |(_, voxels)| classes * voxels);
    (encoder + decoder + segmentation) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_peer() {
        // PlainConvUNet, 3 classes, patch 128³, 6 stages: compute_conv_feature_map_size gives 452,796,416.
        let mut strides = vec![vec![1; 3]];
        strides.extend(vec![vec![2; 3]; 5]);
        let features = [32, 64, 128, 256, 320, 320];
        let found = feature_map_elements(&[128; 3], &strides, &features, &[2; 6], &[2; 5], 3);
        assert_eq!(found, 452_796_416.0);
    }
}
