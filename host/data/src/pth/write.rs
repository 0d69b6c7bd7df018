//! Writing: a pickle of protocol 2 as `torch.save` makes it, and the numbers beside it.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

use indexmap::IndexMap;
use rawzip::extra_fields::ExtraFieldId;
use rawzip::{Header, ZipArchiveWriter};

use super::error::Problem;
use super::tree::MAX_DEPTH;
use super::value::{DType, TensorRef, Value};

/// The folder that everything lies in.
const PREFIX: &str = "archive";
/// Where numbers begin, so that `torch.load(mmap=True)` can use them as they are.
const ALIGNMENT: u64 = 64;
/// What torch calls the field of a ZIP header that it fills up with.
const PADDING: ExtraFieldId = ExtraFieldId::new(u16::from_le_bytes(*b"FB"));
/// Bytes of a local header without name and fields, and of a field without its content.
const LOCAL_HEADER: usize = 30;
const FIELD_HEADER: usize = 4;
/// Numbers that are written at once.
const BLOCK: usize = 1 << 14;

/// Writes `root` as a file that `torch.load` opens, with `weights_only` or without. `storage` is asked once for every storage that a
/// tensor names, in the order in which they appear, so that one at a time needs to be in memory; tensors that name the same one share it.
///
/// # Errors
/// When `out` or `storage` fails, or Python could not read it: an unhashable key, nesting deeper than 64, a tensor that is not `f32`, or
/// one that its storage is too short for. Then the cause is a [`Problem::Unwritable`].
pub fn write<'a>(out: impl Write, root: &Value, mut storage: impl FnMut(&str) -> io::Result<Cow<'a, [f32]>>) -> io::Result<()> {
    let pickler = Pickler::of(root)?;
    let mut zip = ZipArchiveWriter::new(out);
    entry(&mut zip, "data.pkl", |file| file.write_all(&pickler.out))?;
    entry(&mut zip, "byteorder", |file| file.write_all(b"little"))?;
    for (number, (key, numel)) in pickler.storages.iter().enumerate() {
        let data = storage(key)?;
        let data = usize::try_from(*numel).ok().and_then(|numel| data.get(..numel));
        let data = data.ok_or_else(|| unwritable(format!("{key:?}"), "a storage with all numbers of its tensors"))?;
        entry(&mut zip, &format!("data/{number}"), |file| {
            let mut bytes = Vec::with_capacity(4 * BLOCK.min(data.len()));
            for block in data.chunks(BLOCK) {
                bytes.clear();
                bytes.extend(block.iter().flat_map(|number| number.to_le_bytes()));
                file.write_all(&bytes)?;
            }
            Ok(())
        })?;
    }
    // Of the ZIP format; 3 is what torch.save writes.
    entry(&mut zip, "version", |file| file.write_all(b"3\n"))?;
    zip.finish().map_err(io::Error::other)?;
    Ok(())
}

/// Writes `root`, plain data, as a pickle by itself, which `pickle.load` reads.
///
/// # Errors
/// When `out` fails, or Python could not read it, as for [`write()`]; and for tensors, whose numbers have no place in it.
pub fn write_pickle(mut out: impl Write, root: &Value) -> io::Result<()> {
    let pickler = Pickler::of(root)?;
    match pickler.storages.keys().next() {
        Some(tensor) => Err(unwritable(format!("a tensor of {tensor:?}"), "plain data")),
        None => out.write_all(&pickler.out),
    }
}

/// Writes one entry. Sizes follow the bytes, in 64 bits where they need it, and are repeated in the directory, which torch reads.
fn entry<W: Write>(zip: &mut ZipArchiveWriter<W>, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let name = format!("{PREFIX}/{name}");
    let start = zip.stream_offset() + (LOCAL_HEADER + name.len() + FIELD_HEADER) as u64;
    let padding = vec![b'Z'; (start.next_multiple_of(ALIGNMENT) - start) as usize];
    let file = zip.new_file(&name).extra_field(PADDING, &padding, Header::LOCAL).map_err(io::Error::other)?;
    let (mut entry, config) = file.start().map_err(io::Error::other)?;
    let mut file = config.wrap(&mut entry);
    write(&mut file)?;
    let (_, descriptor) = file.finish().map_err(io::Error::other)?;
    entry.finish(descriptor).map_err(io::Error::other)?;
    Ok(())
}

struct Pickler {
    /// Names of storages and how many numbers their tensors need; a storage's place here is its key in the file.
    storages: IndexMap<Arc<str>, u64>,
    out: Vec<u8>,
}

