//! Which augmentation: one by name, or any from a file, with changes.

use std::path::Path;

use imaging::augment::Augmentation;

use super::Error;
use crate::assign::assign;
use crate::config::Augmenting;
use data::nearest::hint;

impl Augmenting {
    /// Name or file of the pipeline; `wish` is what the plugin's manifest asks for.
    pub fn name<'a>(&'a self, wish: Option<&'a str>) -> &'a str {
        self.augmentation.as_deref().or(wish).unwrap_or("default")
    }

    /// The pipeline for patches of size `patch` (Z, Y, X; Z = 1 for `dims` = 2); `wish` is what the plugin's manifest asks for.
    ///
    /// # Errors
    /// When there is no such pipeline or file, or it cannot be carried out on such patches.
    pub fn resolve(&self, wish: Option<&str>, patch: [usize; 3], dims: usize) -> Result<Augmentation, Error> {
        let name = self.name(wish);
        let asker = if self.augmentation.is_none() && wish.is_some() { "the plugin asks for augmentation" } else { "--augmentation" };
        let wrong = |cause: String| Error::Pipeline { place: format!("{asker} {name}"), cause };
        let mut pipeline = match Augmentation::named(name, patch, dims) {
            Some(pipeline) => pipeline,
            // A plugin cannot know where there are files.
            None if self.augmentation.is_some() && Path::new(name).exists() => {
                imaging::io::read_json(Path::new(name)).map_err(|error| wrong(error.to_string()))?
            }
            None => return Err(wrong(format!("there is no such pipeline; {}", hint(name, Augmentation::NAMES)))),
        };
        pipeline.check(patch).map_err(|error| wrong(error.to_string()))?;
        for change in &self.augment {
            let wrong = |cause: String| Error::Pipeline { place: format!("--augment {change}"), cause };
            let mut document = serde_json::to_value(&pipeline).map_err(|error| wrong(error.to_string()))?;
            assign(&mut document, change).map_err(|error| wrong(error.to_string()))?;
            pipeline = serde_json::from_value(document).map_err(|error| wrong(error.to_string()))?;
        }
        // Only together do changes have to fit.
        let wrong = |error: imaging::augment::Error| Error::Pipeline {
            place: format!("--augment {}", self.augment.join(" ")),
            cause: error.to_string(),
        };
        pipeline.check(patch).map_err(wrong)?;
        Ok(pipeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: [usize; 3] = [16; 3];

    const DEFAULT: Augmenting = Augmenting { augmentation: None, augment: Vec::new() };

    fn choice(pipeline: &str, changes: &[&str]) -> Augmenting {
        Augmenting { augmentation: Some(pipeline.to_owned()), augment: changes.iter().map(|change| (*change).to_owned()).collect() }
    }

    #[test]
    fn the_flag_wins_over_the_plugin_and_changes_apply() {
        let named = |name| Augmentation::named(name, PATCH, 3).expect("known");
        assert_eq!(DEFAULT.resolve(None, PATCH, 3).expect("default"), named("default"));
        assert_eq!(DEFAULT.resolve(Some("da5"), PATCH, 3).expect("known"), named("da5"));
        assert_eq!(choice("none", &[]).resolve(Some("da5"), PATCH, 3).expect("known"), named("none"));
        let changed = choice("default", &["mirror=null", "spatial.labels=nearest", "intensity.0.probability=0"]);
        let changed = changed.resolve(None, PATCH, 3).expect("possible");
        let spatial = changed.spatial.expect("turns");
        assert!(
            changed.mirror.is_none()
                && spatial.labels == imaging::augment::Interpolation::Nearest
                && changed.intensity[0].probability == 0.0
        );
    }

    #[test]
    fn files_are_read_and_mistakes_are_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("mine.json");
        let text = serde_json::to_string(&Augmentation::da5(PATCH, 3)).expect("plain data");
        std::fs::write(&path, text).expect("written");
        let path = path.to_str().expect("a name");
        assert_eq!(choice(path, &[]).resolve(None, PATCH, 3).expect("valid"), Augmentation::da5(PATCH, 3));
        let refused = |choice: Augmenting| choice.resolve(None, PATCH, 3).expect_err("must be refused").to_string();
        assert!(refused(choice("defualt", &[])).contains("did you mean \"default\"?"));
        assert!(refused(choice("default", &["mirror.axis=1"])).contains("unknown field `axis`"));
        assert!(refused(choice("default", &["mirror.axes=[3]"])).contains("mirror.axes is [3], expected different axes"));
        std::fs::write(folder.path().join("mine.json"), "{\"spatial\": null}").expect("written");
        assert!(refused(choice(path, &[])).contains("missing field `intensity`"));
    }
}
