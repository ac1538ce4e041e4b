//! RFC 9110 section 5.6.7: the one form in which dates are written.

use vespiary_wire::http::date;

#[test]
fn the_example_of_the_specification_is_written_as_it_stands_there() {
    assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
}

#[test]
fn days_that_not_every_year_has_are_dates() {
    for (seconds, text) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (68_255_999, "Tue, 29 Feb 1972 23:59:59 GMT"),
        (68_256_000, "Wed, 01 Mar 1972 00:00:00 GMT"),
        (946_684_799, "Fri, 31 Dec 1999 23:59:59 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
        (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        assert_eq!(date(seconds), text);
    }
}
