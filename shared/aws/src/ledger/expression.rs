//! Update expressions, built up term by term.
//!
//! Every attribute is named by a placeholder, since DynamoDB reserves some 570 words. An expression may be
//! 4 KiB long, so placeholders are short.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{Item, number};

/// An update and the condition it is made on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Update {
    set: Vec<String>,
    add: Vec<String>,
    condition: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Update {
    /// Sets an attribute.
    pub(super) fn set(mut self, attribute: &'static str, value: AttributeValue) -> Self {
        let term = format!("{} = {}", self.name(attribute), self.value(value));
        self.set.push(term);
        self
    }

    /// Adds to a number, or to a set.
    pub(super) fn add(mut self, attribute: &'static str, value: AttributeValue) -> Self {
        let term = format!("{} {}", self.name(attribute), self.value(value));
        self.add.push(term);
        self
    }

    /// Makes it a condition that an attribute compares so with a value: `=`, `<`, `>=` and the like.
    pub(super) fn only_if(mut self, attribute: &'static str, compares: &str, value: AttributeValue) -> Self {
        let term = format!("{} {compares} {}", self.name(attribute), self.value(value));
        self.condition.push(term);
        self
    }

    /// Makes it a condition that there is no such attribute: of the key's, that there is no such item.
    pub(super) fn only_if_absent(mut self, attribute: &'static str) -> Self {
        let term = format!("attribute_not_exists({})", self.name(attribute));
        self.condition.push(term);
        self
    }

    /// Makes it a condition that none of the sets contains any of the numbers: written as one `NOT` of `OR`s,
    /// since DynamoDB takes 300 operators and functions, and each further `NOT` counts.
    pub(super) fn unless_contained(mut self, attributes: &[&'static str], numbers: &[u32]) -> Self {
        let names: Vec<_> = attributes.iter().map(|attribute| self.name(attribute)).collect();
        let mut terms = Vec::new();
        for index in numbers {
            let value = self.value(number(index));
            terms.extend(names.iter().map(|name| format!("contains({name},{value})")));
        }
        self.condition.push(format!("NOT ({})", terms.join(" OR ")));
        self
    }

    /// The update expression.
    pub(super) fn expression(&self) -> String {
        let mut expression = String::new();
        for (clause, terms) in [("SET", &self.set), ("ADD", &self.add)] {
            if !terms.is_empty() {
                let space = if expression.is_empty() { "" } else { " " };
                write!(expression, "{space}{clause} {}", terms.join(", ")).expect("a String takes all");
            }
        }
        expression
    }

    /// The condition expression, if there is a condition.
    pub(super) fn condition(&self) -> Option<String> {
        (!self.condition.is_empty()).then(|| self.condition.join(" AND "))
    }

    /// What the placeholders stand for: names, and values.
    pub(super) fn into_placeholders(self) -> (HashMap<String, String>, Item) {
        (self.names, self.values)
    }

    fn name(&mut self, attribute: &'static str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::item::numbers;

    #[test]
    fn an_update_names_all_its_attributes() {
        let update = Update::default()
            .set("expires_at", number(9))
            .add("done", numbers([1, 2]))
            .add("records", number(5))
            .unless_contained(&["done", "failed"], &[1, 2]);
        assert_eq!(update.expression(), "SET #expires_at = :v0 ADD #done :v1, #records :v2");
        assert_eq!(
            update.condition().unwrap(),
            "NOT (contains(#done,:v3) OR contains(#failed,:v3) OR contains(#done,:v4) OR contains(#failed,:v4))"
        );
        let (names, values) = update.into_placeholders();
        assert_eq!(names["#failed"], "failed");
        assert_eq!((names.len(), values.len()), (4, 5));
        assert_eq!(values[":v4"], number(2));
    }

    #[test]
    fn conditions_are_all_to_hold() {
        let update = Update::default()
            .add("next_us", number(5))
            .only_if("next_us", ">=", number(1))
            .only_if("next_us", "<=", number(9))
            .only_if_absent("pk");
        assert_eq!(
            update.condition().unwrap(),
            "#next_us >= :v1 AND #next_us <= :v2 AND attribute_not_exists(#pk)"
        );
    }

    #[test]
    fn an_update_without_a_condition_has_none() {
        let update = Update::default().add("handed", numbers([7]));
        assert_eq!((update.expression().as_str(), update.condition()), ("ADD #handed :v0", None));
    }

    #[test]
    fn the_most_marks_stay_within_what_dynamodb_takes() {
        let indexes: Vec<u32> = (0..64).map(|i| 999_936 + i).collect();
        let condition = Update::default()
            .add("done", numbers(indexes.clone()))
            .unless_contained(&["done", "failed"], &indexes)
            .condition()
            .unwrap();
        let operators = ["NOT ", " OR ", "contains("].iter().map(|o| condition.matches(o).count());
        assert!(operators.sum::<usize>() <= 300);
        assert!(condition.len() <= 4096, "{} bytes", condition.len());
    }
}
