//! Growing and shrinking by a ball or disk.

use super::Operator;
use super::footprint::{self, Row};
use crate::mask::Bits;

/// Memory for it.
#[derive(Debug, Default)]
pub(super) struct Morphology {
    rows: Vec<Row>,
    current: Bits,
    spread: Bits,
    grown: Bits,
}

impl Morphology {
    /// `mask` after `operator` with a ball, or a disk where the mask is one slice, of `radius` voxels.
    pub fn apply(&mut self, operator: Operator, radius: f64, mask: &Bits) -> &Bits {
        footprint::rows(mask.spatial[0] == 1, radius, &mut self.rows);
        self.current.spatial = mask.spatial;
        self.current.data.clone_from(&mask.data);
        let steps = match operator {
            Operator::Grow => &[false][..],
            Operator::Shrink => &[true],
            Operator::Close => &[false, true],
            Operator::Open => &[true, false],
        };
        for shrink in steps {
            if *shrink {
                self.shrink();
            } else {
                self.grow();
            }
        }
        &self.current
    }

    /// What is outside grows inwards, but not from beyond the patch: there, everything counts as the label. The footprint is not turned
    /// over for this, so a lopsided one moves what is closed or opened.
    fn shrink(&mut self) {
        self.current.invert();
        self.grow();
        self.current.invert();
    }

    /// A voxel is set if one of its neighbours was, which are those that the footprint has when its centre is there.
    fn grow(&mut self) {
        let Self { rows, current, spread, grown } = self;
        spread.clear(current.spatial);
        grown.clear(current.spatial);
        let mut covered = 0..0;
        for alike in rows.chunk_by(|a, b| (a.first, a.last) == (b.first, b.last)) {
            // First along x: rows are sorted, so what was spread for a shorter one is only spread further.
            let run = alike[0].first..alike[0].last + 1;
            for offset in run.clone().filter(|offset| !covered.contains(offset)) {
                spread.add_moved(current, offset);
            }
            covered = run;
            add_rows(grown, spread, alike);
        }
        grown.trim();
        std::mem::swap(current, grown);
    }
}

/// Adds `source` to `out`, once for every row of a footprint, moved by its offset towards lower z and y.
fn add_rows(out: &mut Bits, source: &Bits, rows: &[Row]) {
    let ([depth, height, _], words, plane) = (source.spatial, source.words(), source.plane());
    for z in 0..depth {
        let out = &mut out.data[z * plane..][..plane];
        for row in rows {
            let Some(source_z) = z.checked_add_signed(row.z).filter(|z| *z < depth) else { continue };
            let apart = row.y.unsigned_abs();
            if apart >= height {
                continue;
            }
            let (to, from) = if row.y < 0 { (apart, 0) } else { (0, apart) };
            let length = (height - apart) * words;
            let source = &source.data[source_z * plane + from * words..][..length];
            for (out, word) in out[to * words..][..length].iter_mut().zip(source) {
                *out |= word;
            }
        }
    }
}
