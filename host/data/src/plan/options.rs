//! What can be asked of planning: which of nnU-Net's planners, for how much GPU memory, at which spacing, under which name.

use super::{Error, PlannerKind};
use crate::name::Name;

/// How to plan; the default is nnU-Net's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanOptions {
    /// The planner.
    pub planner: PlannerKind,
    /// GPU memory to fill, in GB; `None` as the planner has it. Patch and batch grow with it (`-gpu_memory_target`).
    pub memory_gb: Option<f64>,
    /// Name of the plans; `None` as the planner has it (`-overwrite_plans_name`).
    pub plans_name: Option<Name>,
    /// Spacing of `3d_fullres` in mm, (z, y, x) of the raw images; `None` by the fingerprint (`-overwrite_target_spacing`).
    /// `2d` and `3d_lowres` start from it too.
    pub spacing: Option<[f64; 3]>,
}

impl PlanOptions {
    /// For plans called `name`: by the planner whose plans have that name, else by the default one.
    pub fn named(name: &Name) -> Self {
        let planner = PlannerKind::all().find(|planner| *name == planner.plans_name()).unwrap_or_default();
        Self { planner, plans_name: Some(name.clone()), ..Self::default() }
    }

    /// Name of the plans that come of these options.
    pub fn plans_name(&self) -> Name {
        self.plans_name.clone().unwrap_or_else(|| Name::known(self.planner.plans_name()))
    }

    /// GPU memory to fill, in GB.
    pub(super) fn memory_gb(&self) -> f64 {
        self.memory_gb.unwrap_or(self.planner.preset().memory_gb)
    }

    /// Refuses what cannot be planned for.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |option, found, expected| Err(Error::Option { option, found, expected });
        let positive = |value: f64| value > 0.0 && value.is_finite();
        if !positive(self.memory_gb()) {
            return refuse("GPU memory", format!("{} GB", self.memory_gb()), "a positive number");
        }
        if let Some(spacing) = self.spacing.filter(|spacing| !spacing.iter().copied().all(positive)) {
            return refuse("target spacing", format!("{spacing:?}"), "three positive numbers in mm");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planners_have_two_names() {
        for planner in PlannerKind::all() {
            assert_eq!(planner.name().parse::<PlannerKind>().expect("short name"), planner);
            assert_eq!(planner.class_name().parse::<PlannerKind>().expect("class name"), planner);
        }
        assert_eq!(PlanOptions::named(&Name::known("nnUNetResEncUNetLPlans")).planner.name(), "ResEncL");
        assert_eq!(PlanOptions::named(&Name::known("mine")).planner, PlannerKind::default());
        let message = "ResEncXXL".parse::<PlannerKind>().expect_err("unknown").to_string();
        assert!(message.contains("did you mean \"ResEncXL\"?"), "{message}");
    }

    #[test]
    fn nonsense_is_refused() {
        let base = PlanOptions::default();
        base.check().expect("nnU-Net's own");
        for (options, part) in [
            (PlanOptions { memory_gb: Some(f64::NAN), ..base.clone() }, "GPU memory"),
            (PlanOptions { memory_gb: Some(-1.0), ..base.clone() }, "-1 GB"),
            (PlanOptions { spacing: Some([1.0, 0.0, 1.0]), ..base }, "[1.0, 0.0, 1.0]"),
        ] {
            let message = options.check().expect_err("must be refused").to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
