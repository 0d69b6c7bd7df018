//! Is one run better than another? Their validation cases, pair by pair: differences, confidence intervals, tests, a plot.
//!
//! `results` reads what validations left; [`Comparison::new`] pairs the cases of two runs by output, label and metric, with the statistics of
//! [`evaluate::paired`](data::evaluate::paired); [`write()`] makes files of it.

mod results;

use super::chart::{self, Line, Panel};
use super::table;
use data::csv::{self, Cell};
use data::evaluate::paired::{self, Paired};
use imaging::io::JsonError;
use imaging::plain::plain;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};

pub use results::{Results, Table};

/// Decides the resamples of the bootstrap.
const SEED: u64 = 20_181;
/// What is called shown.
const LEVEL: f64 = 0.05;

/// Results cannot be read or compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that a validated run has.
    #[error("{}: {source}; is this run trained and validated? (host run … --validate-only)", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("{}: {reason}; validate the run again (host run … --validate-only)", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nothing to pair.
    #[error("{first} and {second} have no output in common that learnt the same target, or no case")]
    NothingInCommon {
        /// A run.
        first: String,
        /// Another one.
        second: String,
    },
    /// The report cannot be written.
    #[error(transparent)]
    Write(#[from] imaging::io::Error),
}

impl Error {
    fn of_json(path: &Path, error: JsonError) -> Self {
        match error {
            JsonError::Read(source) => Self::Missing { path: path.to_owned(), source },
            other => Self::broken(path, &other),
        }
    }

    fn broken(path: &Path, reason: &dyn std::fmt::Display) -> Self {
        Self::Broken { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// One run beside the one that it is compared with.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The run that it is compared with.
    pub first: String,
    /// The run.
    pub second: String,
    /// The plugins that trained the two: id, version, sha256 and manifest.
    pub plugins: [Value; 2],
    /// By output, label and metric.
    pub rows: Vec<Row>,
    /// Metrics that are not tested.
    pub further: Vec<Further>,
    /// What one should know of the cases, beside the numbers.
    pub notes: Vec<String>,
}

/// One metric of one label of one output.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The first run's name of the output.
    pub output: String,
    /// Label or region, or the mean over them.
    pub label: String,
    /// The metric.
    pub metric: &'static str,
    /// Whether larger values are better.
    pub larger_is_better: bool,
    /// Differences, their interval and test.
    #[serde(flatten)]
    pub paired: Paired,
    /// The test's p, corrected for all rows of the comparison (Holm).
    pub p_holm: f64,
    /// Cases in which a value of the two is NaN: they count in nothing of the above.
    pub undefined: Vec<String>,
    /// Case, value of the first run, value of the second.
    #[serde(skip)]
    pub cases: Vec<(String, f64, f64)>,
}

/// Means of one metric of one label of one output, without a test.
#[derive(Debug, Serialize)]
pub struct Further {
    /// The first run's name of the output.
    pub output: String,
    /// Label or region, or the mean over them.
    pub label: String,
    /// The metric.
    pub metric: &'static str,
    /// Whether larger values are better.
    pub larger_is_better: bool,
    /// Cases in which both values are finite.
    pub pairs: usize,
    /// Mean of the first run over these.
    pub first: f64,
    /// Mean of the second run over these.
    pub second: f64,
    /// Mean of second − first.
    pub difference: f64,
}

impl Further {
    /// `None` where no case has both values.
    fn new(table: &Table, values: &[(f64, f64)]) -> Option<Self> {
        let pairs: Vec<&(f64, f64)> = values.iter().filter(|(a, b)| (b - a).is_finite()).collect();
        let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(|pair| of(pair)).sum::<f64>() / pairs.len() as f64;
        let (first, second) = (mean(|(a, _)| *a), mean(|(_, b)| *b));
        let Table { output, label, metric, larger_is_better, .. } = table;
        (!pairs.is_empty()).then(|| Self {
            output: output.clone(),
            label: label.clone(),
            metric,
            larger_is_better: *larger_is_better,
            pairs: pairs.len(),
            first,
            second,
            difference: second - first,
        })
    }
}

impl Comparison {
    /// Pairs the cases that both runs have.
    pub fn new(first: &Results, second: &Results) -> Result<Self, Error> {
        let (mut rows, mut further) = (Vec::new(), Vec::new());
        let mut notes = [first.notes.as_slice(), &second.notes].concat();
        for table in &first.tables {
            let Some(other) = second.counterpart(table) else { continue };
            let pair = |(case, a): (&String, &f64)| Some((case.clone(), *a, *other.values.get(case)?));
            let cases: Vec<(String, f64, f64)> = table.values.iter().filter_map(pair).collect();
            let values: Vec<(f64, f64)> = cases.iter().map(|(_, a, b)| (*a, *b)).collect();
            if !table.is_tested {
                further.extend(Further::new(table, &values));
                continue;
            }
            let undefined: Vec<String> = cases.iter().filter(|(_, a, b)| !(b - a).is_finite()).map(|(case, ..)| case.clone()).collect();
            let words = [table.output.as_str(), &table.label, table.metric];
            let what = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            if !undefined.is_empty() {
                let (left_out, all) = (undefined.len(), cases.len());
                notes.push(format!("{what}: {left_out} of {all} cases are left out, since a value is NaN: {}", some_of(&undefined)));
            }
            let Some(paired) = paired::compare(&values, SEED) else { continue };
            let (output, label, larger_is_better) = (table.output.clone(), table.label.clone(), table.larger_is_better);
            rows.push(Row { output, label, metric: table.metric, larger_is_better, paired, p_holm: f64::NAN, undefined, cases });
        }
        if rows.is_empty() {
            return Err(Error::NothingInCommon { first: first.name.clone(), second: second.name.clone() });
        }
        let corrected = paired::holm(&rows.iter().map(|row| row.paired.p).collect::<Vec<_>>());
        rows.iter_mut().zip(corrected).for_each(|(row, p)| row.p_holm = p);
        let plugins = [first, second].map(|results| results.plugin.clone());
        Ok(Self { first: first.name.clone(), second: second.name.clone(), plugins, rows, further, notes })
    }

