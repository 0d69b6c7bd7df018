//! nnU-Net's U-Nets without their segmentation layers: what their arguments ask for (`spec`), the layers (`layers`, of `blocks`; `graph` hands them to the CPU engine), and the names of their
//! tensors in nnU-Net's checkpoints.
//!
//! All [`trunks`](super::trunks) with a U-Net's decoder are one [`Unet`] with an [`Encoder`] of their own.

mod blocks;
mod graph;
mod layers;
mod spec;

pub(super) use spec::{BlockKind, Encoder, Unet};

use super::trunks::{Layers, Trunk, TrunkGraph};
use super::{Error, Parameters};
use layers::UnetLayers;

impl Trunk for Unet {
    fn features(&self) -> &[i64] {
        &self.features
    }

    fn strides(&self) -> &[Vec<i64>] {
        &self.strides
    }

    fn deep_supervision(&self) -> bool {
        self.deep_supervision
    }

    fn build(&self, input_channels: usize, parameters: &mut Parameters) -> Result<Box<dyn Layers>, Error> {
        Ok(Box::new(UnetLayers::new(self, input_channels as i64, parameters)?))
    }

    fn owns(&self, name: &str) -> bool {
        ["encoder.", "decoder."].iter().any(|part| name.starts_with(part))
    }

    fn seg_layers(&self) -> &'static str {
        "decoder.seg_layers."
    }

    /// Blocks list their layers once more, as `all_modules`, and the decoder holds the encoder: an encoder's tensor is there up to four times.
    fn aliases(&self, name: &str) -> Vec<String> {
        let mut names = vec![name.to_owned()];
        let mut parts = name.rsplitn(3, '.');
        if let (Some(tensor), Some(layer), Some(block)) = (parts.next(), parts.next(), parts.next()) {
            // Convolution, dropout where there is one, normalisation (`ConvDropoutNormReLU`); second convolutions and shortcuts have no dropout.
            let dropout = self.layers.dropout.is_some() && !block.ends_with(".conv2") && !block.contains(".skip.");
            let position = match layer {
                "conv" => Some(0),
                "norm" => Some(1 + usize::from(dropout)),
                _ => None,
            };
            names.extend(position.map(|position| format!("{block}.all_modules.{position}.{tensor}")));
        }
        if name.starts_with("encoder.") {
            names.extend(names.clone().iter().map(|name| format!("decoder.{name}")));
        }
        names
    }

    fn is_alias(&self, key: &str) -> bool {
        key.starts_with("decoder.encoder.") || key.contains(".all_modules.") || key.ends_with(".num_batches_tracked")
    }
}

#[cfg(test)]
mod tests {
    use super::super::trunks::trunk;
    use super::*;
    use data::plan::Plans;
    use serde_json::{Value, json};

    fn planned(dropout: bool) -> Box<dyn Trunk> {
        let plans: Plans = serde_json::from_str(include_str!("../../../../tests/golden/hippocampus_plans.json")).expect("golden file");
        let mut architecture = plans.configuration("3d_fullres").expect("planned").architecture;
        if dropout {
            architecture.arch_kwargs.insert("dropout_op".to_owned(), json!("torch.nn.modules.dropout.Dropout3d"));
        }
        trunk(&architecture).expect("there")
    }

    #[test]
    fn every_tensor_has_all_of_its_names() {
        let conv = "encoder.stages.0.0.convs.1.norm.weight";
        let expected = [conv, "encoder.stages.0.0.convs.1.all_modules.2.weight", "decoder.encoder.stages.0.0.convs.1.norm.weight"];
        let with_dropout = planned(true);
        let names = with_dropout.aliases(conv);
        assert_eq!((names.len(), &names[..2], &*names[2]), (4, &expected.map(str::to_owned)[..2], expected[2]));
        assert_eq!(
            with_dropout.aliases("encoder.stages.1.blocks.0.skip.1.norm.bias")[1],
            "encoder.stages.1.blocks.0.skip.1.all_modules.1.bias"
        );
        assert!(names[1..].iter().all(|alias| with_dropout.is_alias(alias)));
        assert_eq!(planned(false).aliases("decoder.transpconvs.0.weight"), ["decoder.transpconvs.0.weight"]);
    }

