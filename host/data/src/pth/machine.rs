//! The stack machine: runs a pickle's opcodes, and keeps what they make in a table.
//!
//! Every opcode adds at most one object, one index to the stack, one mark and one remembered index, so the limit on opcodes bounds all
//! memory. Text stays in the pickle.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Problem, unexpected};
use super::globals::Global;
use super::objects::{Array, NumpyType};
use super::pickle::{Pickle, Span, forbidden};
use super::value::{DType, TensorRef};

/// Most opcodes; a logged numpy number takes 14, so that this is enough for 4000 epochs with 150 classes. They take at most 0.6 GB.
const MAX_STEPS: u64 = 1 << 23;

/// An object's place in the table.
pub(super) type Id = u32;

/// An object; what it contains are places in the same table, so that it may be shared, and even contain itself.
#[derive(Clone, Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Span),
    Bytes(Span),
    /// The bytes that this text has in Latin-1.
    Latin1(Span),
    /// `torch.device`.
    Device(Span, Option<u32>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    OrderedDict(Vec<(Id, Id)>),
    Global(Global),
    Storage(u32),
    Tensor(Arc<TensorRef>),
    NumpyType(NumpyType),
    Array(Option<Box<Array>>),
}

/// A tensor's numbers in the file.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) key: Arc<str>,
    pub(super) dtype: DType,
    pub(super) numel: u64,
}

/// What a pickle made.
#[derive(Debug)]
pub(super) struct Heap<'a> {
    pub(super) pickle: Pickle<'a>,
    pub(super) nodes: Vec<Node>,
    pub(super) storages: Vec<Storage>,
    /// Their places by their keys.
    pub(super) by_key: HashMap<Arc<str>, u32>,
    /// How many tensors there are.
    pub(super) tensors: usize,
}

/// Runs `pickle`. `storage_size` gives the bytes of the storage of this key, if the file has it.
pub(super) fn run<'a>(pickle: &'a [u8], storage_size: &dyn Fn(&str) -> Option<u64>) -> Result<(Heap<'a>, Id), Problem> {
    let heap = Heap { pickle: Pickle::new(pickle), nodes: Vec::new(), storages: Vec::new(), by_key: HashMap::new(), tensors: 0 };
    let mut machine = Machine { heap, stack: Vec::new(), marks: Vec::new(), memo: Vec::new(), storage_size };
    for _ in 0..MAX_STEPS {
        if let Some(root) = machine.step()? {
            return Ok((machine.heap, root));
        }
    }
    Err(Problem::TooLarge { what: "the opcodes of its pickle", limit: MAX_STEPS })
}

struct Machine<'a, 'b> {
    heap: Heap<'a>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    /// What the pickle may refer to; Python numbers it without gaps.
    memo: Vec<Id>,
    storage_size: &'b dyn Fn(&str) -> Option<u64>,
}

