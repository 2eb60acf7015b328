//! The plan for a load, from measured figures. It contacts nothing.

mod figures;
mod lines;
mod model;
mod number;
mod show;

use jeton_token::LIFETIME_CAP_S;

use self::model::{CONNECTIONS_MEASURED, DAY_S, Demand, Plan, REPLICAS_MEASURED, REVOCATIONS_MEASURED};

/// The default number of validations of a token per second of its life: a service that serves ten calls a second with
/// it.
const USES_PER_TOKEN_AND_SECOND: f64 = 10.0;
/// The time for which a revocation is kept after its token's `exp`, seconds: the greatest leeway and spread of clocks.
const PAST_EXP_S: f64 = 120.0;
/// Greater numbers mean nothing here.
const COUNT_MAX: f64 = 1e12;

/// Plan for a load, offline: replicas, Postgres and the first bottleneck, from measured figures. Numbers are written as
/// 1e6, 250k or 1M
#[derive(Debug, clap::Parser)]
#[command(name = "capacity")]
pub struct Load {
    /// Validations per second
    #[arg(long, value_name = "N", value_parser = parse_count)]
    validations: f64,
    /// Revocations per second
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count)]
    revocations: f64,
    /// How long a token lives
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_ttl)]
    ttl: f64,
    /// Tokens issued per second [default: as many as --tokens live; without that, enough for each to be validated ten
    /// times a second]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    issues: Option<f64>,
    /// Distinct tokens alive at a time [default: --issues and --refreshes, for --ttl each]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    tokens: Option<f64>,
    /// Refreshes per second, and sessions opened
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_count)]
    refreshes: f64,
    /// Sessions alive at a time [default: each is refreshed once per --ttl]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    sessions: Option<f64>,
    /// The part of the validations whose token the replica has not seen: 0.05 or 5% [default: each token once on each
    /// replica, and what its cache cannot hold]
    #[arg(long, value_name = "PART", value_parser = parse_part)]
    unseen: Option<f64>,
    /// The part of the revocations that name only a jti, a session or a subject: they are kept for a day; those by a
    /// token's text until it would have expired
    #[arg(long, value_name = "PART", default_value = "0", value_parser = parse_part)]
    by_id: f64,
    /// Cores of one replica
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=512))]
    cores: u16,
    /// Connections to one replica
    #[arg(long, value_name = "N", default_value = "1k", value_parser = parse_count)]
    connections: f64,
    /// The capacity as a multiple of the load: for its peaks, and for the loss of a replica
    #[arg(long, value_name = "TIMES", default_value = "2", value_parser = parse_headroom)]
    headroom: f64,
    /// The form of the answer
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,
}

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// What is said to a question.
#[derive(Debug)]
pub struct Answer {
    /// The plan.
    pub text: String,
    /// One line on what of it was never measured.
    pub warning: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The question makes no sense.
    Question(String),
    /// The figures do not.
    Figures(String),
}

/// Answers a question.
pub fn answer(load: &Load) -> Result<Answer, Failure> {
    let measured = figures::measured()
        .map_err(|error| Failure::Figures(format!("the figures of this program are not valid: {error}")))?;
    let demand = demand(load);
    let plan = model::plan(&measured, &demand).ok_or_else(|| {
        Failure::Question("not even a thousand cells carry that. Give less, or more `--cores`".into())
    })?;
    let warning = beyond(&plan);
    let text = match load.output {
        Format::Table => show::table(&measured, &demand, &plan),
        Format::Json => format!("{:#}", show::json(&measured, &demand, &plan, warning.as_deref())),
    };
    Ok(Answer { text, warning: warning.map(|warning| format!("warning: {warning}.")) })
}

/// The load, with defaults derived from the given values.
fn demand(args: &Load) -> Demand {
    let (validations, ttl_s) = (args.validations, args.ttl);
    let issues = match (args.issues, args.tokens) {
        (Some(issues), _) => issues,
        (None, Some(tokens)) => (tokens / ttl_s - args.refreshes).max(0.0),
        (None, None) => (validations / USES_PER_TOKEN_AND_SECOND / ttl_s - args.refreshes).max(0.0),
    };
    Demand {
        validations,
        tokens: args.tokens.unwrap_or((issues + args.refreshes) * ttl_s),
        unseen: args.unseen,
        issues,
        refreshes: args.refreshes,
        sessions: args.sessions.unwrap_or(args.refreshes * ttl_s),
        revocations: args.revocations,
        kept_s: (1.0 - args.by_id) * ttl_s + args.by_id * DAY_S + PAST_EXP_S,
        cores: f64::from(args.cores),
        headroom: args.headroom,
        connections: args.connections,
    }
}

