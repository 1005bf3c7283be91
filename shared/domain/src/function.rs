//! A function of the user's own, on AWS Lambda, by its name.

use std::{fmt, str::FromStr};

use crate::ids::InvalidId;

/// What a function may be called, for a person.
pub(crate) const FUNCTION: &str = "a Lambda function of the stack's region: its name, NAME:ALIAS or its ARN, \
     such as arn:aws:lambda:eu-west-1:123456789012:function:list-items";

/// The name of a Lambda function: its own, `name:alias` (or `name:version`), or its ARN, which may have an alias
/// too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName(String);

impl FunctionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The region that the function is in, where the name says so: an ARN does.
    pub fn region(&self) -> Option<&str> {
        self.0.starts_with("arn:").then(|| self.0.split(':').nth(3)).flatten()
    }
}

impl FromStr for FunctionName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parts: Vec<&str> = text.split(':').collect();
        let is_one = match parts[..] {
            ["arn", partition, "lambda", region, account, "function", name] => {
                is_place(partition, region, account) && is_name(name)
            }
            ["arn", partition, "lambda", region, account, "function", name, alias] => {
                is_place(partition, region, account) && is_name(name) && is_alias(alias)
            }
            [name, alias] => is_name(name) && is_alias(alias),
            [name] => is_name(name),
            _ => false,
        };
        if is_one {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidId { what: "name of a function", found: text.to_owned(), allowed: FUNCTION })
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_place(partition: &str, region: &str, account: &str) -> bool {
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    partition.starts_with("aws")
        && is_word(partition)
        && is_word(region)
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
}

fn is_name(text: &str) -> bool {
    text.len() <= 64 && is_identifier(text)
}

fn is_alias(text: &str) -> bool {
    text == "$LATEST" || text.len() <= 128 && is_identifier(text)
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:list-items";

    #[test]
    fn a_function_is_named_by_name_alias_or_arn_and_an_arn_says_its_region() {
        let region = |text: &str| text.parse::<FunctionName>().unwrap().region().map(str::to_owned);
        for text in ["list_Items-2", "list:live", "list:7", "list:$LATEST", "arn"] {
            assert_eq!(region(text), None, "{text}");
        }
        for text in [ARN.to_owned(), format!("{ARN}:live"), ARN.replace("aws:", "aws-cn:")] {
            assert_eq!(region(&text).as_deref(), Some("eu-west-1"), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        let long = "x".repeat(65);
        for text in [
            "",
            ":live",
            "list:",
            "list items",
            "list.items",
            "list:a:b",
            "../list",
            "list/invocations",
            "list:$OLDEST",
            "123456789012:function:list",
            long.as_str(),
            "arn:aws:lambda:eu-west-1:123456789012:layer:list",
            "arn:aws:lambda:eu-west-1:12345:function:list",
            "arn:aws:lambda::123456789012:function:list",
            "arn:aws:states:eu-west-1:123456789012:function:list",
            "arn:aws:lambda:eu-west-1:123456789012:function:list:live:x",
            "arn:aws:lambda:eu-west-1:123456789012:function:*",
        ] {
            assert!(text.parse::<FunctionName>().is_err(), "{text}");
        }
    }
}