impl Machine<'_, '_> {
    /// Runs one opcode; gives the root after the last.
    fn step(&mut self) -> Result<Option<Id>, Problem> {
        let pickle = &mut self.heap.pickle;
        let [opcode] = pickle.array()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            // PROTO and FRAME.
            0x80 => match pickle.number::<1>()? {
                2..=5 => {}
                other => return Err(unexpected(format!("the pickle protocol {other}"), "2 to 5")),
            },
            0x95 => _ = pickle.number::<8>()?,
            // Plain data.
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'J' => {
                let number = i32::from_le_bytes(pickle.array()?);
                self.push(Node::Int(number.into()));
            }
            b'K' => {
                let number = pickle.number::<1>()?;
                self.push(Node::Int(number as i64));
            }
            b'M' => {
                let number = pickle.number::<2>()?;
                self.push(Node::Int(number as i64));
            }
            0x8a => {
                let length = pickle.number::<1>()?;
                let number = pickle.long(length)?;
                self.push(Node::Int(number));
            }
            0x8b => {
                let length = pickle.number::<4>()?;
                let number = pickle.long(length)?;
                self.push(Node::Int(number));
            }
            b'G' => {
                let number = f64::from_be_bytes(pickle.array()?);
                self.push(Node::Float(number));
            }
            0x8c | b'X' | 0x8d => {
                let length = self.length(opcode == 0x8c, opcode == 0x8d)?;
                let text = self.heap.pickle.text(length)?;
                self.push(Node::Text(text));
            }
            b'C' | b'B' | 0x8e => {
                let length = self.length(opcode == b'C', opcode == 0x8e)?;
                let bytes = self.heap.pickle.take(length)?;
                self.push(Node::Bytes(bytes));
            }
            // Containers.
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            0x85..=0x87 => {
                let items = self.pop_some(usize::from(opcode - 0x84))?;
                self.push(Node::Tuple(items));
            }
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items));
            }
            b'a' | b'e' => {
                let items = if opcode == b'a' { self.pop_some(1)? } else { self.pop_mark()? };
                self.append(items)?;
            }
            b's' | b'u' => {
                let items = if opcode == b's' { self.pop_some(2)? } else { self.pop_mark()? };
                self.set_items(&items)?;
            }
            // What was remembered.
            b'h' | b'j' => {
                let index = if opcode == b'h' { pickle.number::<1>()? } else { pickle.number::<4>()? };
                let id = self.memo.get(index as usize).copied();
                self.stack.push(id.ok_or_else(|| unexpected(format!("a reference to object {index}"), "one that comes before it"))?);
            }
            b'q' | b'r' => {
                let index = if opcode == b'q' { pickle.number::<1>()? } else { pickle.number::<4>()? };
                self.remember(index as usize)?;
            }
            0x94 => self.remember(self.memo.len())?,
            // Names and what is made by them.
            b'c' => {
                let (module, name) = (pickle.line()?, pickle.line()?);
                let global = Global::named(module.as_bytes(), name.as_bytes()).ok_or_else(|| forbidden(module, name))?;
                self.push(Node::Global(global));
            }
            0x93 => {
                let [module, name] = self.pop_array()?;
                let (Node::Text(module), Node::Text(name)) = (self.heap.node(module), self.heap.node(name)) else {
                    return Err(unexpected("a name that is not text", "text"));
                };
                let (module, name) = (*module, *name);
                let pickle = &self.heap.pickle;
                let global = Global::named(pickle.bytes(module), pickle.bytes(name));
                let global = global.ok_or_else(|| forbidden(pickle.str(module), pickle.str(name)))?;
                self.push(Node::Global(global));
            }
            b'R' => {
                let [callee, arguments] = self.pop_array()?;
                let id = self.heap.call(callee, arguments)?;
                self.stack.push(id);
            }
            b'b' => {
                let [state] = self.pop_array()?;
                let object = self.top()?;
                self.heap.build(object, state)?;
            }
            b'Q' => {
                let [name] = self.pop_array()?;
                let id = self.heap.storage(name, self.storage_size)?;
                self.stack.push(id);
            }
            _ => return Err(pickle.refuse(opcode)),
        }
        Ok(None)
    }

    fn length(&mut self, short: bool, long: bool) -> Result<u64, Problem> {
        let pickle = &mut self.heap.pickle;
        match (short, long) {
            (true, _) => pickle.number::<1>(),
            (_, true) => pickle.number::<8>(),
            _ => pickle.number::<4>(),
        }
    }

    fn push(&mut self, node: Node) {
        let id = self.heap.add(node);
        self.stack.push(id);
    }

    /// How many objects lie above the last mark.
    fn above_mark(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or_default()
    }

    fn top(&self) -> Result<Id, Problem> {
        self.stack.last().filter(|_| self.above_mark() > 0).copied().ok_or_else(empty)
    }

    fn remember(&mut self, index: usize) -> Result<(), Problem> {
        let id = self.top()?;
        let known = self.memo.len();
        match self.memo.get_mut(index) {
            Some(place) => *place = id,
            None if index == known => self.memo.push(id),
            None => return Err(unexpected(format!("object {index} after {known} objects"), "numbers without gaps")),
        }
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_some(&mut self, count: usize) -> Result<Vec<Id>, Problem> {
        if self.above_mark() < count {
            return Err(empty());
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_array<const N: usize>(&mut self) -> Result<[Id; N], Problem> {
        let mut ids = [0; N];
        for id in ids.iter_mut().rev() {
            *id = self.pop()?;
        }
        Ok(ids)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let mark = self.marks.pop().ok_or_else(|| unexpected("the end of a group without its start", "both"))?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), Problem> {
        let list = self.top()?;
        match self.heap.node_mut(list) {
            Node::List(list) => list.extend(items),
            _ => return Err(unexpected("an item for what is not a list", "a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Problem> {
        let dict = self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(unexpected("a key without its value", "pairs"));
        };
        match self.heap.node_mut(dict) {
            Node::Dict(entries) | Node::OrderedDict(entries) => entries.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            _ => return Err(unexpected("a pair for what is not a dictionary", "a dictionary")),
        }
        Ok(())
    }
}

fn empty() -> Problem {
    unexpected("a pickle that takes more from its stack than is there", "one that torch.save wrote")
}
