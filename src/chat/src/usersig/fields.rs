//! The JSON of a UserSig: one flat object of strings and whole numbers, each kept as the text that was signed.
//!
//! Stricter than a general JSON value on purpose: a duplicate key would let two readers see two different users
//! behind one signature, and a number such as `1e3` or `1.0` has no single text form to sign over.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::error::Category;

use super::SigError;

/// Field name to text form. Libraries differ in whether a number is written as a JSON number or as a string, and
/// sign the same text for both.
pub(super) type Fields = BTreeMap<String, String>;

/// Reads the object.
pub(super) fn parse(json: &[u8]) -> Result<Fields, SigError> {
    // The messages of serde_json can repeat text of the input, which has no place in a log, hence our own.
    serde_json::from_slice::<Flat>(json).map(|flat| flat.0).map_err(|error| {
        SigError::Json(match error.classify() {
            Category::Data => "not a flat object of strings and whole numbers with each key once",
            Category::Eof => "it ends too early",
            Category::Syntax | Category::Io => "not JSON",
        })
    })
}

struct Flat(Fields);

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlatVisitor;
        impl<'de> Visitor<'de> for FlatVisitor {
            type Value = Flat;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flat, A::Error> {
                let mut fields = Fields::new();
                while let Some((name, Text(text))) = map.next_entry::<String, Text>()? {
                    if fields.insert(name, text).is_some() {
                        return Err(A::Error::custom("a key occurs twice"));
                    }
                }
                Ok(Flat(fields))
            }
        }
        deserializer.deserialize_map(FlatVisitor)
    }
}

/// A string, or a whole number from 0 to 2^64 - 1, as text.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        // What is not visited here (floats, negative numbers, null, booleans, arrays, objects) is an error, and
        // nothing nested is ever descended into.
        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a whole number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Text, E> {
                Ok(Text(text))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}
