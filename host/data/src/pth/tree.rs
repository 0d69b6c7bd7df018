//! From objects that refer to each other to a tree. What is shared is copied, within limits: a few lines of pickle can describe a list of
//! lists of lists that all are the same one, and whose copies would fill any memory.

use std::collections::HashSet;

use super::error::{Problem, excerpt, unexpected};
use super::machine::{Heap, Id, Node};
use super::objects::{Array, NumpyType};
use super::value::Value;

/// Deepest nesting; nnU-Net's plans have 7 levels.
pub(super) const MAX_DEPTH: usize = 64;
/// Most values.
const MAX_VALUES: u64 = 1 << 22;
/// Most bytes of text.
const MAX_TEXT: u64 = 32 << 20;

/// The tree below `root`, in which all tensors together have at most `tensor_bytes` as `f32`.
pub(super) fn grow(heap: &Heap, root: Id, tensor_bytes: u64) -> Result<Value, Problem> {
    let mut tree = Tree { heap, values: MAX_VALUES, text: MAX_TEXT, tensor_bytes };
    tree.values(1)?;
    tree.grow(root, 0)
}

/// What may still be made.
struct Tree<'a> {
    heap: &'a Heap<'a>,
    values: u64,
    text: u64,
    tensor_bytes: u64,
}

