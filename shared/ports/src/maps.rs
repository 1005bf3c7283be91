//! Executions of the Distributed Map: one fans a stage out.

use async_trait::async_trait;
use fanfold_domain::map::{ExecutionName, MapInput};

use crate::PortError;

/// How an execution stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapStatus {
    /// It is under way.
    Running,
    /// Nothing of it goes on any more.
    Ended {
        /// How, in the service's word.
        how: String,
    },
}

/// Executions of the Distributed Map.
#[async_trait]
pub trait Maps: Send + Sync {
    /// Starts the execution that the input names, unless one of that name was started before, with whatever input, and
    /// whether or not it has ended. (Step Functions knows a name for 90 days after its end.)
    ///
    /// An indeterminate error may be answered by the same call again.
    async fn start(&self, input: &MapInput) -> Result<(), PortError>;

    /// How an execution stands; none if there never was one of that name. May lag behind a start.
    async fn status(&self, name: &ExecutionName) -> Result<Option<MapStatus>, PortError>;
}
