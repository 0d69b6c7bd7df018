//! Modules stand in an order: what one uses does not use it, not even by way of others. Reads the `crate::` paths of every source file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Crates whose top-level modules are looked at, below `host/`.
const CRATES: [&str; 5] = [".", "data", "gate", "imaging", "kernels"];

/// Which modules each module uses, and in which file it does so first.
type Uses = BTreeMap<String, BTreeMap<String, PathBuf>>;

#[test]
fn no_module_uses_one_that_uses_it() {
    for name in CRATES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let uses = uses(&folder);
        assert!(uses.len() > 2, "{} has hardly any module", folder.display());
        if let Some(circle) = circle(&uses) {
            let steps: Vec<String> = circle.windows(2).map(|pair| step(&uses, &pair[0], &pair[1])).collect();
            panic!("host/{name}: modules use each other in a circle; move what they share to one that both use:\n  {}", steps.join("\n  "));
        }
    }
}

#[test]
fn a_circle_is_found_in_all_ways_that_a_path_is_written() {
    let uses = |texts: &[(&str, &str)]| -> Uses {
        let known: BTreeSet<String> = texts.iter().map(|(module, _)| (*module).to_owned()).collect();
        texts
            .iter()
            .map(|(module, text)| ((*module).to_owned(), used(text, &known).into_iter().map(|to| (to, PathBuf::new())).collect()))
            .collect()
    };
    let grouped =
        uses(&[("a", "use crate::{b::C, other};"), ("b", "fn f() { crate::c::g() }"), ("c", "use crate::{\n    x::{y, z},\n    a,\n};")]);
    assert_eq!(circle(&grouped), Some(["a", "b", "c", "a"].map(str::to_owned).to_vec()));
    let tests_may = uses(&[("a", "use crate::b;"), ("b", "// crate::a\n#[cfg(test)]\nmod tests { use crate::a; }")]);
    assert_eq!(circle(&tests_may), None);
}

fn step(uses: &Uses, from: &str, to: &str) -> String {
    format!("{from} uses {to} in {}", uses[from][to].display())
}

/// What the modules of the crate whose source is `folder` use of each other.
fn uses(folder: &Path) -> Uses {
    let modules: Vec<(String, PathBuf)> = entries(folder).into_iter().map(|path| (stem(&path), path)).collect();
    let known: BTreeSet<String> = modules.iter().map(|(name, _)| name.clone()).filter(|name| name != "lib" && name != "main").collect();
    let mut uses = Uses::new();
    for (module, path) in modules.iter().filter(|(name, _)| known.contains(name)) {
        let of_module = uses.entry(module.clone()).or_default();
        for file in files(path) {
            let text = fs::read_to_string(&file).expect("a source file");
            for to in used(&text, &known).into_iter().filter(|to| to != module) {
                of_module.entry(to).or_insert_with(|| file.clone());
            }
        }
    }
    uses
}

/// Modules among `known` that a source text names after `crate::`. What follows `#[cfg(test)]` is tests, which may use all.
fn used(text: &str, known: &BTreeSet<String>) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: String = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(firsts(group)),
            None => found.extend(word(rest)),
        }
    }
    found.retain(|name| known.contains(name));
    found
}

/// The first word of every member of a group, which has been opened.
fn firsts(group: &str) -> Vec<String> {
    let (mut depth, mut begins, mut firsts) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                firsts.extend(word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    firsts
}

fn word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// A way from a module to itself, if there is one.
fn circle(uses: &Uses) -> Option<Vec<String>> {
    fn walk(uses: &Uses, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        let module = way.last().expect("begun").clone();
        for to in uses.get(&module).into_iter().flat_map(BTreeMap::keys) {
            if let Some(start) = way.iter().position(|one| one == to) {
                way.drain(..start);
                way.push(to.clone());
                return true;
            }
            if !done.contains(to) {
                way.push(to.clone());
                if walk(uses, way, done) {
                    return true;
                }
                way.pop();
            }
        }
        done.insert(module);
        false
    }
    let mut done = BTreeSet::new();
    uses.keys().find_map(|module| {
        let mut way = vec![module.clone()];
        (!done.contains(module) && walk(uses, &mut way, &mut done)).then_some(way)
    })
}

/// Source files of a module: itself, or all in its folder but tests.
fn files(path: &Path) -> Vec<PathBuf> {
    match path.is_dir() {
        true => entries(path).iter().flat_map(|path| files(path)).collect(),
        false if stem(path) == "tests" || stem(path).ends_with("_tests") => Vec::new(),
        false => vec![path.to_owned()],
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.is_dir() || path.extension().is_some_and(|ending| ending == "rs"));
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}
