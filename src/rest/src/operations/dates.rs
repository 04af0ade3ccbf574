//! Days and hours of UTC as the contract writes them.

/// Seconds of a day, and of an hour.
const DAY_S: u64 = 86_400;
const HOUR_S: u64 = 3600;

/// `yyyymmdd` of a day since the Unix epoch: Howard Hinnant's `civil_from_days`, for days that are not before it.
pub(crate) fn date(day: u32) -> String {
    // Days since 0000-03-01, so that the day of a leap year is the last one.
    let days = u64::from(day) + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}")
}

/// `yyyymmddhh` of an hour since the Unix epoch.
pub(crate) fn hour_text(hour: u64) -> String {
    let day = u32::try_from(hour / 24).unwrap_or(u32::MAX);
    format!("{}{:02}", date(day), hour % 24)
}

/// What [`hour_text`] was given. `None`: it is no hour.
pub(crate) fn hour_of(text: &str) -> Option<u64> {
    if text.len() != 10 || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day, hour) = (number(0..4)?, number(4..6)?, number(6..8)?, number(8..10)?);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || hour > 23 {
        return None;
    }
    // Howard Hinnant's `days_from_civil`, for years that are not before 0.
    let year_from_march = year - u64::from(month <= 2);
    let (era, year_of_era) = (year_from_march / 400, year_from_march % 400);
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = (era * 146_097 + of_era).checked_sub(719_468)?;
    let hour = days * 24 + hour;
    // A 31st of April is another day.
    (hour_text(hour) == text).then_some(hour)
}

/// `yyyy-mm-dd hh:mm:ss` of a Unix second.
pub(crate) fn time_text(second: u64) -> String {
    let day = date(u32::try_from(second / DAY_S).unwrap_or(u32::MAX));
    let of_day = second % DAY_S;
    let (hour, of_hour) = (of_day / HOUR_S, of_day % HOUR_S);
    let (years, rest) = day.split_at(day.len() - 4);
    let (month, day) = rest.split_at(2);
    format!("{years}-{month}-{day} {hour:02}:{:02}:{:02}", of_hour / 60, of_hour % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_have_their_dates() {
        let known = [(0, "19700101"), (11_016, "20000229"), (11_017, "20000301"), (20_513, "20260301")];
        for (day, text) in known {
            assert_eq!(date(day), text);
        }
        assert_eq!((date(20_512), date(47_540)), ("20260228".into(), "21000228".into()));
        assert_eq!(date(47_541), "21000301", "no leap year");
    }

    #[test]
    fn hours_and_seconds_have_their_texts() {
        assert_eq!(hour_of("2015120121"), Some(402_501));
        assert_eq!(time_text(402_501 * 3600 + 61), "2015-12-01 21:01:01");
        for bad in [
            "",
            "201512012",
            "20151201211",
            "2015120124",
            "2015130121",
            "2015023001",
            "2015120021",
            "1969123123",
            "2015 20121",
            "+015120121",
        ] {
            assert_eq!(hour_of(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_hour_reads_back(hour in 0..70_000_000u64) {
            prop_assert_eq!(hour_of(&hour_text(hour)), Some(hour));
        }

        #[test]
        fn no_text_panics(text in "[0-9]{10}|\\PC{0,12}") {
            if let Some(hour) = hour_of(&text) {
                prop_assert_eq!(hour_text(hour), text);
            }
        }
    }
}
