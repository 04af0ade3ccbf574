//! [`Value`] and [`Row`]: what goes into a statement and what comes out.

use nearport_chat::directory::DirectoryError;

/// One value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A whole number: ids, times, counts, and truth as 0 or 1.
    Int(i64),
    /// Text without U+0000.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// What can stand in [`params!`].
pub(crate) trait Param {
    /// As a value.
    ///
    /// # Errors
    /// [`DirectoryError::Engine`] for a number that no column holds and for text with U+0000.
    fn value(&self) -> Result<Value, DirectoryError>;
}

/// The parameters of a statement, in order: `params![key.app().0, key.name(), created_ms]`. Numbers, truth, text, bytes,
/// options of them. Each goes through `?`, since not every number and text fits.
macro_rules! params {
    ($($value:expr),* $(,)?) => { [$($crate::sql::Param::value(&$value)?),*] };
}
pub(crate) use params;

/// Parameters for [`Tx::execute_each`](super::Tx::execute_each) and [`Tx::query_each`](super::Tx::query_each):
/// `params_each(keys, |key| Ok(params![key.app().0, key.name()].into()))`.
pub(crate) fn params_each<T>(
    items: impl IntoIterator<Item = T>,
    row: impl FnMut(T) -> Result<Vec<Value>, DirectoryError>,
) -> Result<Vec<Vec<Value>>, DirectoryError> {
    items.into_iter().map(row).collect()
}

impl Param for Value {
    fn value(&self) -> Result<Value, DirectoryError> {
        Ok(self.clone())
    }
}

impl<T: Param + ?Sized> Param for &T {
    fn value(&self) -> Result<Value, DirectoryError> {
        (**self).value()
    }
}

impl<T: Param> Param for Option<T> {
    fn value(&self) -> Result<Value, DirectoryError> {
        self.as_ref().map_or(Ok(Value::Null), Param::value)
    }
}

impl Param for str {
    fn value(&self) -> Result<Value, DirectoryError> {
        if self.contains('\0') {
            return Err(DirectoryError::Engine("text with U+0000, which no column takes".to_owned()));
        }
        Ok(Value::Text(self.to_owned()))
    }
}

impl Param for String {
    fn value(&self) -> Result<Value, DirectoryError> {
        self.as_str().value()
    }
}

impl Param for [u8] {
    fn value(&self) -> Result<Value, DirectoryError> {
        Ok(Value::Blob(self.to_vec()))
    }
}

impl Param for Vec<u8> {
    fn value(&self) -> Result<Value, DirectoryError> {
        self.as_slice().value()
    }
}

impl Param for bytes::Bytes {
    fn value(&self) -> Result<Value, DirectoryError> {
        self[..].value()
    }
}

impl Param for bool {
    fn value(&self) -> Result<Value, DirectoryError> {
        Ok(Value::Int(i64::from(*self)))
    }
}

macro_rules! number {
    ($($type:ty),*) => {
        $(impl Param for $type {
            fn value(&self) -> Result<Value, DirectoryError> {
                match i64::try_from(*self) {
                    Ok(number) => Ok(Value::Int(number)),
                    // Times and counts: 63 bits of milliseconds last 292 million years.
                    Err(_) => Err(DirectoryError::Engine(format!("{self} does not fit a column"))),
                }
            }
        })*
    };
}
number!(i64, i32, u64, u32, u16, u8, usize);

/// One row of an answer; columns are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Vec<Value>);

impl Row {
    /// Of the values in the order of the columns.
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self(values)
    }

    /// The value itself.
    ///
    /// # Errors
    /// [`DirectoryError::Engine`] if there is no such column.
    pub fn value(&self, column: usize) -> Result<&Value, DirectoryError> {
        self.0.get(column).ok_or_else(|| DirectoryError::Engine(format!("no column {column} in the answer")))
    }

    /// A whole number of the type that the caller has, or nothing for NULL.
    ///
    /// # Errors
    /// [`DirectoryError::Engine`] for anything else, and for a number that the type does not hold.
    pub fn opt_int<T: TryFrom<i64>>(&self, column: usize) -> Result<Option<T>, DirectoryError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Int(number) => T::try_from(*number)
                .map(Some)
                .map_err(|_| DirectoryError::Engine(format!("column {column} holds {number}"))),
            _ => Err(wrong(column, "a number")),
        }
    }

    /// As [`Self::opt_int`], for a column that is never NULL.
    ///
    /// # Errors
    /// [`DirectoryError::Engine`].
    pub fn int<T: TryFrom<i64>>(&self, column: usize) -> Result<T, DirectoryError> {
        self.opt_int(column)?.ok_or_else(|| wrong(column, "a number"))
    }

    /// Truth: any number but 0.
    ///
    /// # Errors
    /// [`DirectoryError::Engine`].
    pub fn flag(&self, column: usize) -> Result<bool, DirectoryError> {
        Ok(self.int::<i64>(column)? != 0)
    }

    /// Text, or nothing for NULL.
    ///
    /// # Errors
    /// [`DirectoryError::Engine`] for anything else.
    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, DirectoryError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            _ => Err(wrong(column, "text")),
        }
    }

    /// As [`Self::opt_text`], for a column that is never NULL.
    ///
    /// # Errors
    /// [`DirectoryError::Engine`].
    pub fn text(&self, column: usize) -> Result<&str, DirectoryError> {
        self.opt_text(column)?.ok_or_else(|| wrong(column, "text"))
    }

    /// Bytes, or nothing for NULL.
    ///
    /// # Errors
    /// [`DirectoryError::Engine`] for anything else.
    pub fn opt_blob(&self, column: usize) -> Result<Option<&[u8]>, DirectoryError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Blob(bytes) => Ok(Some(bytes)),
            _ => Err(wrong(column, "bytes")),
        }
    }

    /// As [`Self::opt_blob`], for a column that is never NULL.
    ///
    /// # Errors
    /// [`DirectoryError::Engine`].
    pub fn blob(&self, column: usize) -> Result<&[u8], DirectoryError> {
        self.opt_blob(column)?.ok_or_else(|| wrong(column, "bytes"))
    }
}

fn wrong(column: usize, expected: &str) -> DirectoryError {
    DirectoryError::Engine(format!("column {column} holds no {}", expected.trim_start_matches("a ")))
}
