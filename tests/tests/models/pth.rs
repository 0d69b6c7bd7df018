//! Files of Python are read, hostile ones refused, and what is written is what was given.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io;

use data::pth::{DType, Error, Problem, Pth, TensorRef, Value, write};
use serde_json::Value as Json;
use tests::artifact;
use tests::pth::{describe, fixtures, measured, most_work, zipped};

fn expected() -> Json {
    serde_json::from_slice(&fs::read(fixtures().join("expected.json")).unwrap()).unwrap()
}

fn dict(entries: Vec<(&str, Value)>) -> Value {
    Value::Dict(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// A ZIP file around a pickle.
fn saved(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let storages: Vec<(String, &[u8])> = storages.iter().map(|(key, bytes)| (format!("a/data/{key}"), *bytes)).collect();
    zipped([("a/data.pkl", pickle)].into_iter().chain(storages.iter().map(|(name, bytes)| (&**name, *bytes))))
}

fn open(bytes: &[u8]) -> Result<Pth, Error> {
    let folder = artifact::folder();
    let path = folder.path().join("a.pth");
    fs::write(&path, bytes).unwrap();
    Pth::open(&path)
}

#[test]
fn files_of_python() {
    let expected = expected();
    let files = expected["read"].as_object().unwrap();
    assert_eq!(files.len(), 7);
    for (name, expected) in files {
        let pth = Pth::open(&fixtures().join(name)).unwrap();
        assert_eq!(describe(&pth, pth.root()).unwrap(), *expected, "{name}");
    }
}

#[test]
fn refused_files() {
    let expected = expected();
    let files = expected["refused"].as_object().unwrap();
    assert!(files.len() > 90);
    let mut wrong = Vec::new();
    for (name, fragment) in files {
        let path = fixtures().join("refused").join(name);
        let message = match Pth::open(&path) {
            Ok(pth) => format!("read: {:?}", pth.root()),
            Err(error) => error.to_string(),
        };
        let fine = message.contains(fragment.as_str().unwrap()) && message.starts_with(&*path.to_string_lossy());
        if !fine || message.chars().any(char::is_control) || message.len() > path.as_os_str().len() + 400 {
            wrong.push(message);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn numbers_and_names() {
    let pth = Pth::open(&fixtures().join("tensors.pth")).unwrap();
    let numbers = |name: &str| match pth.root().get(name) {
        Some(Value::Tensor(tensor)) => pth.tensor_f32(tensor).unwrap(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(numbers("float16"), [0.0, 1.0, 2.0, 3.0, 100.0]);
    assert_eq!(numbers("bool"), [0.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(numbers("half")[3..], [-6.1e-5f32, 65504.0, f32::INFINITY, f32::NEG_INFINITY, 1.0 / 3.0].map(half));
    assert_eq!(numbers("view"), [-0.5, -0.375, -0.25, -0.125, 0.0, 0.125]);
    assert_eq!(numbers("steps"), [-0.875, -0.5, -0.125, 0.25, 0.625, 1.0, 1.375, 1.75]);
    assert_eq!(numbers("repeated")[..6], [-1.0, -1.0, -1.0, -0.875, -0.875, -0.875]);
    assert_eq!(numbers("zero"), [2.5]);
    assert!(numbers("hollow").is_empty() && numbers("empty").is_empty());

    let pth = Pth::open(&fixtures().join("nnunet.pth")).unwrap();
    let root = pth.root();
    assert_eq!(root.get("trainer_name").and_then(Value::as_str), Some("nnUNetTrainer"));
    assert_eq!(root.get("inference_allowed_mirroring_axes"), Some(&Value::Tuple(vec![Value::Int(0), Value::Int(1)])));
    assert_eq!(root.get("init_args").and_then(|args| args.get("device")).and_then(Value::as_str), Some("cpu"));
    let weights = root.get("network_weights").unwrap();
    let storage = |name: &str| match weights.get(name) {
        Some(Value::Tensor(tensor)) => tensor.storage.clone(),
        other => panic!("{name}: {other:?}"),
    };
    let names = ["encoder.stages.0.0.convs.0.conv.weight", "encoder.stages.0.0.convs.0.all_modules.0.weight"];
    for name in names {
        assert_eq!(storage(name), storage(names[0]));
        assert_eq!(storage(&format!("decoder.{name}")), storage(names[0]));
    }
}

/// To the nearest half-precision number; for those of the test only.
fn half(number: f32) -> f32 {
    if number.is_infinite() {
        return number;
    }
    let ulp = 2f32.powi((number.abs().log2().floor() as i32).max(-14) - 10);
    (number / ulp).round_ties_even() * ulp
}

#[test]
fn damage_is_found_when_numbers_are_read() {
    let pickle = |numel: u8| {
        let mut pickle =
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu".to_vec();
        pickle.extend([b'K', numel]);
        pickle.extend(b"tQK\x00K\x02\x85K\x01\x85\x89}tR.");
        pickle
    };
    let mut file = saved(&pickle(2), &[("0", b"12345678")]);
    let pth = open(&file).unwrap();
    let Value::Tensor(tensor) = pth.root() else { panic!() };
    assert_eq!(pth.tensor_f32(tensor).unwrap(), [f32::from_le_bytes(*b"1234"), f32::from_le_bytes(*b"5678")]);
    let foreign = [
        TensorRef { storage: "1".into(), ..(**tensor).clone() },
        TensorRef { dtype: DType::I32, ..(**tensor).clone() },
        TensorRef { offset: 1, ..(**tensor).clone() },
        TensorRef { offset: u64::MAX, ..(**tensor).clone() },
        TensorRef { strides: vec![u64::MAX], ..(**tensor).clone() },
        TensorRef { shape: vec![u64::MAX], strides: vec![0], ..(**tensor).clone() },
        TensorRef { shape: vec![], ..(**tensor).clone() },
    ];
    for foreign in foreign {
        assert!(matches!(pth.tensor_f32(&foreign).unwrap_err().problem, Problem::Unexpected { .. }));
    }
    let odd = TensorRef { shape: vec![1, 2, 1], strides: vec![u64::MAX, 1, u64::MAX], ..(**tensor).clone() };
    assert_eq!(pth.tensor_f32(&odd).unwrap(), pth.tensor_f32(tensor).unwrap());
    let odd = TensorRef { shape: vec![2, 1, 1], strides: vec![0, u64::MAX, 5], ..odd };
    assert_eq!(pth.tensor_f32(&odd).unwrap(), [f32::from_le_bytes(*b"1234"); 2]);

    let place = file.windows(8).position(|window| window == b"12345678").unwrap();
    file[place] ^= 1;
    let pth = open(&file).unwrap();
    let Value::Tensor(tensor) = pth.root() else { panic!() };
    assert!(matches!(pth.tensor_f32(tensor).unwrap_err().problem, Problem::Checksum { .. }));
}

#[test]
fn large_hostile_pickles_take_no_more_work_than_large_sound_ones() {
    let bound = most_work();
    let nested = |count: usize| [b"\x80\x02".to_vec(), vec![b']'; count], vec![b'a'; count - 1], vec![b'.']].concat();
    let text = [b"X".to_vec(), 1_000_000u32.to_le_bytes().to_vec(), vec![b'x'; 1_000_000], b"q\0".to_vec()].concat();
    let encode = b"c_codecs\nencode\nh\0X\x06\0\0\0latin1\x86R".repeat(100_000);
    let array = [b"(ccollections\nOrderedDict\n".to_vec(), b"h\0h\0\x93".to_vec()].concat();
    let files = [
        (nested(1_000_000), "nested more than 64 deep"),
        ([b"\x80\x02N".to_vec(), vec![b'\x85'; 8_300_000], b".".to_vec()].concat(), "nested more than 64 deep"),
        (vec![b']'; 9_000_000], "the opcodes of its pickle are more than"),
        ([b"N".to_vec(), vec![0x94; 9_000_000]].concat(), "the opcodes of its pickle are more than"),
        ([text.clone(), b"](".to_vec(), encode, b"e.".to_vec()].concat(), "the bytes of text in its pickle are more than"),
        ([text, array].concat(), "xxxx…"),
        (vec![b'N'; 33 << 20], "the bytes of its pickle are more than"),
        (vec![b'c'; 9_000_000], "no name at byte 1"),
        (b"Nr\0\0\0\x7f.".to_vec(), "object 2130706432 after 0 objects"),
    ];
    for (pickle, fragment) in files {
        let (message, taken) = measured(|| open(&saved(&pickle, &[])).unwrap_err().to_string());
        assert!(message.contains(fragment), "{message}");
        assert!(message.len() < 500, "{message}");
        println!("{taken:?} for: {message}");
        assert!(taken <= bound, "{taken:?} of processor time, a sound file takes {:?}: {message}", bound / 10);
    }
}

/// Everything that can be written, and its storages.
fn everything() -> (Value, HashMap<&'static str, Vec<f32>>) {
    let numbers: Vec<f32> = (0..24).map(|number| number as f32 / 8.0 - 1.0).collect();
    let whole = TensorRef::new("base", [4, 6]);
    let scalar = |value: f64| Value::Float(value);
    let root = dict(vec![
        ("none", Value::None),
        ("bools", Value::List(vec![Value::Bool(true), Value::Bool(false)])),
        ("ints", Value::List([0, 255, 256, -1, i64::from(i32::MIN), i64::from(i32::MAX) + 1, i64::MIN, i64::MAX].map(Value::Int).to_vec())),
        ("floats", Value::List([0.1, -0.0, 1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(scalar).to_vec())),
        ("text", Value::List(vec!["".into(), "π\n\"".into(), "x".repeat(300).as_str().into()])),
        ("bytes", Value::List(vec![Value::Bytes(vec![]), Value::Bytes((0..=255).collect())])),
        (
            "tuples",
            Value::Tuple(vec![
                Value::Tuple(vec![]),
                Value::Tuple(vec![Value::Int(1)]),
                Value::Tuple(vec![Value::List(vec![]), Value::None]),
            ]),
        ),
        (
            "dict",
            Value::Dict(vec![
                (Value::Int(5), Value::None),
                (Value::Tuple(vec![Value::Int(1), "a".into()]), Value::Dict(vec![])),
                (Value::None, Value::Float(1.5)),
            ]),
        ),
        (
            "weights",
            Value::OrderedDict(vec![
                ("whole".into(), whole.clone().into()),
                ("alias".into(), whole.clone().into()),
                ("transposed".into(), TensorRef { shape: vec![6, 4], strides: vec![1, 6], ..whole.clone() }.into()),
                ("view".into(), TensorRef { shape: vec![2, 3], strides: vec![6, 2], offset: 7, ..whole }.into()),
                ("single".into(), TensorRef::new("single", []).into()),
                ("empty".into(), TensorRef::new("empty", [0, 3]).into()),
                ("long".into(), TensorRef::new("long", [40_000]).into()),
            ]),
        ),
    ]);
    let long = (0..40_000).map(|number| (number as f32).sin()).collect();
    let storages = HashMap::from([("base", numbers), ("single", vec![2.5]), ("empty", vec![]), ("long", long)]);
    (root, storages)
}

fn written(root: &Value, storages: &HashMap<&str, Vec<f32>>) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, root, |name| Ok(Cow::Borrowed(&storages[name]))).unwrap();
    out
}

#[test]
fn what_is_written_is_read() {
    let (root, storages) = everything();
    let pth = open(&written(&root, &storages)).unwrap();
    let without_nan = |value: &Value| format!("{value:?}").replace("storage: \"base\"", "storage: \"0\"");
    let renamed = without_nan(&root).replace("\"single\", shape", "\"1\", shape");
    let renamed = renamed.replace("storage: \"single\"", "storage: \"1\"").replace("storage: \"empty\"", "storage: \"2\"");
    assert_eq!(without_nan(pth.root()), renamed.replace("storage: \"long\"", "storage: \"3\""));
    let weights = pth.root().get("weights").unwrap();
    let numbers = |name: &str| match weights.get(name) {
        Some(Value::Tensor(tensor)) => pth.tensor_f32(tensor).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(numbers("alias"), storages["base"]);
    assert_eq!(numbers("view"), [7, 9, 11, 13, 15, 17].map(|place| storages["base"][place]));
    assert_eq!(numbers("long"), storages["long"]);
    assert_eq!(numbers("transposed")[..4], [0, 6, 12, 18].map(|place| storages["base"][place]));
    // Equal content makes equal files.
    assert_eq!(written(&root, &storages), written(&root, &storages));
}

#[test]
fn what_python_could_not_read_is_not_written() {
    let none = |_: &str| Ok(Cow::Borrowed(&[0.0f32; 3][..]));
    let deep = (0..70).fold(Value::None, |value, _| Value::List(vec![value]));
    let cases = [
        (Value::Dict(vec![(Value::List(vec![]), Value::None)]), "a dictionary whose key is a container"),
        (Value::Dict(vec![(Value::Tuple(vec![Value::Dict(vec![])]), Value::None)]), "a dictionary whose key is a container"),
        (deep, "nested 65 deep"),
        (TensorRef::new("a", [4]).into(), "cannot write \"a\", expected a storage with all numbers"),
        (TensorRef { dtype: DType::F64, ..TensorRef::new("a", [3]) }.into(), "of type F64, expected f32 tensors"),
        (TensorRef::new("a", [1 << 40, 1 << 40]).into(), "a tensor of shape"),
        (TensorRef { strides: vec![], ..TensorRef::new("a", [3]) }.into(), "1 extents and 0 strides"),
        (TensorRef { strides: vec![1 << 63], ..TensorRef::new("a", [1]) }.into(), "64 bits with a sign"),
    ];
    for (value, fragment) in cases {
        let error = write(&mut Vec::new(), &value, none).unwrap_err();
        assert!(error.kind() == io::ErrorKind::InvalidInput && error.to_string().contains(fragment), "{error}");
    }
    let failing = write(&mut Vec::new(), &TensorRef::new("a", [3]).into(), |_| Err(io::Error::other("gone")));
    assert_eq!(failing.unwrap_err().to_string(), "gone");
}