impl Pickler {
    /// The whole pickle of `root`.
    fn of(root: &Value) -> io::Result<Self> {
        let mut pickler = Self { storages: IndexMap::new(), out: Vec::new() };
        pickler.collect(root, 0)?;
        pickler.out.extend(b"\x80\x02");
        pickler.value(root)?;
        pickler.out.push(b'.');
        Ok(pickler)
    }

    /// Finds the storages, and refuses what [`Self::value`] cannot write.
    fn collect(&mut self, value: &Value, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(unwritable(format!("containers nested {depth} deep"), "at most 64 levels"));
        }
        match value {
            Value::List(items) | Value::Tuple(items) => items.iter().try_for_each(|item| self.collect(item, depth + 1)),
            Value::Dict(entries) | Value::OrderedDict(entries) => entries.iter().try_for_each(|(key, value)| {
                if !key.is_hashable() {
                    return Err(unwritable("a dictionary whose key is a container", "text or numbers as keys"));
                }
                self.collect(key, depth + 1)?;
                self.collect(value, depth + 1)
            }),
            Value::Tensor(tensor) => {
                let (_, needed) = tensor.extent().map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
                if tensor.dtype != DType::F32 {
                    return Err(unwritable(format!("{:?} of type {:?}", tensor.storage, tensor.dtype), "f32 tensors"));
                }
                let numel = self.storages.entry(tensor.storage.clone()).or_default();
                *numel = needed.max(*numel);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn value(&mut self, value: &Value) -> io::Result<()> {
        match value {
            Value::None => self.out.push(b'N'),
            Value::Bool(value) => self.out.push(if *value { 0x88 } else { 0x89 }),
            Value::Int(value) => self.int(*value),
            Value::Float(value) => {
                self.out.push(b'G');
                self.out.extend(value.to_be_bytes());
            }
            Value::Str(text) => self.text(text)?,
            Value::Bytes(bytes) => {
                let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
                self.out.extend(b"c_codecs\nencode\n");
                self.text(&text)?;
                self.text("latin1")?;
                self.out.extend(b"\x86R");
            }
            Value::List(items) => {
                self.out.extend(b"](");
                items.iter().try_for_each(|item| self.value(item))?;
                self.out.push(b'e');
            }
            Value::Tuple(items) => {
                self.out.push(b'(');
                items.iter().try_for_each(|item| self.value(item))?;
                self.out.push(b't');
            }
            Value::Dict(entries) => {
                self.out.push(b'}');
                self.entries(entries)?;
            }
            Value::OrderedDict(entries) => {
                self.out.extend(b"ccollections\nOrderedDict\n)R");
                self.entries(entries)?;
            }
            Value::Tensor(tensor) => self.tensor(tensor)?,
        }
        Ok(())
    }

    fn entries(&mut self, entries: &[(Value, Value)]) -> io::Result<()> {
        self.out.push(b'(');
        for (key, value) in entries {
            self.value(key)?;
            self.value(value)?;
        }
        self.out.push(b'u');
        Ok(())
    }

    fn int(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.out.extend([b'K', byte]);
        } else if let Ok(value) = i32::try_from(value) {
            self.out.push(b'J');
            self.out.extend(value.to_le_bytes());
        } else {
            self.out.extend([0x8a, 8]);
            self.out.extend(value.to_le_bytes());
        }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let length = u32::try_from(text.len()).map_err(|_| unwritable(format!("text of {} bytes", text.len()), "less than 4 GiB"))?;
        self.out.push(b'X');
        self.out.extend(length.to_le_bytes());
        self.out.extend(text.as_bytes());
        Ok(())
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, backward_hooks)`.
    fn tensor(&mut self, tensor: &TensorRef) -> io::Result<()> {
        let signed = |number: u64| i64::try_from(number).map_err(|_| unwritable(format!("the stride {number}"), "64 bits with a sign"));
        let (number, _, numel) = self.storages.get_full(&tensor.storage).ok_or_else(|| unwritable("a tensor", "one with a storage"))?;
        let numel = signed(*numel)?;
        self.out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage")?;
        self.out.extend(b"ctorch\nFloatStorage\n");
        self.text(&number.to_string())?;
        self.text("cpu")?;
        self.int(numel);
        self.out.extend(b"tQ");
        self.int(signed(tensor.offset)?);
        for numbers in [&tensor.shape, &tensor.strides] {
            self.out.push(b'(');
            for number in numbers {
                self.int(signed(*number)?);
            }
            self.out.push(b't');
        }
        self.out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        Ok(())
    }
}

fn unwritable(found: impl Into<String>, expected: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, Problem::Unwritable { found: found.into(), expected })
}
