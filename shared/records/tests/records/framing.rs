//! The framer against the rules, for any buffers.

use proptest::prelude::*;

use crate::common::{
    NO_LIMIT, by_the_rules, data, dialect, frame, frame_in_pieces, line_dialect, without_blanks,
};

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        prop::collection::vec(1usize..10, 1..6),
        prop::collection::vec(0usize..200, 1..6)
            .prop_filter("some bytes", |sizes| sizes.iter().sum::<usize>() > 0),
    ]
}

proptest! {
    #![proptest_config(crate::common::cases(1000))]

    #[test]
    fn the_framer_follows_the_rules(dialect in line_dialect(), bytes in data()) {
        prop_assert_eq!(without_blanks(frame(dialect, 0, &bytes, NO_LIMIT)), by_the_rules(dialect, &bytes));
    }

    #[test]
    fn the_sizes_of_the_buffers_do_not_matter(
        dialect in dialect(), bytes in data(), sizes in sizes(), late_end: bool, offset in 0u64..1000,
    ) {
        prop_assert_eq!(
            frame_in_pieces(dialect, offset, &bytes, NO_LIMIT, &sizes, late_end),
            frame(dialect, offset, &bytes, NO_LIMIT)
        );
    }

    #[test]
    fn nor_do_they_where_records_are_too_long(
        dialect in dialect(), bytes in data(), sizes in sizes(), late_end: bool, max_record in 0u64..200,
    ) {
        prop_assert_eq!(
            frame_in_pieces(dialect, 7, &bytes, max_record, &sizes, late_end),
            frame(dialect, 7, &bytes, max_record)
        );
    }

    #[test]
    fn every_byte_is_told_once(dialect in line_dialect(), bytes in data()) {
        let seen = frame(dialect, 0, &bytes, NO_LIMIT);
        let mut ends = seen.iter().skip(1).map(crate::common::Seen::offset).collect::<Vec<_>>();
        ends.push(bytes.len() as u64);
        for (one, end) in seen.iter().zip(ends) {
            let raw = &bytes[usize::try_from(one.offset()).unwrap()..usize::try_from(end).unwrap()];
            prop_assert!(!raw.is_empty());
        }
        prop_assert_eq!(seen.first().map_or(0, crate::common::Seen::offset), 0);
    }
}