/// The parts of the plan that are beyond the measurements.
fn beyond(plan: &Plan) -> Option<String> {
    let reached = [
        ("live tokens", plan.demand.tokens, model::TOKENS_MEASURED),
        ("live revocations", plan.memory.live_revocations, REVOCATIONS_MEASURED),
        ("sessions", plan.demand.sessions, model::SESSIONS_MEASURED),
        ("connections to a replica", plan.demand.connections, CONNECTIONS_MEASURED),
        ("replicas of a cell", f64::from(plan.replicas), f64::from(REPLICAS_MEASURED)),
    ];
    let further = reached.into_iter().filter(|(_, value, measured)| value > measured);
    let named: Vec<_> = further
        .map(|(what, value, measured)| {
            format!("{} {what} (measured to {})", number::number(value), number::number(measured))
        })
        .collect();
    (!named.is_empty()).then(|| format!("extrapolated: {}", named.join(", ")))
}

/// `250`, `250k`, `1M`, `1e6`.
fn parse_count(text: &str) -> Result<f64, String> {
    let (digits, times) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    let is_plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let number = digits.parse::<f64>().ok().filter(|_| digits.chars().all(is_plain));
    let number = number.ok_or_else(|| format!("{text:?} is no number. Write 250k, 1M or 1e6"))?;
    let number = number * times;
    if !(0.0..=COUNT_MAX).contains(&number) {
        return Err(format!("{text} is not between 0 and 1e12"));
    }
    Ok(number)
}

/// `0.05`, `5%`.
fn parse_part(text: &str) -> Result<f64, String> {
    let (digits, whole) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
    let part = digits.parse::<f64>().map_err(|_| format!("{text:?} is no part. Write 0.05 or 5%"))? / whole;
    if !(0.0..=1.0).contains(&part) {
        return Err(format!("{text} is not between 0 and 1"));
    }
    Ok(part)
}

/// `15m`, `2h`, `90s`: seconds.
fn parse_ttl(text: &str) -> Result<f64, String> {
    let (digits, seconds) = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .ok_or_else(|| format!("{text:?} has no unit. Write 15m, 2h or 90s"))?;
    let number: i64 = digits.parse().map_err(|_| format!("{text:?} is no duration. Write 15m, 2h or 90s"))?;
    let ttl = number.saturating_mul(seconds);
    if !(1..=LIFETIME_CAP_S).contains(&ttl) {
        return Err("no token lives longer than a day, nor shorter than a second".into());
    }
    Ok(number_of(ttl))
}

/// Of seconds within a day, which are exact.
fn number_of(seconds: i64) -> f64 {
    i32::try_from(seconds).map_or(f64::MAX, f64::from)
}

fn parse_headroom(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(times) if (1.0..=100.0).contains(&times) => Ok(times),
        Ok(_) | Err(_) => {
            Err(format!("{text:?} is no factor between 1 and 100. Write 2 to plan at half of the capacity"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for (text, number) in [
            ("1e6", 1e6),
            ("1M", 1e6),
            ("250k", 250e3),
            ("2.5k", 2.5e3),
            ("0", 0.0),
            ("17", 17.0),
            ("1.5e3", 1.5e3),
        ] {
            assert_eq!(parse_count(text), Ok(number), "{text}");
        }
        for wrong in
            ["", "k", "many", "1e", "inf", "nan", "-1", "1e13", "1 M", "1MM", "0x10", "1_000", "1,000"]
        {
            assert!(parse_count(wrong).is_err(), "{wrong}");
        }
        assert_eq!((parse_part("5%"), parse_part("0.05"), parse_part("1")), (Ok(0.05), Ok(0.05), Ok(1.0)));
        for wrong in ["", "%", "101%", "1.1", "-1%", "nan"] {
            assert!(parse_part(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            (parse_ttl("15m"), parse_ttl("90s"), parse_ttl("1d")),
            (Ok(900.0), Ok(90.0), Ok(86_400.0))
        );
        for wrong in ["", "m", "15", "1.5h", "-1m", "0s", "25h", "9223372036854775807d"] {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
        assert!(
            parse_headroom("2").is_ok() && parse_headroom("0.5").is_err() && parse_headroom("x").is_err()
        );
    }
}
