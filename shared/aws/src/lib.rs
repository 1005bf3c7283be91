//! The ports on AWS: objects on S3, the ledger on DynamoDB, queues on SQS, events and schedules on EventBridge, executions
//! on Step Functions, users' functions on Lambda, the clock of the machine.
//!
//! Each adapter speaks its port's language on the one side and the SDK's on the other, and has one mapping
//! from the service's errors to the port's three faults. No SDK type is part of a signature here, and no call
//! is made before a port is used, so that connecting costs a cold start next to nothing.
//!
//! Architecture invariant: nothing here knows what a service does with an answer, and nothing here reads our
//! environment variables: names of tables, buckets and queues are given. (The SDK reads its own: region,
//! credentials, `AWS_ENDPOINT_URL`.)

mod clock;
mod connect;
mod error;
mod events;
mod functions;
mod ledger;
mod maps;
mod objects;
mod queues;
mod schedules;
mod tables;

pub use clock::SystemClock;
pub use connect::{Aws, Settings};
pub use events::EventBus;
pub use functions::LambdaFunctions;
pub use ledger::DynamoLedger;
pub use maps::StepFunctionsMaps;
pub use objects::S3Objects;
pub use queues::{QueueUrls, SqsQueues, SqsVisibility};
pub use schedules::{EventBridgeSchedules, ScheduleGroup};
pub use tables::DynamoTables;
