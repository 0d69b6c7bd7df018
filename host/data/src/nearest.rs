//! The name that somebody probably meant, for error messages.

/// Longer names are not compared, nor more of them: the time that a comparison takes grows with the product of lengths.
const LONGEST_COMPARED: usize = 128;
const MOST_COMPARED: usize = 2000;
/// Characters of a name or a value that a message shows.
const LONGEST_SHOWN: usize = 300;
/// Names that a message lists.
const MOST_LISTED: usize = 40;

/// The candidate that `name` was probably meant to be, for error messages.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_short = |name: &str| name.len() <= LONGEST_COMPARED;
    candidates
        .into_iter()
        .take(MOST_COMPARED)
        .filter(|candidate| is_short(name) && is_short(candidate))
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.4)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// `did you mean "labels"?`, or the list of what is possible where nothing is near.
pub fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, candidates.clone()) {
        Some(candidate) => format!("did you mean {candidate:?}?"),
        None => {
            let mut names = candidates.into_iter();
            let mut listed = names.by_ref().take(MOST_LISTED).map(shortened).collect::<Vec<_>>().join(", ");
            if names.next().is_some() {
                listed += ", …";
            }
            format!("possible: {listed}")
        }
    }
}

/// What a message shows of a name or a value.
pub fn shortened(name: &str) -> String {
    if name.len() <= LONGEST_SHOWN { name.to_owned() } else { name.chars().take(LONGEST_SHOWN).chain(['…']).collect() }
}
