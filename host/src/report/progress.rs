//! `progress.png`: the whole training at a glance, as nnU-Net draws it, with one panel a term and an output.

use super::EpochRecord;
use super::chart::{self, Line, Panel};
use std::path::Path;

/// As many metrics can be told apart in one panel.
const LINES: usize = 5;

/// Draws `records` to `path`. A picture that cannot be written is not worth a training: that is only said.
pub fn draw(path: &Path, records: &[EpochRecord]) {
    if let Err(error) = chart::write(path, &panels(records)) {
        log::warn!("{error}");
    }
}

fn panels(records: &[EpochRecord]) -> Vec<Panel> {
    let line = |name: &str, dashed, value: &dyn Fn(&EpochRecord) -> Option<f64>| Line {
        name: name.to_owned(),
        points: records.iter().filter_map(|record| Some((record.epoch as f64, value(record)?))).collect(),
        dashed,
    };
    let panel = |title: &str, lines| Panel { title: title.to_owned(), x_label: "epoch".to_owned(), lines };
    let loss = vec![line("training", false, &|r| Some(r.train_loss)), line("validation", true, &|r| Some(r.validation_loss))];
    let mut panels = vec![panel("loss", loss)];
    let Some(last) = records.last() else { return panels };

    // A single term is the loss.
    for term in last.train.keys().filter(|_| last.train.len() > 1) {
        let lines = vec![
            line("training", false, &|r| Some(r.train.get(term)?.value)),
            line("validation", true, &|r| Some(r.validation.get(term)?.value)),
        ];
        panels.push(panel(&format!("term {term}"), lines));
    }
    if last.train.len() > 1 {
        let names = last.train.keys().take(LINES);
        panels.push(panel("weights of terms", names.map(|term| line(term, false, &|r| Some(r.train.get(term)?.weight))).collect()));
    }
    if !last.cosines.is_empty() {
        let pairs = last.cosines.keys().take(LINES);
        panels.push(panel("cosine of gradients", pairs.map(|pair| line(pair, false, &|r| r.cosines.get(pair).copied())).collect()));
    }
    for (output, metrics) in last.metrics.iter().filter(|(_, metrics)| !metrics.is_empty()) {
        let names: Vec<&String> = metrics.keys().collect();
        for (i, names) in names.chunks(LINES).enumerate() {
            let mut lines: Vec<Line> =
                names.iter().map(|name| line(name, false, &|r| r.metrics.get(output)?.get(*name).copied())).collect();
            if i == 0 {
                lines.push(line("moving average", true, &|r| r.ema.get(output).copied()));
            }
            panels.push(panel(&format!("output {output}"), lines));
        }
    }
    let seconds = vec![line("epoch", false, &|r| Some(r.seconds)), line("waiting for data", true, &|r| Some(r.data_wait))];
    panels.push(panel("seconds", seconds));
    panels.push(panel("learning rate", vec![line("learning rate", false, &|r| Some(r.learning_rate))]));
    panels
}