    /// As lines for the console: what the first row says in words, then all rows.
    pub fn text(&self) -> String {
        let Self { first, second, rows, .. } = self;
        let mut text = String::new();
        let main = &rows[0];
        let what = [main.output.as_str(), main.label.as_str(), main.metric]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        let Paired { difference, larger, smaller, .. } = main.paired;
        let better = (difference > 0.0) == main.larger_is_better;
        // The test is about ranks: a few large differences may turn the mean round.
        let agree = difference != 0.0 && (difference > 0.0) == (larger > smaller);
        let verdict = match (main.paired.p < LEVEL, agree, better) {
            (true, true, true) => format!("{second} is better than {first}"),
            (true, true, false) => format!("{second} is worse than {first}"),
            (true, false, _) => format!("{second} and {first} differ, but most cases and the mean say different things"),
            (false, ..) => format!("no difference between {second} and {first} is shown"),
        };
        let Paired { pairs, difference, interval: [low, high], p, .. } = &main.paired;
        let _ = writeln!(text, "{verdict}: {what} {difference:+.4}, 95 % interval [{low:+.4}, {high:+.4}], p = {p:.2e}, {pairs} cases");
        let difference = format!("{second}-{first}");
        let header = [
            "OUTPUT",
            "LABEL",
            "METRIC",
            "CASES",
            "NAN",
            first,
            second,
            &difference,
            "95 % INTERVAL",
            "LARGER",
            "SMALLER",
            "P",
            "P (HOLM)",
        ];
        let mut cells = vec![header.map(str::to_owned).to_vec()];
        for Row { output, label, metric, paired, p_holm, undefined, .. } in rows {
            let Paired { pairs, first, second, difference, interval: [low, high], larger, smaller, p } = paired;
            cells.push(vec![
                output.clone(),
                label.clone(),
                (*metric).to_owned(),
                pairs.to_string(),
                undefined.len().to_string(),
                format!("{first:.4}"),
                format!("{second:.4}"),
                format!("{difference:+.4}"),
                format!("[{low:+.4}, {high:+.4}]"),
                larger.to_string(),
                smaller.to_string(),
                format!("{p:.1e}"),
                format!("{p_holm:.1e}"),
            ]);
        }
        text += &table::lines(&cells);
        if !self.further.is_empty() {
            text += "Not tested:\n";
            let header = ["OUTPUT", "LABEL", "METRIC", "CASES", first, second, &difference];
            let mut cells = vec![header.map(str::to_owned).to_vec()];
            for Further { output, label, metric, pairs, first, second, difference, .. } in &self.further {
                let numbers = [format!("{first:.4}"), format!("{second:.4}"), format!("{difference:+.4}")];
                cells.push([output.clone(), label.clone(), (*metric).to_owned(), pairs.to_string()].into_iter().chain(numbers).collect());
            }
            text += &table::lines(&cells);
        }
        self.notes.iter().for_each(|note| text += &format!("{}\n", plain(note)));
        text
    }

