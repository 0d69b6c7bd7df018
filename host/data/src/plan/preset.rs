//! nnU-Net's planners, each with all in which they differ (`default_experiment_planner.py`, `residual_encoder_unet_planners.py`). Another preset is
//! another row of `PRESETS`.

use std::fmt;
use std::str::FromStr;

use super::Error;
use super::unet::{PLAIN, PlannedUnet, RESIDUAL};
use crate::nearest::hint;

/// What a planner plans by.
#[derive(Debug)]
pub(super) struct Preset {
    /// The short name that the command line takes.
    name: &'static str,
    /// nnU-Net's name.
    class_name: &'static str,
    /// nnU-Net's name of its plans.
    plans_name: &'static str,
    /// The network.
    pub unet: &'static PlannedUnet,
    /// Whether it trains on the data of the default planner where both plan the same spacing.
    pub shares_data: bool,
    /// GPU memory in GB that it plans for unless told otherwise, and that its reference values stand for.
    pub memory_gb: f64,
    /// Elements of feature maps that this memory takes, in 2D and 3D (`UNet_reference_val_2d` and `_3d`).
    pub elements: [f64; 2],
    /// The part of all voxels that a batch covers at most.
    pub max_dataset_covered: f64,
}

static PRESETS: &[Preset] = &[
    // A plain convolutional U-Net for 8 GB.
    Preset {
        name: "default",
        class_name: "ExperimentPlanner",
        plans_name: "nnUNetPlans",
        unet: &PLAIN,
        shares_data: false,
        memory_gb: 8.0,
        elements: [85e6, 560e6],
        max_dataset_covered: 0.05,
    },
    // A U-Net with a residual encoder for 8 GB, batches of at most 5 % of the data.
    Preset {
        name: "ResEnc",
        class_name: "ResEncUNetPlanner",
        plans_name: "nnUNetResEncUNetPlans",
        unet: &RESIDUAL,
        shares_data: true,
        memory_gb: 8.0,
        elements: [135e6, 680e6],
        max_dataset_covered: 0.05,
    },
    // The same without that limit on batches.
    Preset {
        name: "ResEncM",
        class_name: "nnUNetPlannerResEncM",
        plans_name: "nnUNetResEncUNetMPlans",
        unet: &RESIDUAL,
        shares_data: true,
        memory_gb: 8.0,
        elements: [135e6, 680e6],
        max_dataset_covered: 1.0,
    },
    Preset {
        name: "ResEncL",
        class_name: "nnUNetPlannerResEncL",
        plans_name: "nnUNetResEncUNetLPlans",
        unet: &RESIDUAL,
        shares_data: true,
        memory_gb: 24.0,
        elements: [380e6, 2100e6],
        max_dataset_covered: 1.0,
    },
    Preset {
        name: "ResEncXL",
        class_name: "nnUNetPlannerResEncXL",
        plans_name: "nnUNetResEncUNetXLPlans",
        unet: &RESIDUAL,
        shares_data: true,
        memory_gb: 40.0,
        elements: [560e6, 3600e6],
        max_dataset_covered: 1.0,
    },
];

/// One of nnU-Net's planners.
#[derive(Clone, Copy, Debug)]
pub struct PlannerKind(&'static Preset);

impl Default for PlannerKind {
    /// `ExperimentPlanner`.
    fn default() -> Self {
        Self(&PRESETS[0])
    }
}

impl PartialEq for PlannerKind {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl PlannerKind {
    /// All planners.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        PRESETS.iter().map(Self)
    }

    /// The short name that the command line takes; [`PlannerKind::class_name`] is taken as well.
    pub fn name(self) -> &'static str {
        self.preset().name
    }

    /// nnU-Net's name, which plans carry as `experiment_planner_used`.
    pub fn class_name(self) -> &'static str {
        self.preset().class_name
    }

    /// Name of the plans unless another one is asked for.
    pub fn plans_name(self) -> &'static str {
        self.preset().plans_name
    }

    pub(super) fn preset(self) -> &'static Preset {
        self.0
    }
}

impl fmt::Display for PlannerKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PlannerKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::all().find(|planner| planner.name() == name || planner.class_name() == name).ok_or_else(|| {
            let names = Self::all().map(Self::name);
            Error::UnknownPlanner { name: name.to_owned(), hint: hint(name, names) }
        })
    }
}