impl Tree<'_> {
    fn values(&mut self, count: u64) -> Result<(), Problem> {
        let left = self.values.checked_sub(count);
        self.values = left.ok_or(Problem::TooLarge { what: "the values of its pickle", limit: MAX_VALUES })?;
        Ok(())
    }

    fn text(&mut self, bytes: usize) -> Result<(), Problem> {
        let left = self.text.checked_sub(bytes as u64);
        self.text = left.ok_or(Problem::TooLarge { what: "the bytes of text in its pickle", limit: MAX_TEXT })?;
        Ok(())
    }

    /// A value that was counted already.
    fn grow(&mut self, id: Id, depth: usize) -> Result<Value, Problem> {
        if depth > MAX_DEPTH {
            let found = format!("containers nested more than {MAX_DEPTH} deep, or one that contains itself");
            return Err(unexpected(found, "fewer levels"));
        }
        let heap = self.heap;
        Ok(match heap.node(id) {
            Node::None => Value::None,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Float(value) => Value::Float(*value),
            Node::Text(span) => {
                self.text(span.len())?;
                Value::Str(heap.pickle.str(*span).to_owned())
            }
            Node::Bytes(_) | Node::Latin1(_) => Value::Bytes(self.bytes(id)?),
            Node::Device(span, index) => {
                self.text(span.len())?;
                let kind = heap.pickle.str(*span);
                Value::Str(index.map_or_else(|| kind.to_owned(), |index| format!("{kind}:{index}")))
            }
            Node::List(items) => Value::List(self.items(items, depth)?),
            Node::Tuple(items) => Value::Tuple(self.items(items, depth)?),
            Node::Dict(entries) => Value::Dict(self.entries(entries, depth)?),
            Node::OrderedDict(entries) => Value::OrderedDict(self.entries(entries, depth)?),
            Node::Tensor(tensor) => {
                // What is read for a few elements far from each other is all between them.
                let (elements, end) = tensor.extent()?;
                let between = end.saturating_sub(tensor.offset).checked_mul(tensor.dtype.size());
                let bytes = elements.checked_mul(4).zip(between).map(|(numbers, between)| numbers.max(between));
                let left = bytes.and_then(|bytes| self.tensor_bytes.checked_sub(bytes));
                self.tensor_bytes = left.ok_or_else(|| unexpected("one tensor under very many names", "up to four"))?;
                Value::Tensor(tensor.clone())
            }
            Node::Array(Some(array)) => self.array(array, depth)?,
            Node::Global(_) | Node::Storage(_) | Node::NumpyType(_) | Node::Array(None) => {
                return Err(unexpected("a class, a type or a storage as a value", "tensors, numbers, text and containers"));
            }
        })
    }

    fn items(&mut self, items: &[Id], depth: usize) -> Result<Vec<Value>, Problem> {
        self.values(items.len() as u64)?;
        items.iter().map(|item| self.grow(*item, depth + 1)).collect()
    }

    fn entries(&mut self, entries: &[(Id, Id)], depth: usize) -> Result<Vec<(Value, Value)>, Problem> {
        self.values(2 * entries.len() as u64)?;
        let pair = |(key, value): &(Id, Id)| Ok((self.grow(*key, depth + 1)?, self.grow(*value, depth + 1)?));
        let pairs: Vec<(Value, Value)> = entries.iter().map(pair).collect::<Result<_, Problem>>()?;
        if pairs.iter().any(|(key, _)| !key.is_hashable()) {
            return Err(unexpected("a container as a dictionary's key", "text or numbers"));
        }
        // Python keeps the last of equal keys and a search finds the first; `torch.save` never writes them.
        let mut seen = HashSet::with_capacity(pairs.len());
        for (key, _) in &pairs {
            let name = match key {
                Value::Str(text) => Ok(text.as_str()),
                Value::Int(number) => Err(*number),
                _ => continue,
            };
            if !seen.insert(name) {
                return Err(unexpected(
                    format!("the key {} twice", name.map_or_else(|number| number.to_string(), excerpt)),
                    "every key once",
                ));
            }
        }
        Ok(pairs)
    }

    fn bytes(&mut self, id: Id) -> Result<Vec<u8>, Problem> {
        match self.heap.node(id) {
            Node::Bytes(span) => {
                self.text(span.len())?;
                Ok(self.heap.pickle.bytes(*span).to_vec())
            }
            Node::Latin1(span) => {
                self.text(span.len())?;
                self.heap.latin1(*span)
            }
            _ => Err(unexpected("something else in place of bytes", "bytes")),
        }
    }

    fn array(&mut self, array: &Array, depth: usize) -> Result<Value, Problem> {
        let bytes = self.bytes(array.data)?;
        let elements = array.shape.iter().try_fold(array.kind.size() as u64, |size, extent| size.checked_mul(*extent));
        if elements != Some(bytes.len() as u64) {
            return Err(unexpected(format!("{} bytes in a numpy array of shape {:?}", bytes.len(), array.shape), "as many as that takes"));
        }
        // Without overflow: their product is the number of bytes, unless that is 0 and no element is looked at.
        let mut strides = vec![array.kind.size() as u64; array.shape.len()];
        let rank = array.shape.len();
        for axis in 1..rank {
            let (this, before) = if array.fortran { (axis, axis - 1) } else { (rank - 1 - axis, rank - axis) };
            strides[this] = strides[before].wrapping_mul(array.shape[before]);
        }
        self.rows(array.kind, &bytes, &array.shape, &strides, depth)
    }

    fn rows(&mut self, kind: NumpyType, bytes: &[u8], shape: &[u64], strides: &[u64], depth: usize) -> Result<Value, Problem> {
        let ([extent, shape @ ..], [stride, strides @ ..]) = (shape, strides) else {
            return Ok(match kind.number(bytes)? {
                Node::Bool(value) => Value::Bool(value),
                Node::Int(value) => Value::Int(value),
                Node::Float(value) => Value::Float(value),
                _ => Value::None,
            });
        };
        if depth > MAX_DEPTH {
            return Err(unexpected(format!("containers nested more than {MAX_DEPTH} deep"), "fewer levels"));
        }
        self.values(*extent)?;
        let row =
            |index: u64| self.rows(kind, bytes.get(index.wrapping_mul(*stride) as usize..).unwrap_or_default(), shape, strides, depth + 1);
        Ok(Value::List((0..*extent).map(row).collect::<Result<_, _>>()?))
    }
}
