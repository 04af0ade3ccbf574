//! For whom a push is.

use serde::{Deserialize, Serialize};

use crate::directory::push::Attrs;

/// For whom, as it is stored. Attributes go by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Condition {
    /// Who has one of the first, where there are any, and all of the others.
    Tags { or: Vec<String>, and: Vec<String> },
    /// The same of attributes.
    Attrs { or: Attrs, and: Attrs },
}

impl Condition {
    /// Whether somebody with these is meant.
    pub(crate) fn means(&self, tags: &[String], attrs: &Attrs) -> bool {
        match self {
            Self::Tags { or, and } => {
                let has = |tag: &String| tags.contains(tag);
                (or.is_empty() || or.iter().any(has)) && and.iter().all(has)
            }
            Self::Attrs { or, and } => {
                let has = |(slot, value): (&u8, &String)| attrs.get(slot) == Some(value);
                (or.is_empty() || or.iter().any(has)) && and.iter().all(has)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attrs(all: &[(u8, &str)]) -> Attrs {
        all.iter().map(|(slot, value)| (*slot, (*value).to_owned())).collect()
    }

    #[test]
    fn one_of_the_first_and_all_of_the_others() {
        let list = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let means = |or: &[&str], and: &[&str], tags: &[&str]| {
            let condition = Condition::Tags { or: list(or), and: list(and) };
            let kept = serde_json::to_string(&condition).unwrap();
            assert_eq!(serde_json::from_str::<Condition>(&kept).unwrap(), condition);
            condition.means(&list(tags), &Attrs::new())
        };
        assert!(means(&["a", "b"], &[], &["b"]) && !means(&["a", "b"], &[], &["c"]));
        assert!(means(&[], &["a", "b"], &["b", "a", "c"]) && !means(&[], &["a", "b"], &["a"]));
        assert!(means(&["a", "b"], &["c"], &["c", "a"]));
        assert!(!means(&["a", "b"], &["c"], &["a", "b"]) && !means(&["a", "b"], &["c"], &["c"]));

        let has = attrs(&[(0, "f"), (1, "oslo")]);
        let means = |or: &[(u8, &str)], and: &[(u8, &str)]| {
            let condition = Condition::Attrs { or: attrs(or), and: attrs(and) };
            let kept = serde_json::to_string(&condition).unwrap();
            assert_eq!(serde_json::from_str::<Condition>(&kept).unwrap(), condition);
            condition.means(&[], &has)
        };
        assert!(means(&[(0, "m"), (1, "oslo")], &[]) && !means(&[(0, "m"), (1, "rome")], &[]));
        assert!(means(&[], &[(0, "f"), (1, "oslo")]) && !means(&[], &[(0, "f"), (2, "x")]));
        assert!(means(&[(0, "f")], &[(1, "oslo")]) && !means(&[(0, "f")], &[(1, "rome")]));
    }
}
