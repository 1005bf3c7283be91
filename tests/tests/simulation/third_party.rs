//! The third party of a simulation. What it answers in the end is a function of the request, so that one pass knows it
//! too; before that it has its troubles.

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{ChunkIndex, RunId};
use fanfold_ports::{
    Clock, Fault, PortError, Web,
    memory::MEMORY_EPOCH,
    web::{Answer, Request},
};
use serde_json::{Value, json};

use crate::{chance::Chance, ports::Watched};

const HOST: &str = "https://third.example";
/// Longer than any request may take.
const TOO_LONG_MS: u64 = 60_000;
const TIMEOUTS: [&str; 2] = ["1s", "30s"];

/// How the third party fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ThirdParty {
    /// Of a hundred requests, how many end in trouble that may pass.
    pub(crate) troubles_percent: u64,
    /// The longest that an answer takes, in milliseconds.
    pub(crate) answer_ms: u64,
}

/// Whose chunks an invocation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Errand {
    pub(crate) run: RunId,
    pub(crate) stage: String,
    pub(crate) chunks: Vec<ChunkIndex>,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// When, in milliseconds from the start.
    pub(crate) at_ms: u64,
    /// On whose behalf.
    pub(crate) errand: Errand,
    /// Its `Idempotency-Key`.
    pub(crate) key: String,
    pub(crate) body: Bytes,
}

impl Asked {
    /// What it says of its record: what that is, and where it starts.
    pub(crate) fn record(&self) -> (Value, u64) {
        let body = read(&self.body);
        (body["record"].clone(), body["at"].as_u64().unwrap_or(u64::MAX))
    }
}

/// Trouble that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Nobody is there.
    Nobody,
    /// The connection breaks once the request has arrived.
    Breaks,
    /// The answer comes when nobody waits for it any more.
    Late,
    /// It is busy, and may say for how long.
    Busy { status: u16, retry_after: Option<&'static str> },
}

const TROUBLES: [Trouble; 8] = [
    Trouble::Nobody,
    Trouble::Breaks,
    Trouble::Late,
    Trouble::Busy { status: 500, retry_after: None },
    Trouble::Busy { status: 503, retry_after: None },
    Trouble::Busy { status: 503, retry_after: Some("1") },
    Trouble::Busy { status: 429, retry_after: None },
    Trouble::Busy { status: 429, retry_after: Some("2") },
];

/// A stage that asks the third party, as its text from `process` on. A number of its URL says how many records of a
/// hundred are refused, whoever asks and however often.
pub(crate) fn stage(chance: &Chance, name: &str, may_be_sequential: bool) -> String {
    let is_sequential = may_be_sequential && chance.percent(45);
    let output = chance.one_of(&["body", "json"]);
    let carried = match (chance.within(0..4), output) {
        _ if !is_sequential => Carried::NONE,
        (0, _) => Carried { member: ", \"before\": {previous}", first: "" },
        (_, "body") => Carried { member: ", \"before\": {previous:/sum}", first: "{\"sum\": 0}" },
        _ => Carried { member: ", \"before\": {previous:/body/sum}", first: "{\"body\": {\"sum\": 0}}" },
    };
    let order = if is_sequential { "order: sequential, " } else { "" };
    let rate = chance.one_of(&[
        "",
        "",
        "rate: 20/s, ",
        "rate: 600/m, ",
        "rate: 100/s, ",
        "rate: {to: shared, per_second: 50}, ",
    ]);
    let at_once = if is_sequential { 1 } else { chance.within(1..9) };
    let with = format!(
        "output: {output}, at_once: {at_once}, attempts: {}, backoff: {}ms, timeout: {}",
        chance.within(1..6),
        chance.within(10..400),
        chance.one_of(&TIMEOUTS),
    );
    asking(name, chance.one_of(&[0, 0, 5, 20]), &format!("{order}{rate}"), carried, &with)
}

/// What a request has of the output before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried {
    member: &'static str,
    first: &'static str,
}

impl Carried {
    pub(crate) const NONE: Self = Self { member: "", first: "" };
    pub(crate) const SUM: Self = Self { member: ", \"before\": {previous:/sum}", first: "{\"sum\": 0}" };
}

/// A stage that asks, with these settings of its own and of its requests.
pub(crate) fn asking(
    name: &str,
    refused_percent: u64,
    settings: &str,
    Carried { member, first }: Carried,
    with: &str,
) -> String {
    format!(
        "process: http, {settings}with: {{url: '{HOST}/{name}/{refused_percent}?id={{id}}', \
         body: '{{\"record\": {{record}}, \"at\": {{offset}}{member}}}', first: '{first}', {with}}}"
    )
}

/// What is answered in the end.
pub(crate) fn answer(request: &Request) -> (u16, Bytes) {
    if !request.url.ends_with(&format!("?id={}", key(request))) {
        return (400, "its id is not its key".into());
    }
    let record = hash(read(&request.body)["record"].to_string().as_bytes());
    if record % 100 < refused_percent(&request.url) {
        return ([400, 404, 409, 422][usize::from(record % 7 > 2)], "not this one".into());
    }
    // Made of all that was sent, what was answered before too.
    let sum = hash(&request.body) >> 32;
    let answer = json!({"sum": sum});
    (200, if sum.is_multiple_of(3) { format!("{answer:#}\r\n").into() } else { answer.to_string().into() })
}

fn refused_percent(url: &str) -> u64 {
    let number = url.split(['/', '?']).nth(4).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{url} says how many are refused"))
}

fn key(request: &Request) -> &str {
    let found = request.headers.iter().find(|(name, _)| name == "idempotency-key");
    found.map_or("", |(_, value)| value)
}

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("a request is JSON")
}

/// FNV-1a, 64 bits, its upper half mixed in.
fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

impl Watched {
    fn trouble(&self) -> Option<Trouble> {
        let chance = &self.gate.chance;
        chance.percent(self.third_party.troubles_percent).then(|| chance.one_of(&TROUBLES))
    }

    fn arrived(&self, request: &Request) {
        let at_ms = self.world.clock.now().ms_since(MEMORY_EPOCH);
        let errand = self.gate.errand.clone().expect("only who does chunks asks third parties");
        let asked = Asked { at_ms, errand, key: key(request).to_owned(), body: request.body.clone() };
        self.record().asked(asked);
    }
}

#[async_trait]
impl Web for Watched {
    async fn send(&self, request: Request) -> Result<Answer, PortError> {
        let call = self.gate.depart().await;
        let failed = |fault, detail| Err(PortError::new(fault, "ask", &request.url, detail));
        let trouble = self.trouble();
        if trouble == Some(Trouble::Nobody) {
            return failed(Fault::Transient, "connection refused");
        }
        self.arrived(&request);
        let most_ms = if trouble == Some(Trouble::Late) { TOO_LONG_MS } else { self.third_party.answer_ms };
        self.world.clock.sleep_ms(self.gate.chance.within(most_ms / 2..most_ms + 1)).await;
        self.gate.arrive(call).await;
        let (status, body, retry_after) = match trouble {
            Some(Trouble::Breaks | Trouble::Nobody) => {
                return failed(Fault::Indeterminate, "connection reset");
            }
            Some(Trouble::Busy { status, retry_after }) => (status, Bytes::new(), retry_after),
            Some(Trouble::Late) | None => {
                let (status, body) = answer(&request);
                (status, body, None)
            }
        };
        Ok(Answer { status, retry_after: retry_after.map(ToOwned::to_owned), body, is_cut: false })
    }
}
