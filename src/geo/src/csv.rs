//! Comma-separated text with a header, as the data of this crate needs it: fields in double quotes, `#` comments, and
//! errors that say where.

/// Why a file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct CsvError {
    /// The line, from 1; the header counts.
    pub line: usize,
    /// The name of the column; of a line that is too short the first that it lacks.
    pub column: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl CsvError {
    pub(crate) fn new(line: usize, column: &str, message: impl Into<String>) -> Self {
        Self { line, column: column.to_owned(), message: message.into() }
    }
}

/// One line, split.
pub(crate) struct Record<'a> {
    pub(crate) line: usize,
    names: &'a [&'static str],
    fields: Vec<String>,
}

impl Record<'_> {
    /// The text in a column; the columns are those of [`records`].
    pub(crate) fn text(&self, column: usize) -> &str {
        self.fields.get(column).map_or("", String::as_str)
    }

    /// An error in a column.
    pub(crate) fn wrong(&self, column: usize, expected: &str) -> CsvError {
        let name = self.names.get(column).copied().unwrap_or("?");
        CsvError::new(self.line, name, format!("{:?} is not {expected}", self.text(column)))
    }

    /// A finite number within bounds.
    pub(crate) fn number(&self, column: usize, from: f64, to: f64) -> Result<f64, CsvError> {
        let number = self.text(column).parse::<f64>().ok().filter(|number| (from..=to).contains(number));
        number.ok_or_else(|| self.wrong(column, &format!("a number from {from} to {to}")))
    }

    /// Anything that is parsed from a field.
    pub(crate) fn parse<T: std::str::FromStr>(&self, column: usize, expected: &str) -> Result<T, CsvError> {
        self.text(column).parse().map_err(|_| self.wrong(column, expected))
    }
}

/// All records of a text whose header names at least these columns, in any order. Lines are `\n` or `\r\n`.
pub(crate) fn records<'a>(text: &str, names: &'a [&'static str]) -> Result<Vec<Record<'a>>, CsvError> {
    let mut lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let wanted = || names.join(",");
    let Some((line, header)) = lines.next() else {
        return Err(CsvError::new(
            1,
            names[0],
            format!("the file is empty: its header must name {}", wanted()),
        ));
    };
    let header = split(header).map_err(|message| CsvError::new(line, names[0], message))?;
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let place = header.iter().position(|column| column.trim() == *name).ok_or_else(|| {
            CsvError::new(line, name, format!("the header does not name it; needed are {}", wanted()))
        })?;
        places.push(place);
    }
    let mut all = Vec::new();
    for (line, text) in lines {
        let last = names[names.len() - 1];
        let mut fields = split(text).map_err(|message| CsvError::new(line, last, message))?;
        if fields.len() != header.len() {
            let column = header.get(fields.len().min(header.len() - 1)).map_or(last, String::as_str);
            let message = format!("{} fields, but the header has {}", fields.len(), header.len());
            return Err(CsvError::new(line, column, message));
        }
        let fields = places.iter().map(|place| std::mem::take(&mut fields[*place])).collect();
        all.push(Record { line, names, fields });
    }
    Ok(all)
}

/// Splits one line; a field in quotes may hold commas and doubled quotes, no line break.
fn split(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    if quoted {
        return Err("a quote is opened and not closed in this line".to_owned());
    }
    fields.push(field);
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: &[&str] = &["a", "b"];

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let all = records("# note\nb,x,a\r\n1,\"q, \"\"r\"\"\",2\n\n", NAMES).unwrap();
        assert_eq!((all.len(), all[0].line, all[0].text(0), all[0].text(1)), (1, 3, "2", "1"));
        assert_eq!(split("1,\"q, \"\"r\"\"\",").unwrap(), ["1", "q, \"r\"", ""]);
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        let error = |text| records(text, NAMES).err().unwrap();
        assert_eq!((error("").line, error("").column.as_str()), (1, "a"));
        assert_eq!((error("a,c\n").line, error("a,c\n").column.as_str()), (1, "b"));
        assert_eq!((error("a,b\n1\n").line, error("a,b\n1\n").column.as_str()), (2, "b"));
        assert_eq!(error("a,b\n1,2\n1,2,3\n").line, 3);
        assert_eq!(error("a,b\n1,\"2\n").line, 2);
        let all = records("a,b\nx,NaN\n", NAMES).unwrap();
        let wrong = all[0].number(1, 0.0, 9.0).unwrap_err();
        assert_eq!(wrong.to_string(), "line 2, column b: \"NaN\" is not a number from 0 to 9");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ab,\"#\n\\PC]{0,60}") {
            let _ = records(&text, NAMES);
        }

        #[test]
        fn what_is_quoted_comes_back(fields in prop::collection::vec("[^\n\r]{0,8}", 1..5)) {
            let line: Vec<_> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            prop_assert_eq!(split(&line.join(",")).unwrap(), fields);
        }
    }
}
