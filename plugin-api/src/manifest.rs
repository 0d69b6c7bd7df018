//! The manifest: what a plugin is and was built with, readable without running it.
//!
//! `export_trainer!` joins these pieces at compile time and places the JSON in the ELF section `.trainer.plugin`.

use serde::{Deserialize, Serialize};

/// Version of the plugin interface, `major.minor.patch`: this crate's.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Compiler that built this crate.
pub const RUSTC: &str = env!("TRAINER_RUSTC");
/// Target that this crate was built for.
pub const TARGET: &str = env!("TRAINER_TARGET");
/// libtorch whose headers this crate was built against.
#[cfg(feature = "torch")]
pub const LIBTORCH: &str = env!("TRAINER_LIBTORCH");

#[cfg(feature = "torch")]
unsafe extern "C" {
    fn aoti_torch_abi_version() -> u64;
}

/// libtorch that this process runs, `major.minor`.
#[cfg(feature = "torch")]
pub fn running_libtorch() -> String {
    // SAFETY: a question without preconditions.
    let version = unsafe { aoti_torch_abi_version() };
    format!("{}.{}", version >> 56, version >> 48 & 0xff)
}

/// The JSON of the manifest section. Unknown keys are kept out, so that newer plugins stay readable.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Manifest {
    /// What `--plugin ID` names.
    pub id: String,
    /// The plugin's own version.
    pub version: String,
    /// Authors, separated by `:`.
    #[serde(default)]
    pub authors: String,
    /// Licence expression.
    #[serde(default)]
    pub license: String,
    /// One line for `plugin list`.
    #[serde(default)]
    pub description: String,
    /// Interface version it was built with.
    pub api: String,
    /// libtorch it was built with.
    pub libtorch: String,
    /// Compiler.
    #[serde(default)]
    pub compiler: String,
    /// Target triple.
    #[serde(default)]
    pub target: String,
    /// `unwind`, or `abort`, which is refused: a panic would take the host with it.
    pub panic: String,
    /// Extensions, such as `trainer.target-transform/1`, that a host must call for it to work; hosts refuse what they do not know.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Augmentation that it is trained with unless the user names another one: `default`, `da5` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<String>,
    /// How weights are moved unless the user says otherwise, in the words of the command line: `--optimiser adamw --schedule cosine`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<String>,
    /// Methods of [`Trainer`](crate::Trainer) that it leaves as they are, see [`export_trainer!`](crate::export_trainer). Since 1.2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keeps: Vec<String>,
    /// Ids of the extensions that it has: hosts refuse a plugin that then returns no table for one. Since 1.2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
}

/// The trainer's `activate` is the default: softmax, sigmoid or nothing, by the kind of the output.
pub const ACTIVATE: &str = "activate";
/// The trainer's `forward` computes level i of a dense output from decoder map i alone, and an image-level output from the bottleneck and the
/// finest decoder map, as [`Base`](crate::Base) does. Parameters that are called as nnU-Net's segmentation layers are
/// (`<output>.seg_layers.<i>.weight` and `.bias`, see [`DenseHead`](crate::heads::DenseHead)) are 1×1 convolutions, and nothing comes after them.
pub const FORWARD: &str = "forward";

impl Manifest {
    /// Whether it says that `method`, [`ACTIVATE`] or [`FORWARD`], is kept. Hosts compare before they rely on it.
    pub fn keeps(&self, method: &str) -> bool {
        self.keeps.iter().any(|kept| kept == method)
    }
}

/// `bytes` as text.
pub const fn utf8(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("not UTF-8"),
    }
}

/// Length of [`join`]'s result.
pub const fn length(pieces: &[&str]) -> usize {
    let (mut total, mut i) = (0, 0);
    while i < pieces.len() {
        total += pieces[i].len();
        i += 1;
    }
    total
}

/// Joins `pieces`. Every second one is a value: what JSON would have to escape in it becomes a blank or an apostrophe, so that the length is known.
pub const fn join<const N: usize>(pieces: &[&str]) -> [u8; N] {
    let mut out = [b' '; N];
    let (mut at, mut i) = (0, 0);
    while i < pieces.len() {
        let bytes = pieces[i].as_bytes();
        let mut j = 0;
        while j < bytes.len() {
            out[at] = match bytes[j] {
                byte if i % 2 == 0 => byte,
                b'"' => b'\'',
                b'\\' | 0..=0x1f => b' ',
                byte => byte,
            };
            at += 1;
            j += 1;
        }
        i += 1;
    }
    out
}

