//! Fields of requests, read tolerantly: what is missing or of another type gets the code that the contract has for that field,
//! instead of refusing the whole body in one number.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::answer::Refusal;

/// A field: absent (`null` counts as absent), good, or of another type.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Field<T> {
    #[default]
    Absent,
    Good(T),
    Bad,
}

impl<T> Field<T> {
    /// What has to be there.
    ///
    /// # Errors
    /// `code` if it is missing or of another type.
    pub(crate) fn required(self, name: &str, code: u32) -> Result<T, Refusal> {
        match self {
            Self::Good(value) => Ok(value),
            Self::Absent => Err(Refusal::new(code, format!("{name} is missing"))),
            Self::Bad => Err(Refusal::new(code, format!("{name} has the wrong type"))),
        }
    }

    /// What may be missing.
    ///
    /// # Errors
    /// `code` if it is of another type.
    pub(crate) fn optional(self, name: &str, code: u32) -> Result<Option<T>, Refusal> {
        match self {
            Self::Good(value) => Ok(Some(value)),
            Self::Absent => Ok(None),
            Self::Bad => Err(Refusal::new(code, format!("{name} has the wrong type"))),
        }
    }

    /// The one of two names by which a field goes; the first counts if both are there.
    pub(crate) fn or(self, other: Self) -> Self {
        match self {
            Self::Absent => other,
            named => named,
        }
    }
}

// Names without parameters, for the derive of `ToSchema` looks at what is written: a module names its `Field<Vec<Object<T>>>` too.

/// Text.
pub(crate) type Text = Field<String>;
/// A list of text.
pub(crate) type Texts = Field<Vec<String>>;

/// Types that a field may have, read from JSON as clients in the field write them.
pub(crate) trait Lenient: Sized {
    fn read(value: Value) -> Option<Self>;
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl Lenient for $type {
            /// A whole number, also as text: some clients quote them.
            fn read(value: Value) -> Option<Self> {
                match value {
                    Value::Number(number) => match number.as_i128() {
                        Some(number) => number.try_into().ok(),
                        None => number.as_f64().filter(|number| number.fract() == 0.0).and_then(|number| {
                            // Whole and within 2^53: exact.
                            (number.abs() <= 9_007_199_254_740_992.0).then_some(number)
                        }).and_then(|number| format!("{number:.0}").parse().ok()),
                    },
                    Value::String(text) => text.parse().ok(),
                    _ => None,
                }
            }
        }
    )*};
}
integer!(u32, u64, i64);

impl Lenient for bool {
    fn read(value: Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Lenient for String {
    fn read(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Lenient for Value {
    fn read(value: Value) -> Option<Self> {
        Some(value)
    }
}

impl<T: Lenient> Lenient for Vec<T> {
    fn read(value: Value) -> Option<Self> {
        match value {
            Value::Array(values) => values.into_iter().map(T::read).collect(),
            _ => None,
        }
    }
}

/// A nested object that a module describes with serde.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object<T>(pub(crate) T);

impl<T: for<'a> Deserialize<'a>> Lenient for Object<T> {
    fn read(value: Value) -> Option<Self> {
        value.is_object().then(|| serde_json::from_value(value).ok()).flatten().map(Self)
    }
}

impl<'de, T: Lenient> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Null => Self::Absent,
            value => T::read(value).map_or(Self::Bad, Self::Good),
        })
    }
}

/// In the OpenAPI document a field has the type that it ought to have, and the derive of `ToSchema` refers to it by a name.
impl<T: Described> PartialSchema for Field<T> {
    fn schema() -> RefOr<Schema> {
        T::described()
    }
}

impl<T: Described> ToSchema for Field<T> {
    fn name() -> Cow<'static, str> {
        T::named()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::others(schemas);
    }
}

/// How a type is told in the OpenAPI document.
pub(crate) trait Described {
    /// The name under which the document has it: another one for each description.
    fn named() -> Cow<'static, str>;
    fn described() -> RefOr<Schema>;
    fn others(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let _ = schemas;
    }
}

macro_rules! described {
    ($($type:ty: $name:literal),*) => {$(
        impl Described for $type {
            fn named() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn described() -> RefOr<Schema> {
                <$type as PartialSchema>::schema()
            }
        }
    )*};
}
described!(bool: "Switch", u32: "Whole", u64: "Long", i64: "Signed", String: "Text");

impl Described for Value {
    fn named() -> Cow<'static, str> {
        Cow::Borrowed("Anything")
    }

    fn described() -> RefOr<Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::SchemaType::AnyValue)
            .into()
    }
}

impl<T: Described> Described for Vec<T> {
    fn named() -> Cow<'static, str> {
        Cow::Owned(format!("{}List", T::named()))
    }

    fn described() -> RefOr<Schema> {
        utoipa::openapi::ArrayBuilder::new().items(T::described()).into()
    }

    fn others(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::others(schemas);
    }
}

impl<T: ToSchema> Described for Object<T> {
    fn named() -> Cow<'static, str> {
        T::name()
    }

    fn described() -> RefOr<Schema> {
        T::schema()
    }

    fn others(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        #[serde(default)]
        n: Field<u32>,
        #[serde(default)]
        names: Field<Vec<String>>,
    }

    #[test]
    fn fields_are_read_as_clients_write_them_and_have_codes_of_their_own() {
        let body: Body = serde_json::from_str(r#"{"n":"7","names":["a"]}"#).unwrap();
        assert_eq!(
            (body.n.required("n", 1), body.names.required("names", 2)),
            (Ok(7), Ok(vec!["a".to_owned()]))
        );
        let body: Body = serde_json::from_str(r#"{"n":-1,"names":[1]}"#).unwrap();
        assert_eq!(
            (body.n.required("n", 1).unwrap_err().code, body.names.optional("names", 2).unwrap_err().code),
            (1, 2)
        );
        let body: Body = serde_json::from_str(r#"{"n":null,"names":null}"#).unwrap();
        assert_eq!(
            (body.n.required("n", 1).unwrap_err().info, body.names.optional("names", 2)),
            ("n is missing".into(), Ok(None))
        );
        let body: Body = serde_json::from_str(r#"{"n":3.0}"#).unwrap();
        assert_eq!(body.n, Field::Good(3));
        for bad in ["1.5", "4294967296", "1e400", "true", "\"x\""] {
            let read = serde_json::from_str::<Body>(&format!(r#"{{"n":{bad}}}"#));
            assert!(read.map_or(true, |body| body.n == Field::Bad), "{bad}");
        }
    }
}
