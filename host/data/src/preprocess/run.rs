//! Preprocesses all cases of a data set into stores, and only those that are not there yet.

use std::path::Path;

use super::store::{CaseStore, Filling};
use super::{CroppedCase, Error};
use crate::dataset::Dataset;
use crate::parallel::{Progress, Stage, for_each_case, guarded};
use crate::plan::{Configuration, Plans};

/// Preprocesses every case for every one of `configurations`, on `threads` threads, into stores below `folder`; the files of a case are
/// read once for all. Cases that are there and up to date are left, so that an interrupted run goes on where it was; with `overwrite`
/// none is. Returns the stores, which are in use from now on.
///
/// # Errors
/// The first error that a case meets; what is complete stays. A case that is there and would be replaced while another program uses it.
pub fn preprocess_all(
    folder: &Path,
    dataset: &Dataset,
    plans: &Plans,
    configurations: &[&Configuration],
    threads: usize,
    overwrite: bool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<CaseStore>, Error> {
    // Configurations may share a store: a cascade's data is that of the full resolution.
    let (mut fillings, mut places) = (Vec::<(Filling, &Configuration)>::new(), Vec::new());
    for configuration in configurations {
        let filling = Filling::open(folder, dataset, plans, configuration, overwrite)?;
        let place = fillings.iter().position(|(other, _)| other.folder() == filling.folder());
        places.push(place.unwrap_or(fillings.len()));
        if place.is_none() {
            fillings.push((filling, configuration));
        }
    }
    for_each_case(&dataset.cases, threads, Stage::Preprocess, progress, |case| -> Result<(), Error> {
        let mut lacking = Vec::new();
        for filling in &fillings {
            if filling.0.lacks(case)? {
                lacking.push(filling);
            }
        }
        if lacking.is_empty() {
            return Ok(());
        }
        guarded(&case.id, || {
            let cropped = CroppedCase::read(case, dataset, plans)?;
            lacking.into_iter().try_for_each(|(filling, configuration)| {
                filling.write(case, &cropped.preprocess(plans, configuration)?, configuration.patch_zyx())
            })
        })?;
        imaging::failpoint::reached(format_args!("preprocess.case"));
        Ok(())
    })?;
    let stores = fillings.into_iter().map(|(filling, _)| filling.done()).collect::<Result<Vec<_>, _>>()?;
    Ok(places.into_iter().map(|place| stores[place].clone()).collect())
}