/// Exports a [`Trainer`](crate::Trainer) type as this library's plugin: manifest, and the Rust door. Call it once, at the crate's top.
///
/// `export_trainer!(Mine, augmentation = "da5")` asks for another augmentation than nnU-Net's default, see [`Manifest::augmentation`], and
/// `export_trainer!(Mine, training = "--optimiser adamw")` for another optimiser, see [`Manifest::training`].
///
/// `export_trainer!(Mine, keeps = [activate, forward])` says which methods the trainer leaves as they are: [`ACTIVATE`], [`FORWARD`]. Where `activate` is
/// kept, the host makes label maps in small pieces instead of asking the plugin for whole images; where both are, the model can be exported for stock
/// nnU-Net. The host compares with the defaults whenever it loads the plugin, and refuses a plugin that is different from what it says.
///
/// `export_trainer!(Mine, requires = ["trainer.target-transform/1"])` names [extensions](crate::extensions) without which the trainer is not itself: a
/// host that would never call them refuses the plugin, instead of training something else.
///
/// A trainer that implements [`Metrics`](crate::extensions::Metrics) or [`LossWithGrad`](crate::extensions::LossWithGrad) without listing it in
/// [`EXTENSIONS`](crate::Trainer::EXTENSIONS) does not compile: it would never be called. A
/// [`TargetTransform`](crate::extensions::TargetTransform) is another type, which this macro does not see: there the compiler warns that it is never used.
///
/// Arguments come in this order: the trainer, `augmentation`, `training`, `keeps`, `requires`.
#[macro_export]
macro_rules! export_trainer {
    ($trainer:ty $(, augmentation = $augmentation:literal)? $(, training = $training:literal)? $(, keeps = [$kept:ident $(, $more:ident)*])?
     $(, requires = [$needed:literal $(, $further:literal)*])?) => {
        const _: () = {
            use $crate::extensions::listed::{Implements, Unimplemented as _};
            assert!(
                !Implements::<$trainer>::METRICS || $crate::extensions::lists::<$trainer>($crate::extensions::metrics::ID),
                "the trainer implements Metrics, but its EXTENSIONS do not list Extension::metrics::<Self>(): it would never be called"
            );
            assert!(
                !Implements::<$trainer>::LOSS_WITH_GRAD || $crate::extensions::lists::<$trainer>($crate::extensions::loss_with_grad::ID),
                "the trainer implements LossWithGrad, but its EXTENSIONS do not list Extension::loss_with_grad::<Self>(): it would never be called"
            );

            const IDS: [u8; $crate::extensions::ids_length::<$trainer>()] = $crate::extensions::ids::<$trainer, _>();

            const PIECES: &[&str] = &[
                "{\"id\":\"",
                env!("CARGO_PKG_NAME"),
                "\",\"version\":\"",
                env!("CARGO_PKG_VERSION"),
                "\",\"authors\":\"",
                env!("CARGO_PKG_AUTHORS"),
                "\",\"license\":\"",
                env!("CARGO_PKG_LICENSE"),
                "\",\"description\":\"",
                env!("CARGO_PKG_DESCRIPTION"),
                "\",\"api\":\"",
                $crate::manifest::API_VERSION,
                "\",\"libtorch\":\"",
                $crate::manifest::LIBTORCH,
                "\",\"compiler\":\"",
                $crate::manifest::RUSTC,
                "\",\"target\":\"",
                $crate::manifest::TARGET,
                $("\",\"augmentation\":\"", $augmentation,)?
                $("\",\"training\":\"", $training,)?
                concat!(
                    "\"",
                    $(",\"keeps\":[\"", $crate::kept_method!($kept), "\"", $(",\"", $crate::kept_method!($more), "\"",)* "]",)?
                    $(",\"requires\":[\"", $needed, "\"", $(",\"", $further, "\"",)* "]",)?
                    ",\"extensions\":["
                ),
                "",
                $crate::manifest::utf8(&IDS),
                "",
                "],\"panic\":\"",
                if cfg!(panic = "unwind") { "unwind" } else { "abort" },
                "\"}",
            ];

            #[used]
            #[unsafe(link_section = ".trainer.plugin")]
            static MANIFEST: [u8; $crate::manifest::length(PIECES)] = $crate::manifest::join(PIECES);

            extern "C" fn load() -> $crate::abi_stable::library::RootModuleResult {
                $crate::abi_stable::library::__call_root_module_loader($crate::door::root_module::<$trainer>)
            }

            // What abi_stable's own `export_root_module` expands to; written out so that authors need not depend on abi_stable.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static HEADER: $crate::abi_stable::library::LibHeader =
                // SAFETY: `load` returns a `PluginRef`, the type named here.
                unsafe {
                    $crate::abi_stable::library::LibHeader::from_constructor::<$crate::abi::PluginRef>(
                        load,
                        $crate::abi_stable::library::CheckTypeLayout::Yes,
                    )
                };
        };
    };
}

/// The word for a method that a trainer can keep; any other does not compile.
#[doc(hidden)]
#[macro_export]
macro_rules! kept_method {
    (activate) => {
        "activate"
    };
    (forward) => {
        "forward"
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_break_the_json() {
        const PIECES: &[&str] = &["{\"a\":\"", "say \"hi\"\\\n", "\"}"];
        const JOINED: [u8; length(PIECES)] = join(PIECES);
        let value: serde_json::Value = serde_json::from_slice(&JOINED).unwrap();
        assert_eq!(value["a"], "say 'hi'  ");
    }
}