    #[test]
    fn arguments_that_cannot_be_are_named() {
        let plans: Plans = serde_json::from_str(include_str!("../../../../tests/golden/hippocampus_plans.json")).expect("golden file");
        let architecture = plans.configuration("3d_fullres").expect("planned").architecture;
        let huge = 1u64 << 62;
        for (key, value, part) in [
            ("n_stages", json!(1), "n_stages is 1; expected 2 to 32"),
            ("n_stages", json!(-1), "n_stages is -1; expected 2 to 32"),
            ("n_stages", json!(5), "features_per_stage is [32,64,128,256]; expected 5 positive numbers of at most 32768"),
            ("features_per_stage", json!([32, 64, 128, huge]), "expected 4 positive numbers of at most 32768"),
            ("features_per_stage", json!([32, 64, 128, 0]), "expected 4 positive numbers of at most 32768"),
            ("n_conv_per_stage", json!([2, 2, 2, 257]), "expected 4 positive numbers of at most 256"),
            ("n_conv_per_stage_decoder", json!([2, 2, 2, 2]), "expected 3 positive numbers of at most 256"),
            (
                "kernel_sizes",
                json!([[3, 3, 3], [3, 3, 3], [3, 3, 3], [128, 3, 3]]),
                "expected 4 lists of 3 positive numbers of at most 127",
            ),
            ("strides", json!([[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2]]), "expected 4 lists of 3 positive numbers"),
            ("conv_op", json!("torch.nn.modules.conv.Conv4d"), "convolution 'Conv4d' (expected Conv2d or Conv3d) is not there"),
            ("mystery", json!(1), "the network's argument mystery = 1 is not there"),
        ] {
            let mut changed = architecture.clone();
            changed.arch_kwargs.insert(key.to_owned(), value.clone());
            let message = trunk(&changed).expect_err("must be refused").to_string();
            assert!(message.contains(part), "{key} = {value}: {message}");
        }
        let mut changed = architecture.clone();
        changed.arch_kwargs.shift_remove("n_conv_per_stage");
        assert!(trunk(&changed).expect_err("must be refused").to_string().contains("missing field `n_conv_per_stage`"));
        changed.network_class_name = "mine.UNETR".to_owned();
        let message = trunk(&changed).expect_err("must be refused").to_string();
        assert!(message.contains("network class 'UNETR' (expected PlainConvUNet or ResidualEncoderUNet) is not there"), "{message}");
    }

    /// Plans may be a stranger's: whatever an argument is, it is read or refused.
    #[test]
    fn no_argument_panics() {
        let plans: Plans = serde_json::from_str(include_str!("../../../../tests/golden/hippocampus_plans.json")).expect("golden file");
        let architecture = plans.configuration("3d_fullres").expect("planned").architecture;
        let single =
            [json!(null), json!(true), json!(0), json!(-1), json!(2.5), json!(1e300), json!(u64::MAX), json!(i64::MIN), json!("x")];
        let lists = single.iter().flat_map(|value| [json!([value]), json!([value, value, value, value]), json!([[value], [value, value]])]);
        let values: Vec<Value> = single.iter().cloned().chain(lists).chain([json!([]), json!({}), json!({"p": "x", "eps": -1})]).collect();
        for key in architecture.arch_kwargs.keys().map(String::as_str).chain(["deep_supervision", "n_blocks_per_stage", "further"]) {
            for value in &values {
                let mut changed = architecture.clone();
                changed.arch_kwargs.insert(key.to_owned(), value.clone());
                if let Err(error) = trunk(&changed) {
                    assert!(error.to_string().starts_with("its network cannot be built: "), "{key} = {value}: {error}");
                }
            }
        }
    }
}
