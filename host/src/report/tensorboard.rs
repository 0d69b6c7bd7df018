//! TensorBoard's event file of a fold, `events.out.tfevents.<seconds>.<host>`.
//!
//! What an epoch has to show is gathered in a [`Batch`] and appended in one go. Each value becomes a record of the TFRecord format: a
//! length, a protobuf message of that length, and a checksum of either. The messages have so few fields that they are put together here.
//! Like the other logs the file only grows: a checkpoint remembers its length, and resuming cuts it back, so that no epoch appears twice.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::growing::Growing;
use super::run_log::LogError;

/// TensorBoard knows event files by it.
const PREFIX: &str = "events.out.tfevents.";
/// The first record of every file.
const VERSION: &str = "brain.Event:2";
/// `colorspace` of RGB.
const RGB: i64 = 3;

/// The open event file of a folder.
#[derive(Debug)]
pub struct Events(Growing);

/// What belongs to one step; goes to the file with [`Events::append`].
#[derive(Debug)]
pub struct Batch {
    wall_time: f64,
    step: i64,
    records: Vec<u8>,
}

/// A protobuf message that is being put together.
#[derive(Default)]
struct Message(Vec<u8>);

impl Events {
    /// Opens the event file in `folder`, both of which are made if need be, and cuts it back to `length`; zero starts anew, [`u64::MAX`]
    /// keeps all.
    pub fn open(folder: &Path, length: u64) -> Result<Self, LogError> {
        let failed = |source| LogError::new(folder.to_owned(), source);
        std::fs::create_dir_all(folder).map_err(failed)?;
        // One file only: TensorBoard would show a second one's steps as well.
        let path = existing_file(folder).map_err(failed)?.unwrap_or_else(|| folder.join(file_name()));
        let mut file = Growing::open(path)?;
        file.cut(length)?;
        if file.length()? == 0 {
            file.append(&record(&Message::default().double(1, seconds()).bytes(3, VERSION.as_bytes())))?;
        }
        Ok(Self(file))
    }

    /// Length as a checkpoint holds it.
    pub fn length(&mut self) -> Result<u64, LogError> {
        self.0.length()
    }

    /// Adds the records of `batch`, all or none.
    pub fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        self.0.append(&batch.records)
    }
}

impl Batch {
    /// An empty one for `step`, which TensorBoard has on its horizontal axis. Its time is now.
    pub fn new(step: i64) -> Self {
        Self { wall_time: seconds(), step, records: Vec::new() }
    }

    /// Adds a value. TensorBoard groups tags by what is before their first `/`.
    pub fn scalar(&mut self, tag: &str, value: f32) {
        self.add(Message::default().bytes(1, tag.as_bytes()).float(2, value));
    }

    /// Adds an RGB picture, encoded as PNG.
    pub fn image(&mut self, tag: &str, png: &[u8]) {
        // Width and height follow PNG's signature and the name of its first chunk.
        let size = |at: usize| png.get(at..at + 4).map_or(0, |bytes| bytes.iter().fold(0, |size, byte| size << 8 | i64::from(*byte)));
        let image = Message::default().integer(1, size(20)).integer(2, size(16)).integer(3, RGB).bytes(4, png);
        self.add(Message::default().bytes(1, tag.as_bytes()).bytes(4, &image.0));
    }

    fn add(&mut self, value: Message) {
        let summary = Message::default().bytes(1, &value.0);
        let event = Message::default().double(1, self.wall_time).integer(2, self.step).bytes(5, &summary.0);
        self.records.extend(record(&event));
    }
}

/// Every field is a key, made of its number and the way its value is written, and the value.
impl Message {
    fn integer(self, field: u64, value: i64) -> Self {
        // Negative values take the full ten bytes, as protobuf has it.
        self.varint(field << 3).varint(value.cast_unsigned())
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self = self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self = self.varint(field << 3 | 2).varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self = self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    fn varint(mut self, mut value: u64) -> Self {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }
}

fn record(message: &Message) -> Vec<u8> {
    let length = (message.0.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), &message.0, &checksum(&message.0)].concat()
}

/// Masked, as TFRecord wants it: the CRC of data that holds its own CRC says little.
fn checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The first by name where there are several.
fn existing_file(folder: &Path) -> std::io::Result<Option<PathBuf>> {
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()?;
    let name = names.into_iter().filter(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())).min();
    Ok(name.map(|name| folder.join(name)))
}

fn file_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "host" } else { host.trim() };
    format!("{PREFIX}{:010}.{host}", seconds() as u64)
}

/// Since 1970.
fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What TensorBoard 2.21's own `RecordWriter` makes of the three events.
    const REFERENCE: [&str; 3] = [
        "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c",
        "1f00000000000000514b441809000000000000f83f10ac022a110a0f0a086c6f73732f76616c150000803e2cab7324",
        "39000000000000008b0737f109000000000000f83f10ac022a2b0a290a0463617365222108c80110031803221889504e470d0a1a0a0000000d4948445200000003000000c8c3516e04",
    ];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_checksum_is_castagnoli_s() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn records_are_those_of_tensorboard() {
        let version = record(&Message::default().double(1, 1.5).bytes(3, VERSION.as_bytes()));
        assert_eq!(hex(&version), REFERENCE[0]);
        let mut batch = Batch { wall_time: 1.5, step: 300, records: Vec::new() };
        batch.scalar("loss/val", 0.25);
        batch.image("case", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\xc8");
        assert_eq!(hex(&batch.records), REFERENCE[1..].concat());
        assert_eq!(Message::default().integer(2, -1).0, b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    }

    #[test]
    fn resuming_cuts_back_and_keeps_to_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let batch = |tag| {
            let mut batch = Batch::new(0);
            batch.scalar(tag, 1.0);
            batch
        };
        let mut events = Events::open(folder.path(), 0).unwrap();
        let header = events.length().unwrap();
        events.append(&batch("kept")).unwrap();
        let length = events.length().unwrap();
        events.append(&batch("cut off")).unwrap();

        let mut events = Events::open(folder.path(), length).unwrap();
        assert_eq!(events.length().unwrap(), length);
        events.append(&batch("next")).unwrap();
        let all = std::fs::read(events.0.path()).unwrap();
        let holds = |tag: &str| all.windows(tag.len()).any(|window| window == tag.as_bytes());
        assert!(holds(VERSION) && holds("kept") && holds("next") && !holds("cut off"));

        assert_eq!(Events::open(folder.path(), u64::MAX).unwrap().length().unwrap(), all.len() as u64);
        assert_eq!(Events::open(folder.path(), 0).unwrap().length().unwrap(), header, "starts anew");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
