//! `fuzz TARGET FOLDER` writes the first inputs of a target.

use std::fs;
use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, folder] = &arguments[..] else { panic!("expected TARGET FOLDER") };
    for (number, seed) in (fuzz::find(target).seeds)().into_iter().enumerate() {
        fs::write(Path::new(folder).join(format!("seed_{number}")), seed).expect("the folder is there and can be written to");
    }
}
