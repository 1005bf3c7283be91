//! Reads variables, and reports all that is wrong with them at once.

use std::fmt::{self, Display};

use thiserror::Error;

use crate::config::{self, Function};

/// What is wrong with one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong.
    pub what: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.what)
    }
}

/// A configuration with which a function cannot start; displayed one problem a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", lines(.problems))]
pub struct InvalidConfiguration {
    /// All of its problems, at least one.
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// The variables of a function while they are read.
///
/// Each method gives a placeholder for a variable that is missing or wrong, so that the next one is read too;
/// what was made of placeholders is thrown away ([`Variables::read`]). A variable that is set but empty counts
/// as missing: a template cannot leave one out.
pub struct Variables<'a> {
    function: Function,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
}

impl Variables<'_> {
    /// Makes a configuration of the variables of this process.
    ///
    /// # Errors
    /// All problems that there are.
    pub fn from_environment<T>(
        function: Function,
        make: impl FnOnce(&mut Variables<'_>) -> T,
    ) -> Result<T, InvalidConfiguration> {
        Self::read(function, config::from_environment, make)
    }

    /// Makes a configuration of the variables that `lookup` has.
    ///
    /// # Errors
    /// All problems that there are.
    pub fn read<T>(
        function: Function,
        lookup: impl Fn(&str) -> Option<String>,
        make: impl FnOnce(&mut Variables<'_>) -> T,
    ) -> Result<T, InvalidConfiguration> {
        let mut variables = Variables { function, lookup: &lookup, problems: Vec::new() };
        let made = make(&mut variables);
        match variables.problems {
            problems if problems.is_empty() => Ok(made),
            problems => Err(InvalidConfiguration { problems }),
        }
    }

    /// A text that must be there.
    pub fn required(&mut self, name: &'static str) -> String {
        self.required_that(name, "a text", |_| true)
    }

    /// A text that may be left out.
    pub fn optional(&mut self, name: &'static str) -> Option<String> {
        if !config::reads(self.function).contains(&name) {
            let what = format!("it is not among the variables of the {}", self.function);
            self.problem(name, what);
        }
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// The URL of a queue, which must be there.
    pub fn url(&mut self, name: &'static str) -> String {
        self.required_that(name, "a URL (http:// or https://)", |value| {
            value.starts_with("https://") || value.starts_with("http://")
        })
    }

    /// An ARN, which must be there.
    pub fn arn(&mut self, name: &'static str) -> String {
        self.required_that(name, "an ARN (arn:..., of six parts)", |value| {
            value.starts_with("arn:") && value.split(':').count() >= 6
        })
    }

    /// `on` or `off`, with a default.
    pub fn switch(&mut self, name: &'static str, default: bool) -> bool {
        match self.optional(name).as_deref() {
            None => default,
            Some("on") => true,
            Some("off") => false,
            Some(found) => {
                self.problem(name, format!("{found:?} is neither `on` nor `off`"));
                default
            }
        }
    }

    /// A value that a parser makes of a text, which may be left out.
    pub fn parsed<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.optional(name)?;
        parse(&text).map_err(|error| self.problem(name, error.to_string())).ok()
    }

    /// A value that a parser makes of a text, which must be there.
    pub fn needed<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.required(name);
        if text.is_empty() {
            return None;
        }
        parse(&text).map_err(|error| self.problem(name, error.to_string())).ok()
    }

    fn required_that(
        &mut self,
        name: &'static str,
        allowed: &str,
        fits: impl FnOnce(&str) -> bool,
    ) -> String {
        match self.optional(name) {
            Some(value) if fits(&value) => value,
            Some(value) => {
                self.problem(name, format!("{value:?} is not {allowed}"));
                String::new()
            }
            None => {
                self.problem(name, format!("it is not set, and must be {allowed}"));
                String::new()
            }
        }
    }

    fn problem(&mut self, variable: &'static str, what: String) {
        self.problems.push(Problem { variable, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::*;

    #[derive(Debug, PartialEq)]
    struct Config {
        table: String,
        chunks: String,
        dead: String,
        whole: bool,
    }

    fn read(variables: &[(&str, &str)]) -> Result<Config, InvalidConfiguration> {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Variables::read(Function::Tracker, lookup, |v| Config {
            table: v.required(FANFOLD_LEDGER_TABLE),
            chunks: v.url(FANFOLD_CHUNKS_QUEUE_URL),
            dead: v.arn(FANFOLD_CHUNKS_DEAD_QUEUE_ARN),
            whole: v.switch(FANFOLD_S3_WHOLE_CHECKSUM, true),
        })
    }

    #[test]
    fn what_is_right_is_read() {
        let config = read(&[
            (FANFOLD_LEDGER_TABLE, "ledger"),
            (FANFOLD_CHUNKS_QUEUE_URL, "https://sqs.us-east-1.amazonaws.com/1/chunks"),
            (FANFOLD_CHUNKS_DEAD_QUEUE_ARN, "arn:aws:sqs:us-east-1:1:chunks-dead"),
            (FANFOLD_S3_WHOLE_CHECKSUM, "off"),
        ]);
        assert!(matches!(config, Ok(Config { table, whole: false, .. }) if table == "ledger"));
    }

    #[test]
    fn all_problems_are_reported_together() {
        let error = read(&[
            (FANFOLD_LEDGER_TABLE, ""),
            (FANFOLD_CHUNKS_QUEUE_URL, "chunks"),
            (FANFOLD_S3_WHOLE_CHECKSUM, "yes"),
        ])
        .unwrap_err();
        let variables: Vec<_> = error.problems.iter().map(|problem| problem.variable).collect();
        assert_eq!(
            variables,
            [
                FANFOLD_LEDGER_TABLE,
                FANFOLD_CHUNKS_QUEUE_URL,
                FANFOLD_CHUNKS_DEAD_QUEUE_ARN,
                FANFOLD_S3_WHOLE_CHECKSUM
            ]
        );
        assert_eq!(error.to_string().lines().count(), 4);
        assert!(error.to_string().contains("FANFOLD_LEDGER_TABLE: it is not set"));
    }

    #[test]
    fn a_variable_that_the_table_does_not_give_to_the_function_is_a_problem() {
        let lookup = |_: &str| Some("x".to_owned());
        let error = Variables::read(Function::Tracker, lookup, |v| v.required(FANFOLD_OUTPUT_BUCKET));
        assert!(error.unwrap_err().to_string().contains("not among the variables of the tracker"));
    }

    #[test]
    fn a_value_that_cannot_be_parsed_says_why() {
        let parse = |text: &str| text.parse::<u8>();
        let value = |text: &str| {
            let lookup = |_: &str| Some(text.to_owned());
            Variables::read(Function::Splitter, lookup, |v| v.parsed(FANFOLD_DEFAULT_PIPELINE, parse))
        };
        assert_eq!(value("7"), Ok(Some(7)));
        assert_eq!(value(""), Ok(None));
        assert!(value("x").unwrap_err().to_string().contains("invalid digit"));
    }
}
