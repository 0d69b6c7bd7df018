//! What the known names make of their arguments.

use std::sync::Arc;

use super::error::{Problem, excerpt, unexpected};
use super::globals::Global;
use super::machine::{Heap, Id, Node, Storage};
use super::pickle::Span;
use super::tensor::f32_of_f16;
use super::value::TensorRef;

/// Most tensors.
const MAX_TENSORS: usize = 100_000;
/// Longest key of a storage; torch's are numbers.
const MAX_KEY: usize = 64;

/// The type of numpy's numbers, little-endian.
#[derive(Clone, Copy, Debug)]
pub(super) struct NumpyType {
    kind: u8,
    size: u8,
}

impl NumpyType {
    fn named(code: &[u8]) -> Option<Self> {
        match code {
            b"b1" | b"i1" | b"i2" | b"i4" | b"i8" | b"u1" | b"u2" | b"u4" | b"u8" | b"f2" | b"f4" | b"f8" => {
                Some(Self { kind: code[0], size: code[1] - b'0' })
            }
            _ => None,
        }
    }

    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        self.size.into()
    }

    /// The number in the first bytes.
    pub(super) fn number(self, bytes: &[u8]) -> Result<Node, Problem> {
        let mut whole = [0; 8];
        let bytes = bytes.get(..self.size()).ok_or_else(|| unexpected(format!("{} bytes", bytes.len()), format!("{}", self.size)))?;
        whole[..self.size()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(whole);
        Ok(match (self.kind, self.size) {
            (b'b', _) => Node::Bool(bits != 0),
            (b'f', 2) => Node::Float(f32_of_f16(bits as u16).into()),
            (b'f', 4) => Node::Float(f32::from_bits(bits as u32).into()),
            (b'f', _) => Node::Float(f64::from_bits(bits)),
            (b'i', size) => {
                let unused = 64 - 8 * u32::from(size);
                Node::Int((bits << unused) as i64 >> unused)
            }
            _ => Node::Int(i64::try_from(bits).map_err(|_| unexpected(format!("the integer {bits}"), format!("at most {}", i64::MAX)))?),
        })
    }
}

/// A numpy array.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub(super) shape: Vec<u64>,
    pub(super) kind: NumpyType,
    /// The first axis varies fastest.
    pub(super) fortran: bool,
    /// Its bytes.
    pub(super) data: Id,
}

