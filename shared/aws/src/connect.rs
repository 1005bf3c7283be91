//! One configuration, a client a service.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{
    BehaviorVersion, SdkConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use fanfold_ports::Ports;

use crate::ledger::RetryConflicts;
use crate::{
    DynamoLedger, DynamoTables, EventBridgeSchedules, EventBus, LambdaFunctions, QueueUrls, S3Objects,
    ScheduleGroup, SqsQueues, SqsVisibility, StepFunctionsMaps, SystemClock,
};

/// What differs between AWS and its local stand-ins.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where all services are, if not at AWS; without it the SDK's own `AWS_ENDPOINT_URL` counts.
    pub endpoint: Option<String>,
    /// Whether the CRC-64/NVME of a whole object is sent when a multipart upload is completed, so that S3
    /// refuses a wrong one. Off only for an endpoint that does not know it.
    pub whole_checksum: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { endpoint: None, whole_checksum: true }
    }
}

/// A host that does not answer a SYN in this time is not there.
const CONNECT: Duration = Duration::from_secs(3);

/// How long a call may take: until the first byte of its answer, and until the end of it (for a read of S3:
/// of its head; a body that stalls is ended by the SDK's own protection, after 20 s without a byte).
const S3_TIMES: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(30));
const DYNAMODB_TIMES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(12));
const SQS_TIMES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(15));
/// Nothing waits for an event: one that is not taken at once is put again by the sweeper.
const EVENTS_TIMES: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(5));
const SCHEDULER_TIMES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(15));
const SFN_TIMES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(15));

/// Clients of AWS.
#[derive(Debug, Clone)]
pub struct Aws {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    sdk: SdkConfig,
    sfn: aws_sdk_sfn::Client,
    whole_checksum: bool,
    region: Option<String>,
    is_stand_in: bool,
}

impl Aws {
    /// Takes region and credentials from where the SDK finds them, and makes the clients. Nothing is called where
    /// `AWS_REGION` is set, as it is on Lambda; credentials are read at the first call.
    pub async fn connect(settings: Settings) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(endpoint) = settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let sdk = loader.load().await;
        let s3 = aws_sdk_s3::config::Builder::from(&within(&sdk, S3_TIMES))
            // Buckets as host names do not resolve on a local endpoint.
            .force_path_style(sdk.endpoint_url().is_some())
            .build();
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(&within(&sdk, DYNAMODB_TIMES))
            .retry_classifier(RetryConflicts)
            .build();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb),
            sqs: aws_sdk_sqs::Client::new(&within(&sdk, SQS_TIMES)),
            sfn: aws_sdk_sfn::Client::new(&within(&sdk, SFN_TIMES)),
            whole_checksum: settings.whole_checksum,
            region: sdk.region().map(ToString::to_string),
            is_stand_in: sdk.endpoint_url().is_some(),
            sdk,
        }
    }

    /// The region that all of it is in, where the SDK has found one.
    pub fn region(&self) -> Option<String> {
        self.region.clone()
    }

    /// Whether all of it is not at AWS but at one endpoint that stands in for it.
    pub fn is_stand_in(&self) -> bool {
        self.is_stand_in
    }

    /// Objects on S3.
    pub fn objects(&self) -> S3Objects {
        S3Objects::new(self.s3.clone(), self.whole_checksum)
    }

    /// The ledger in a DynamoDB table.
    pub fn ledger(&self, table: impl Into<String>) -> DynamoLedger {
        DynamoLedger::new(self.dynamodb.clone(), table.into())
    }

    /// Queues on SQS.
    pub fn queues(&self, urls: QueueUrls) -> SqsQueues {
        SqsQueues::new(self.sqs.clone(), urls)
    }

    /// When messages come back that were received from queues on SQS.
    pub fn visibility(&self) -> SqsVisibility {
        SqsVisibility::new(self.sqs.clone())
    }

    /// Events on the bus of this name; without one none can be put.
    pub fn events(&self, bus: Option<String>) -> EventBus {
        EventBus::new(aws_sdk_eventbridge::Client::new(&within(&self.sdk, EVENTS_TIMES)), bus)
    }

    /// Schedules on EventBridge Scheduler.
    pub fn schedules(&self, group: ScheduleGroup) -> EventBridgeSchedules {
        EventBridgeSchedules::new(aws_sdk_scheduler::Client::new(&within(&self.sdk, SCHEDULER_TIMES)), group)
    }

    /// Executions of a state machine of Step Functions, given by its ARN.
    pub fn maps(&self, state_machine_arn: impl Into<String>) -> StepFunctionsMaps {
        StepFunctionsMaps::new(self.sfn.clone(), state_machine_arn.into())
    }

    /// The users' functions on Lambda. A function may be silent for as long as it runs, and who waits for it says how
    /// long that is: here only a connection is waited for no longer than for others.
    pub fn functions(&self) -> LambdaFunctions {
        let patient = TimeoutConfig::builder().connect_timeout(CONNECT).build();
        let unguarded = StalledStreamProtectionConfig::disabled();
        let sdk = self.sdk.to_builder().timeout_config(patient).stalled_stream_protection(unguarded).build();
        LambdaFunctions::new(aws_sdk_lambda::Client::new(&sdk), self.region())
    }

    /// The users' tables on DynamoDB.
    pub fn tables(&self) -> DynamoTables {
        DynamoTables::new(self.dynamodb.clone())
    }

    /// All ports, but for a bus of events: a function that announces has [`Aws::events`] in its place.
    pub fn ports(&self, table: impl Into<String>, urls: QueueUrls) -> Ports {
        let ledger = Arc::new(self.ledger(table));
        Ports {
            objects: Arc::new(self.objects()),
            ledger: ledger.clone(),
            pacer: ledger,
            queues: Arc::new(self.queues(urls)),
            events: Arc::new(self.events(None)),
            tables: Arc::new(self.tables()),
            clock: Arc::new(SystemClock),
        }
    }
}

fn within(sdk: &SdkConfig, times: (Duration, Duration)) -> SdkConfig {
    sdk.to_builder().timeout_config(timeouts(times)).build()
}

/// Timeouts of one attempt; the SDK's standard retries make up to three.
pub(crate) fn timeouts((first_byte, whole): (Duration, Duration)) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(first_byte)
        .operation_attempt_timeout(whole)
        .build()
}
