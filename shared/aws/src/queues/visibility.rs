//! When a message that was received comes back.

use aws_sdk_sqs::Client;
use fanfold_ports::{Fault, PortError};

use crate::error::write_error;

/// Changes how long received messages stay invisible.
#[derive(Debug, Clone)]
pub struct SqsVisibility {
    client: Client,
}

impl SqsVisibility {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Has a message of the queue of this ARN come back in so many seconds from now, once.
    ///
    /// # Errors
    /// It comes back when its visibility timeout is over.
    pub async fn change(&self, queue_arn: &str, receipt_handle: &str, delay_s: u32) -> Result<(), PortError> {
        let url = queue_url(queue_arn).ok_or_else(|| {
            PortError::new(Fault::Permanent, "change visibility", queue_arn, "it is no ARN of a queue")
        })?;
        let change = self.client.change_message_visibility().queue_url(url).receipt_handle(receipt_handle);
        let changed = change.visibility_timeout(delay_s.cast_signed()).send().await;
        changed.map_err(|error| write_error("change visibility", queue_arn, error))?;
        Ok(())
    }
}

/// The URL of a queue, of which an event tells only the ARN.
fn queue_url(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "sqs", region, account, name] = parts[..] else { return None };
    let domain = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    Some(format!("https://sqs.{region}.{domain}/{account}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_queue_is_made_of_its_arn() {
        let arn = "arn:aws:sqs:eu-west-1:123456789012:folds";
        assert_eq!(queue_url(arn).unwrap(), "https://sqs.eu-west-1.amazonaws.com/123456789012/folds");
        let china = queue_url(&arn.replace("aws:sqs:eu-west-1", "aws-cn:sqs:cn-north-1")).unwrap();
        assert_eq!(china, "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/folds");
        assert_eq!(queue_url("folds"), None);
    }
}
