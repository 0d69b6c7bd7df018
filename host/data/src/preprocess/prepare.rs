//! Everything that has to be there before training: fingerprint, plans, splits and preprocessed cases.
//!
//! All of it lies in `<preprocessed>/<dataset>` under nnU-Net's names. Each step first takes the one before it, so a command may ask
//! for the last alone. What is there is used: a fingerprint of ours while the raw data is what it was made from, plans until somebody
//! plans anew, splits for good, cases while files and plans are what they were made from; `dataset.json` is a copy of the raw one. A
//! fingerprint or plans that somebody else wrote or edited, nnU-Net included, are never replaced unless asked to.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::case::{content_of, shape_at, state_of};
use super::key::{data_key_part, is_usual};
use super::store::{self, CaseStore, Unused};
use super::{Error, preprocess_all};
use crate::dataset::{self, Dataset, Operation, Target, TargetSource, splits};
use crate::fingerprint::{self, Fingerprint, WrittenBy};
use crate::nearest::hint;
use crate::parallel::Progress;
use crate::plan::{Configuration, PlanOptions, PlannerKind, Plans, plan};
use imaging::io::write_json;

/// A data set that is being made ready.
pub struct Preparation<'a> {
    dataset: &'a Dataset,
    folder: PathBuf,
    threads: usize,
    progress: &'a (dyn Fn(Progress) + Sync),
    /// Nobody else prepares this data set.
    alone: bool,
}

/// A configuration whose cases are ready for training.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// `<preprocessed>/<dataset>`: plans, fingerprint, `dataset.json` and splits.
    pub folder: PathBuf,
    /// The fingerprint.
    pub fingerprint: Fingerprint,
    /// The plans.
    pub plans: Plans,
    /// Name of the configuration.
    pub name: String,
    /// The configuration, inheritance resolved.
    pub configuration: Configuration,
    /// The preprocessed cases.
    pub store: CaseStore,
    /// What names the arrays in data keys.
    pub data_key_part: String,
}

impl<'a> Preparation<'a> {
    /// Prepares `dataset` below `preprocessed_root` on `threads` threads.
    pub fn new(dataset: &'a Dataset, preprocessed_root: &Path, threads: usize, progress: &'a (dyn Fn(Progress) + Sync)) -> Self {
        Self { dataset, folder: preprocessed_root.join(&*dataset.name), threads, progress, alone: true }
    }

    /// The same, where it is known whether another program may work in the folder.
    #[must_use]
    pub fn alone(self, alone: bool) -> Self {
        Self { alone, ..self }
    }

    /// `<preprocessed>/<dataset>`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The fingerprint, extracted unless it is there; with `overwrite` also then.
    ///
    /// # Errors
    /// When a case or the file that is there is broken, or nothing can be written.
    pub fn fingerprint(&self, overwrite: bool) -> Result<Fingerprint, Error> {
        let path = self.folder.join("dataset_fingerprint.json");
        let program = concat!("host ", env!("CARGO_PKG_VERSION")).to_owned();
        let inputs = state_of(self.files(), &self.dataset.folder);
        if path.is_file() && !overwrite {
            let mut fingerprint = Fingerprint::read(&path)?;
            let (found, cases) = (fingerprint.spacings.len(), self.dataset.cases.len());
            match &mut fingerprint.written_by {
                None => {
                    if found != cases {
                        log::warn!(
                            "{}: describes {found} cases, the data set has {cases}; extract it anew with host fingerprint --overwrite",
                            path.display()
                        );
                    }
                    return Ok(fingerprint);
                }
                Some(existing) if !self.reads_as(existing)? => {
                    log::info!("{}: made by another reader of the files than is asked for; extracted anew", path.display());
                }
                Some(existing) if existing.inputs == inputs => return Ok(fingerprint),
                // Copied files have other times.
                Some(existing) if existing.content.is_some() && existing.content == content_of(self.files(), &self.dataset.folder) => {
                    existing.inputs = inputs;
                    // Else contents are compared once more.
                    let _ = fingerprint.write(&path);
                    return Ok(fingerprint);
                }
                Some(_) => log::info!("{}: made from other files; extracted anew", path.display()),
            }
        }
        // Before they are read: files that change meanwhile must not pass for those that were read.
        let content = content_of(self.files(), &self.dataset.folder);
        let reader = Some(self.dataset.reader()?.name().to_owned());
        let mut fingerprint = fingerprint::extract(self.dataset, self.threads, self.progress)?;
        fingerprint.written_by = Some(WrittenBy { program, inputs, content, reader });
        match fingerprint.write(&path) {
            Err(error) if !self.alone => log::warn!("{error}; the new fingerprint is used all the same"),
            written => written?,
        }
        Ok(fingerprint)
    }