impl Heap<'_> {
    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub(super) fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        (self.nodes.len() - 1) as Id
    }

    /// What a known name makes of its arguments: REDUCE.
    pub(super) fn call(&mut self, callee: Id, arguments: Id) -> Result<Id, Problem> {
        let Node::Global(global) = *self.node(callee) else {
            return Err(unexpected("a call of what is not a name", "a name"));
        };
        let node = match (global, self.tuple(arguments)?) {
            (Global::RebuildParameter, [tensor, ..]) if matches!(self.node(*tensor), Node::Tensor(_)) => return Ok(*tensor),
            (Global::Size, [tuple]) if matches!(self.node(*tuple), Node::Tuple(_)) => return Ok(*tuple),
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => self.tensor(*storage, *offset, *shape, *strides)?,
            (Global::OrderedDict, []) => Node::OrderedDict(Vec::new()),
            (Global::Device, [kind]) => Node::Device(self.text(*kind)?, None),
            (Global::Device, [kind, index]) => match self.node(*index) {
                Node::None => Node::Device(self.text(*kind)?, None),
                Node::Int(index) if u32::try_from(*index).is_ok() => Node::Device(self.text(*kind)?, Some(*index as u32)),
                _ => return Err(unexpected("a device without a number", "one")),
            },
            (Global::NumpyType, [code, ..]) => {
                let code = self.text(*code)?;
                let kind = NumpyType::named(self.pickle.bytes(code));
                let found = || format!("the numpy type {:?}", excerpt(self.pickle.str(code)));
                Node::NumpyType(kind.ok_or_else(|| unexpected(found(), "numbers of at most 64 bits, or booleans"))?)
            }
            (Global::NumpyScalar, [kind, data]) => self.scalar(*kind, *data)?,
            (Global::NumpyReconstruct, [class, ..]) if matches!(self.node(*class), Node::Global(Global::NumpyArray)) => Node::Array(None),
            (Global::Encode, [text, encoding]) if self.pickle.bytes(self.text(*encoding)?) == b"latin1" => Node::Latin1(self.text(*text)?),
            (Global::Bytes, []) => Node::Bytes(Span::default()),
            (_, arguments) => return Err(unexpected(format!("{global:?} with {} arguments", arguments.len()), "those of torch.save")),
        };
        if matches!(node, Node::Tensor(_)) {
            self.tensors += 1;
        }
        Ok(self.add(node))
    }

    /// Sets what an object has beyond its arguments: BUILD. Only three kinds of object have such a thing.
    pub(super) fn build(&mut self, object: Id, state: Id) -> Result<(), Problem> {
        match (self.node(object), self.node(state)) {
            // Attributes, such as a state dict's versions of modules.
            (Node::OrderedDict(_), Node::Dict(_)) => Ok(()),
            (Node::NumpyType(_), Node::Tuple(state)) => match state.get(1).map(|order| self.node(*order)) {
                Some(Node::Text(order)) if matches!(self.pickle.bytes(*order), b"<" | b"|" | b"=") => Ok(()),
                _ => Err(unexpected("numpy numbers that are not little-endian", "little-endian ones")),
            },
            (Node::Array(None), Node::Tuple(state)) => {
                let &[_, shape, kind, fortran, data] = state.as_slice() else {
                    return Err(unexpected(format!("a numpy array of {} parts", state.len()), "5"));
                };
                let (Node::NumpyType(kind), Node::Bool(fortran)) = (self.node(kind), self.node(fortran)) else {
                    return Err(unexpected("a numpy array without its type", "one of numbers"));
                };
                let array = Array { shape: self.numbers(shape)?, kind: *kind, fortran: *fortran, data };
                *self.node_mut(object) = Node::Array(Some(Box::new(array)));
                Ok(())
            }
            _ => Err(Problem::Forbidden("BUILD of an object that has no such state".to_owned())),
        }
    }

    /// A storage by its name: BINPERSID.
    pub(super) fn storage(&mut self, name: Id, size: &dyn Fn(&str) -> Option<u64>) -> Result<Id, Problem> {
        let (class, key, numel) = match self.tuple(name)? {
            [kind, class, key, _, numel] if self.pickle.bytes(self.text(*kind)?) == b"storage" => (*class, self.text(*key)?, *numel),
            _ => return Err(unexpected("a reference to something outside of the pickle", "a storage")),
        };
        let (Node::Global(Global::Storage(dtype)), Node::Int(numel)) = (self.node(class), self.node(numel)) else {
            return Err(unexpected("a storage without its type and size", "them"));
        };
        let (dtype, numel) = (*dtype, u64::try_from(*numel).map_err(|_| unexpected("a storage of negative size", "a size"))?);
        if key.len() > MAX_KEY {
            return Err(unexpected(format!("a storage whose name has {} bytes", key.len()), format!("at most {MAX_KEY}")));
        }
        let key = self.pickle.str(key);
        let index = match self.by_key.get(key) {
            Some(index) => *index,
            None => {
                let found =
                    size(key).ok_or_else(|| unexpected(format!("no entry \"data/{}\"", excerpt(key)), "the numbers of a tensor"))?;
                if numel.checked_mul(dtype.size()) != Some(found) {
                    let expected = format!("{numel} numbers of {} bytes, as its pickle says", dtype.size());
                    return Err(unexpected(format!("{found} bytes in \"data/{}\"", excerpt(key)), expected));
                }
                let key: Arc<str> = key.into();
                self.storages.push(Storage { key: key.clone(), dtype, numel });
                self.by_key.insert(key, self.storages.len() as u32 - 1);
                self.storages.len() as u32 - 1
            }
        };
        let known = &self.storages[index as usize];
        if (known.dtype, known.numel) != (dtype, numel) {
            let found = format!("the storage {:?} as {dtype:?} and as {:?}", excerpt(&known.key), known.dtype);
            return Err(unexpected(found, "one type and size"));
        }
        Ok(self.add(Node::Storage(index)))
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Node, Problem> {
        let Node::Storage(storage) = self.node(storage) else {
            return Err(unexpected("a tensor without a storage", "one"));
        };
        if self.tensors >= MAX_TENSORS {
            return Err(Problem::TooLarge { what: "its tensors", limit: MAX_TENSORS as u64 });
        }
        let storage = &self.storages[*storage as usize];
        let (offset, shape, strides) = (self.unsigned(offset)?, self.numbers(shape)?, self.numbers(strides)?);
        let tensor = TensorRef { dtype: storage.dtype, shape, strides, offset, storage: storage.key.clone() };
        tensor.elements_within(storage.numel)?;
        Ok(Node::Tensor(Arc::new(tensor)))
    }

    fn scalar(&self, kind: Id, data: Id) -> Result<Node, Problem> {
        let Node::NumpyType(kind) = self.node(kind) else {
            return Err(unexpected("a numpy number without its type", "one"));
        };
        let number = match self.node(data) {
            Node::Bytes(span) if span.len() == kind.size() => self.pickle.bytes(*span).to_vec(),
            // At most two bytes a character: a longer text is not looked at.
            Node::Latin1(span) if span.len() <= 2 * kind.size() => self.latin1(*span)?,
            _ => Vec::new(),
        };
        if number.len() != kind.size() {
            return Err(unexpected("a numpy number of another size", format!("{} bytes", kind.size())));
        }
        kind.number(&number)
    }

    /// The bytes that text has in Latin-1.
    pub(super) fn latin1(&self, text: Span) -> Result<Vec<u8>, Problem> {
        let bytes = self.pickle.str(text).chars().map(|char| u8::try_from(char).ok()).collect::<Option<_>>();
        bytes.ok_or_else(|| unexpected("bytes that are beyond 255", "text in Latin-1"))
    }

    fn tuple(&self, id: Id) -> Result<&[Id], Problem> {
        match self.node(id) {
            Node::Tuple(items) => Ok(items),
            _ => Err(unexpected("something else in place of a tuple", "a tuple")),
        }
    }

    fn text(&self, id: Id) -> Result<Span, Problem> {
        match self.node(id) {
            Node::Text(span) => Ok(*span),
            _ => Err(unexpected("something else in place of text", "text")),
        }
    }

    fn unsigned(&self, id: Id) -> Result<u64, Problem> {
        match self.node(id) {
            Node::Int(number) if *number >= 0 => Ok(*number as u64),
            Node::Int(number) => Err(unexpected(format!("a tensor with {number} as a size, stride or offset"), "0 or more")),
            _ => Err(unexpected("something else in place of a number", "an integer")),
        }
    }

    fn numbers(&self, id: Id) -> Result<Vec<u64>, Problem> {
        let items = self.tuple(id)?;
        if items.len() > super::tensor::MAX_RANK {
            return Err(unexpected(format!("{} axes", items.len()), format!("at most {}", super::tensor::MAX_RANK)));
        }
        items.iter().map(|item| self.unsigned(*item)).collect()
    }
}
