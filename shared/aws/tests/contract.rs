//! The contract suites on the local stack, `MiniStack`, at `FANFOLD_TEST_ENDPOINT`.
//!
//! Region and credentials are the SDK's variables, whatever the stack takes for such. A test run makes buckets, a table and queues of its
//! own. Without the variable nothing is tested, and that is said.

#[path = "stack/events.rs"]
mod events;
#[path = "stack/maps.rs"]
mod maps;
#[path = "stack/queues.rs"]
mod queues;
#[path = "stack/s3.rs"]
mod s3;
#[path = "stack/schedules.rs"]
mod schedules;
mod stack;
#[path = "stack/table.rs"]
mod table;

use bytes::Bytes;
use fanfold_aws::{Aws, Settings};
use fanfold_domain::ObjectName;
use fanfold_ports::contract::Rule;
use fanfold_ports::objects::{Condition, Metadata};
use fanfold_ports::{Fault, Objects};
use stack::Stack;

/// What `MiniStack` is known not to keep; versitygw does (`strict_s3.rs`).
const LACKS: &[Rule] = &[Rule::FiveMebibytes, Rule::WholeChecksum, Rule::CopyChecksum, Rule::KeyLength];

async fn local() -> Stack {
    Stack::connect("FANFOLD_TEST_ENDPOINT", false).await
}

mod objects_contract {
    async fn instance() -> fanfold_ports::contract::ObjectsUnderTest {
        super::s3::under_test(&super::local().await, super::LACKS).await
    }

    fanfold_ports::objects_contract!(instance);
}

mod ledger_contract {
    async fn instance() -> fanfold_ports::contract::LedgerUnderTest {
        super::table::under_test(&super::local().await).await
    }

    fanfold_ports::ledger_contract!(instance);
}

mod fleet_contract {
    async fn instance() -> fanfold_ports::contract::FleetUnderTest {
        super::table::fleet_under_test(&super::local().await).await
    }

    fanfold_ports::fleet_contract!(instance);
}

mod pacer_contract {
    async fn instance() -> fanfold_ports::contract::PacerUnderTest {
        super::table::pacer_under_test(&super::local().await).await
    }

    fanfold_ports::pacer_contract!(instance);
}

mod maps_contract {
    async fn instance() -> fanfold_ports::contract::MapsUnderTest {
        super::maps::under_test(&super::local().await).await
    }

    fanfold_ports::maps_contract!(instance);
}

mod queues_contract {
    async fn instance() -> fanfold_ports::contract::QueuesUnderTest {
        super::queues::under_test(&super::local().await).await
    }

    fanfold_ports::queues_contract!(instance);
}

mod events_contract {
    async fn instance() -> fanfold_ports::contract::EventsUnderTest {
        super::events::under_test(&super::local().await).await
    }

    fanfold_ports::events_contract!(instance);
}

mod schedules_contract {
    async fn instance() -> fanfold_ports::contract::SchedulesUnderTest {
        super::schedules::under_test(&super::local().await).await
    }

    fanfold_ports::schedules_contract!(instance);
}

/// No connection was made, so that even a write did not happen.
#[tokio::test]
async fn a_write_to_nobody_is_transient() {
    local().await;
    let nobody = "http://127.0.0.1:1".to_owned();
    let aws = Aws::connect(Settings { endpoint: Some(nobody), whole_checksum: true }).await;
    let object = ObjectName::new("bucket", "key");
    let put = aws.objects().put(&object, Bytes::new(), Condition::Always, &Metadata::new()).await;
    assert_eq!(put.expect_err("nobody is there").fault, Fault::Transient);
}