    /// Whether the data set is read as it was for that fingerprint.
    fn reads_as(&self, existing: &WrittenBy) -> Result<bool, Error> {
        let reader = self.dataset.reader()?.name();
        Ok(existing.reader.as_ref().map_or_else(|| is_usual(reader, self.dataset), |existing| existing == reader))
    }

    /// Plans anew and writes plans, `dataset.json` and splits. Configurations that the file has and the planner does not know stay.
    ///
    /// # Errors
    /// As [`Self::fingerprint`]; when no plan fits, or the file that is there is somebody's own and `overwrite` is not set.
    pub fn plan(&self, options: &PlanOptions, overwrite: bool) -> Result<Plans, Error> {
        let fingerprint = self.fingerprint(false)?;
        let plans = plan(&fingerprint, &self.dataset.description, &self.dataset.name, self.dataset.reader()?, options)?;
        self.check_sizes(&plans, &fingerprint)?;
        // What is refused is refused before anything is replaced.
        self.splits()?;
        let path = self.plans_path(&plans.plans_name);
        plans.write(&path, overwrite)?;
        self.copy_description()?;
        Ok(Plans::read(&path)?)
    }

    /// The plans that are there, else new ones.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn plans(&self, options: &PlanOptions) -> Result<Plans, Error> {
        let name = options.plans_name();
        let path = self.plans_path(&name);
        if !path.is_file() {
            // A name that no planner gives its plans is more likely misspelt than meant for new ones.
            let known = PlannerKind::all().map(PlannerKind::plans_name);
            if !known.clone().any(|known| known == &*name) {
                return Err(Error::UnknownPlans { path, hint: hint(&name, known) });
            }
            return self.plan(options, false);
        }
        let plans = Plans::read(&path)?;
        let fingerprint = self.fingerprint(false)?;
        if plans.foreground_intensity_properties_per_channel != fingerprint.foreground_intensity_properties_per_channel {
            log::warn!(
                "{}: planned from another fingerprint than {} has now; plan anew with host plan",
                path.display(),
                self.folder.display()
            );
        }
        if let Some(asked) = self.dataset.description.asked_reader().filter(|asked| asked.name() != plans.image_reader_writer) {
            log::warn!(
                "{}: images are read by {}, though dataset.json asks for {}; plan anew with host plan --overwrite to read by that",
                path.display(),
                plans.image_reader_writer,
                asked.name()
            );
        }
        self.splits()?;
        self.copy_description()?;
        Ok(plans)
    }

    /// Preprocesses all cases for the configurations called `names`; with `overwrite` also those that are there.
    ///
    /// # Errors
    /// When a configuration does not exist, or the reader of the plans; when a target is in mm and cases keep their spacing; the first error that a
    /// case meets. What is complete by then stays and is not done again.
    pub fn preprocess(&self, plans: &Plans, names: &[impl AsRef<str>], overwrite: bool) -> Result<Vec<Prepared>, Error> {
        // Before a store is made.
        plans.reader()?;
        let fingerprint = self.fingerprint(false)?;
        let find = |name: &str| {
            let configuration = plans.configuration(name)?;
            self.check_millimetres(name, &configuration)?;
            Ok::<_, Error>((name.to_owned(), configuration))
        };
        let found = names.iter().map(|name| find(name.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let configurations: Vec<&Configuration> = found.iter().map(|(_, configuration)| configuration).collect();
        let stores = preprocess_all(&self.folder, self.dataset, plans, &configurations, self.threads, overwrite, self.progress)?;
        let prepared = found.into_iter().zip(stores).map(|((name, configuration), store)| Prepared {
            folder: self.folder.clone(),
            fingerprint: fingerprint.clone(),
            plans: plans.clone(),
            name,
            store,
            data_key_part: data_key_part(self.dataset, plans, &configuration),
            configuration,
        });
        Ok(prepared.collect())
    }

    /// Removes the stores that belong to no configuration of any plans of this data set, but for those that another program uses.
    ///
    /// # Errors
    /// When one cannot be removed, plans cannot be read or have a configuration that cannot (its store would be taken for unused), or another
    /// program may work in the folder.
    pub fn clean(&self) -> Result<Vec<Unused>, Error> {
        if !self.alone {
            return Err(Error::NotAlone { path: self.folder.clone() });
        }
        let mut plans = Vec::new();
        for name in dataset::visible_names(&self.folder)?.into_iter().filter(|name| name.ends_with(".json")) {
            let path = self.folder.join(name);
            // What lies here beside plans was written by this program, or by nnU-Net.
            let is_other = ["dataset.json", "dataset_fingerprint.json", "splits_final.json"].iter().any(|other| path.ends_with(other));
            if !is_other {
                plans.push(Plans::read(&path)?);
            }
        }
        let mut current = Vec::new();
        for plans in &plans {
            for name in plans.configurations.keys() {
                current.push((plans, plans.configuration(name)?));
            }
        }
        store::clean(&self.folder, self.dataset, current.iter().map(|(plans, configuration)| (*plans, configuration)))
    }

    /// Says which configurations preprocessing will refuse, because an image would be larger than the program's limit; refuses plans that
    /// have no other.
    fn check_sizes(&self, plans: &Plans, fingerprint: &Fingerprint) -> Result<(), Error> {
        let channels = self.dataset.description.channel_names.len();
        let mut refusals = Vec::new();
        for name in plans.configurations.keys() {
            let configuration = plans.configuration(name)?;
            let extents = fingerprint.shapes_after_crop.iter().zip(&fingerprint.spacings);
            let mut shapes = self.dataset.cases.iter().zip(extents).map(|(case, (shape, spacing))| {
                let (shape, spacing) = (plans.transpose_forward.map(|axis| shape[axis]), plans.transpose_forward.map(|axis| spacing[axis]));
                shape_at(shape, spacing, &configuration, channels, &case.images[0])
            });
            refusals.extend(shapes.find_map(Result::err).map(|error| (name, error)));
        }
        if refusals.len() < plans.configurations.len() {
            refusals.iter().for_each(|(name, error)| log::warn!("configuration {name} cannot be preprocessed: {error}"));
            return Ok(());
        }
        refusals.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Refuses targets in mm for a configuration whose cases keep spacings that no array tells.
    fn check_millimetres(&self, name: &str, configuration: &Configuration) -> Result<(), Error> {
        let is_measured = |target: &Target| {
            target.kind.is_vector() || matches!(target.source, TargetSource::Derived { operation: Operation::SignedDistance, .. })
        };
        match self.dataset.description.targets.iter().find(|(_, target)| is_measured(target)) {
            Some((target, _)) if !configuration.resamples() => {
                Err(Error::Millimetres { configuration: name.to_owned(), target: target.clone() })
            }
            _ => Ok(()),
        }
    }

    fn plans_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// nnU-Net expects `dataset.json` beside the plans.
    fn copy_description(&self) -> Result<(), Error> {
        let path = self.folder.join("dataset.json");
        let described = &self.dataset.description.json;
        // Compared as text, since values ignore order, and the order of regions has a meaning; parsed first, since layout has none.
        let (there, wanted) = (imaging::io::read_json(&path).map(|there: Value| there.to_string()), described.to_string());
        if there.as_ref().is_ok_and(|there| *there == wanted) {
            return Ok(());
        }
        match write_json(&path, described) {
            Err(error) if !self.alone => {
                let there = match there {
                    Ok(_) => "is another than that of the raw data".to_owned(),
                    Err(error) => error.to_string(),
                };
                log::warn!("{error}; the dataset.json there {there}; that of the raw data is used");
            }
            written => written?,
        }
        Ok(())
    }

    fn splits(&self) -> Result<(), Error> {
        match splits::load_or_create_splits(&self.folder, &self.dataset.folder, &self.dataset.case_ids()) {
            Ok(_) => Ok(()),
            // Few cases can still be trained on all at once; asking for a fold of them is refused then.
            Err(few @ dataset::Error::TooFewCases { .. }) => {
                log::warn!("{few}");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// All files that the fingerprint is made of: other targets than the segmentation do not show in it.
    fn files(&self) -> impl Iterator<Item = &Path> {
        self.dataset.cases.iter().flat_map(|case| case.images.iter().map(PathBuf::as_path).chain(case.segmentation()))
    }
}
