//! Losses as options have them: by name, with settings, one or several.

use super::{ClassCrossEntropy, DiceBinaryCrossEntropy, DiceCrossEntropy, L1, LossOptions};
use crate::options::{spelt, suggestion};
use crate::task::Kind;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Makes the enumeration of all losses, and what follows from it.
macro_rules! losses {
    ($($name:literal $variant:ident($module:ident::$criterion:ident)),+ $(,)?) => {
        $(pub use $module::$criterion;)+

        /// A loss by name, with its settings.
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(tag = "name")]
        #[allow(missing_docs)]
        pub enum LossOptions {
            $(#[serde(rename = $name)] $variant($criterion)),+
        }

        impl LossOptions {
            /// All names.
            pub const NAMES: &[&str] = &[$($name),+];

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name),+
                }
            }

            /// What computes it.
            pub fn criterion(&self) -> &dyn Criterion {
                match self {
                    $(Self::$variant(criterion) => criterion),+
                }
            }
        }
    };
}

/// A loss and its weight beside the others of an output.
#[derive(Clone, Debug, Serialize)]
pub struct LossTerm {
    /// Its weight.
    pub weight: f64,
    /// The loss.
    #[serde(flatten)]
    pub loss: LossOptions,
}

/// The losses of an output, which are summed: a name, a name with settings and a weight, or a list of such.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct LossList(pub Vec<LossTerm>);

impl LossList {
    /// What an output of this kind is trained with unless told otherwise.
    pub fn default_for(kind: Kind) -> Self {
        let loss = match kind {
            Kind::Labels => LossOptions::DiceCe(DiceCrossEntropy::default()),
            Kind::Regions => LossOptions::DiceBce(DiceBinaryCrossEntropy::default()),
            Kind::Regression => LossOptions::L1(L1::default()),
            Kind::Class => LossOptions::ClassCe(ClassCrossEntropy::default()),
            Kind::Aux => return Self(Vec::new()),
        };
        Self(vec![LossTerm { weight: 1.0, loss }])
    }

    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::Array(items) => Ok(Self(items.into_iter().map(LossTerm::read).collect::<Result<_, _>>()?)),
            one => Ok(Self(vec![LossTerm::read(one)?])),
        }
    }
}

impl LossTerm {
    fn read(value: Value) -> Result<Self, String> {
        let mut object = match value {
            Value::String(name) => serde_json::Map::from_iter([("name".to_owned(), Value::String(name))]),
            Value::Object(object) => object,
            other => return Err(format!("a loss is {other}; expected its name, or {{\"name\": …, settings}}")),
        };
        let weight = match object.remove("weight") {
            None => 1.0,
            Some(weight) => match weight.as_f64().filter(|weight| *weight >= 0.0) {
                Some(weight) => weight,
                None => return Err(format!("the weight of a loss is {weight}; expected a number of at least 0")),
            },
        };
        let name = object.get("name").and_then(Value::as_str).ok_or("a loss has no name")?.to_owned();
        if !LossOptions::NAMES.contains(&name.as_str()) {
            return Err(format!("there is no loss '{name}'{}", suggestion(&name, LossOptions::NAMES.iter().copied())));
        }
        let wrong = |e: &dyn std::fmt::Display| format!("loss {name}: {e}");
        let loss: LossOptions = serde_json::from_value(Value::Object(object)).map_err(|e| wrong(&e))?;
        loss.criterion().check().map_err(|e| wrong(&e))?;
        Ok(Self { weight, loss })
    }

    /// Whether it can be computed for outputs of `kind`; if not, which can.
    pub(crate) fn check_kind(&self, kind: Kind) -> Result<(), String> {
        if self.loss.criterion().fits(kind) {
            return Ok(());
        }
        let fitting = |name: &&&str| Self::read(json!(name)).is_ok_and(|term| term.loss.criterion().fits(kind));
        let others: Vec<&str> = LossOptions::NAMES.iter().filter(fitting).copied().collect();
        Err(format!("loss {} does not fit a target of kind {}; there are: {}", self.loss.name(), spelt(&kind), others.join(", ")))
    }
}

impl<'de> Deserialize<'de> for LossList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::read(Value::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for LossList {
    fn schema_name() -> Cow<'static, str> {
        "LossList".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut settings = LossOptions::json_schema(generator).to_value();
        for variant in settings["oneOf"].as_array_mut().into_iter().flatten() {
            variant["properties"]["weight"] =
                json!({"type": "number", "minimum": 0, "default": 1, "description": "Weight beside the other losses of the output."});
        }
        let one = json!({"anyOf": [{"type": "string", "enum": LossOptions::NAMES}, settings]});
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<LossList, String> {
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    #[test]
    fn names_settings_and_lists() {
        for name in LossOptions::NAMES {
            let list = read(json!(name)).expect("has defaults");
            assert_eq!((list.0[0].loss.name(), list.0[0].weight), (*name, 1.0));
        }
        let list = read(json!(["dice", {"name": "focal", "gamma": 1.5, "weight": 0.5}])).expect("valid");
        assert!(matches!(list.0[1].loss, LossOptions::Focal(crate::losses::Focal { gamma: 1.5, .. })));
        assert_eq!(serde_json::to_value(&list).expect("plain")[1]["weight"], 0.5);
    }

    #[test]
    fn mistakes_are_named() {
        for (value, part) in [
            (json!("dise"), "there is no loss 'dise': did you mean 'dice'?"),
            (json!({"name": "dice", "gamma": 2}), "unknown field `gamma`, expected one of `background`"),
            (json!({"name": "topk", "k": 0}), "loss topk: k is 0; expected per cent"),
            (json!({"name": "dice", "weight": -1}), "weight of a loss is -1"),
            (json!({"gamma": 2}), "a loss has no name"),
            (json!(3), "a loss is 3"),
        ] {
            let message = read(value.clone()).expect_err("must be refused");
            assert!(message.contains(part), "{value}: {message}");
        }
        let term = LossTerm::read(json!("bce")).expect("valid");
        assert!(term.check_kind(Kind::Labels).expect_err("regions only").contains("there are: dice_ce, dice_topk, dice,"));
    }
}
