//! `orders`: sales records in, `orderid,confirmationid` out, and a row of each in a table if one is named.

mod columns;
mod rows;

use async_trait::async_trait;
use fanfold_domain::pipeline::{Encoding, Process};
use fanfold_records::{Dialect, Field, count_fields, fields};

use self::{
    columns::{COLUMNS, Kind, ORDER_ID, check_header, value},
    rows::Rows,
};
use super::{Context, LateVerdict, ProcessError, Processor, Reason, Record, Step};
use crate::derive::IdDeriver;

pub(super) struct Orders {
    delimiter: u8,
    quote: Option<u8>,
    encoding: Encoding,
    ids: IdDeriver,
    rows: Option<Rows>,
}

impl Orders {
    pub(super) fn new(context: &Context<'_>) -> Result<Self, ProcessError> {
        let Dialect::Csv { delimiter, quote } = context.dialect else {
            return Err(ProcessError::Header("orders reads csv; source.format is another".to_owned()));
        };
        if let Some(header) = context.header {
            check_header(header, delimiter, quote)?;
        }
        let ids = IdDeriver::new(&context.run.pipeline.name, &context.run.source);
        let rows = match (&context.stage.process, context.tables) {
            (Process::Orders { table: Some(table) }, Some(tables)) => Some(Rows::new(tables.clone(), table)),
            _ => None,
        };
        Ok(Self { delimiter, quote, encoding: context.run.pipeline.source.encoding, ids, rows })
    }
}

#[async_trait]
impl Processor for Orders {
    fn record(&mut self, record: Record<'_>, out: &mut Vec<u8>) -> Result<(), Reason> {
        // Checked as they are split: an array of 14 fields costs 190 of 700 ns a record, nearly all of it in
        // loads that wait for stores.
        let mut order_id = Field::default();
        let mut columns = 0;
        // Nearly all records are ASCII: one look at the whole saves one at each field.
        let encoding = (!record.body.is_ascii()).then_some(self.encoding);
        for field in fields(record.body, self.delimiter, self.quote) {
            match COLUMNS.get(columns) {
                Some((_, kind)) if kind.admits(&value(&field), encoding) => {}
                wrong => return Err(self.refusal(record.body, wrong, &field)),
            }
            if columns == ORDER_ID {
                order_id = field;
            }
            columns += 1;
        }
        if columns != COLUMNS.len() {
            return Err(self.refusal(record.body, None, &order_id));
        }
        let mut rest = *b",00000000-0000-0000-0000-000000000000\n";
        let id = self.ids.id(record.offset).hyphenated().encode_lower(&mut rest[1..37]);
        if let Some(rows) = &mut self.rows {
            rows.add(fields(record.body, self.delimiter, self.quote), self.encoding, id)?;
        }
        out.extend_from_slice(&value(&order_id));
        out.extend_from_slice(&rest);
        Ok(())
    }

    async fn flush(&mut self, _out: &mut Vec<u8>) -> Result<Step<()>, ProcessError> {
        if let Some(rows) = &mut self.rows {
            rows.write_full().await?;
        }
        Ok(Step::Done(()))
    }

    async fn finish(&mut self, _out: &mut Vec<u8>) -> Result<Step<Vec<LateVerdict>>, ProcessError> {
        if let Some(rows) = &mut self.rows {
            rows.write_all().await?;
        }
        Ok(Step::Done(Vec::new()))
    }
}

impl Orders {
    /// Why a record is none of an order: its number of columns or, if that is right, the first wrong one.
    #[cold]
    fn refusal(&self, body: &[u8], wrong: Option<&(&str, Kind)>, field: &Field<'_>) -> Reason {
        let found = count_fields(body, self.delimiter, self.quote);
        let Some((name, kind)) = wrong.filter(|_| found == COLUMNS.len()) else {
            return format!("{found} columns, and orders has {}", COLUMNS.len()).into();
        };
        let found = value(field);
        let found = String::from_utf8_lossy(&found[..found.len().min(64)]);
        format!("{name} is {found:?}, and must be {}", kind.allowed()).into()
    }
}