    /// For every row the differences of all cases, smallest first.
    fn panels(&self) -> impl Iterator<Item = Panel> {
        self.rows.iter().map(|row| {
            let mut differences: Vec<f64> = row.cases.iter().map(|(_, a, b)| b - a).filter(|difference| difference.is_finite()).collect();
            differences.sort_by(f64::total_cmp);
            let last = differences.len().max(2) as f64;
            let level = |name: &str, y: f64, dashed| Line { name: name.to_owned(), points: vec![(1.0, y), (last, y)], dashed };
            let Paired { difference, interval: [low, high], p, .. } = row.paired;
            let points = differences.iter().zip(1_u32..).map(|(difference, rank)| (f64::from(rank), *difference)).collect();
            Panel {
                title: format!("{} {} {}: {}-{}, p = {p:.1e}", row.output, row.label, row.metric, self.second, self.first),
                x_label: "cases, by difference".to_owned(),
                lines: vec![
                    Line { name: "case".to_owned(), points, dashed: false },
                    level("mean", difference, false),
                    level("interval, low", low, true),
                    level("interval, high", high, true),
                    level("no difference", 0.0, false),
                ],
            }
        })
    }
}

/// The first few of `names`, and how many there are beside.
fn some_of(names: &[String]) -> String {
    const FEW: usize = 8;
    let more = names.len().saturating_sub(FEW);
    names[..names.len() - more].join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// Writes `report.txt`, `report.json`, `report.png`, and `differences.csv` with every case, to `folder`; returns the text.
pub fn write(folder: &Path, comparisons: &[Comparison]) -> Result<String, Error> {
    let to_file = |name: &str, content: &str| imaging::io::write_atomically(&folder.join(name), |file| file.write_all(content.as_bytes()));
    std::fs::create_dir_all(folder).map_err(|cause| imaging::io::Error::Write { path: folder.to_owned(), cause })?;
    let text = comparisons.iter().map(Comparison::text).collect::<Vec<_>>().join("\n");
    to_file("report.txt", &text)?;
    to_file("report.json", &serde_json::to_string_pretty(comparisons).expect("plain data"))?;
    let mut table = String::new();
    let names = ["first", "second", "output", "label", "metric", "case", "first_value", "second_value", "difference"];
    csv::row(&mut table, names.map(Cell::Text));
    for Comparison { first, second, rows, .. } in comparisons {
        for Row { output, label, metric, cases, .. } in rows {
            for (case, a, b) in cases {
                let texts = [first, second, output, label, *metric, case].map(Cell::Text);
                csv::row(&mut table, texts.into_iter().chain([*a, *b, b - a].map(Cell::Number)));
            }
        }
    }
    to_file("differences.csv", &table)?;
    chart::write(&folder.join("report.png"), &comparisons.iter().flat_map(Comparison::panels).collect::<Vec<_>>())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_without_a_number_are_counted_and_named() {
        let results = |name: &str, values: [f64; 4]| {
            let cases = values.iter().enumerate().map(|(i, value)| (format!("fold_0/case_{i}"), *value));
            let table = Table {
                output: "segmentation".to_owned(),
                target: "segmentation".to_owned(),
                label: "ball".to_owned(),
                metric: "Dice",
                larger_is_better: true,
                is_tested: true,
                values: cases.collect(),
            };
            let (name, folder) = (name.to_owned(), PathBuf::new());
            Results { name, folder, plugin: Value::Null, data_keys: Vec::new(), tables: vec![table], notes: vec!["only some".to_owned()] }
        };
        let (first, second) = (results("a", [0.5, f64::NAN, 0.7, 0.8]), results("b", [0.6, 0.5, f64::NAN, 0.9]));
        let comparison = Comparison::new(&first, &second).expect("two pairs");
        assert_eq!((comparison.rows[0].paired.pairs, comparison.rows[0].undefined.len()), (2, 2));
        let text = comparison.text();
        for words in ["segmentation ball Dice: 2 of 4 cases are left out, since a value is NaN: fold_0/case_1, fold_0/case_2", "only some"]
        {
            assert!(text.contains(words), "{text}");
        }
    }
}
