//! The one form in which a date is written, RFC 9110 section 5.6.7.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAY_SECONDS: u64 = 86_400;
/// Days of the 400 years after which the calendar repeats itself.
const ERA_DAYS: u64 = 146_097;
/// From 1 March of the year 0 to 1 January 1970.
const EPOCH_DAYS: u64 = 719_468;

/// The date of a moment, given in seconds since 1970, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn date(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / DAY_SECONDS, unix_seconds % DAY_SECONDS);
    let (year, month, day) = civil(days);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month],
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Year, month from 0, and day of a day since 1970: years are counted from March, so that the day
/// that is not always there is their last.
fn civil(days: u64) -> (u64, usize, u64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA_DAYS - 1)) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = 400 * era + year + u64::from(month < 2);
    (year, month as usize, day)
}
