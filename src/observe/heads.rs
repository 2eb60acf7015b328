//! The heads of the chains of audit rows, as text for Prometheus: one series for each chain, whose labels change as the
//! chain grows. A registry of metrics would keep all former ones.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

/// The name of the metric.
pub const CHAIN_HEAD: &str = "jeton_audit_chain_head";
/// The most chains that are shown, the latest: more than a server writes at once.
const CHAINS_MAX: usize = 32;

/// The latest heads.
#[derive(Debug, Default)]
pub(super) struct Heads(Mutex<VecDeque<(String, String)>>);

impl Heads {
    /// Records the head of a chain.
    pub(super) fn tell(&self, writer: &str, chain: &str, number: i64, tag: &str) {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heads.retain(|(other, _)| other != chain);
        let line = format!("{CHAIN_HEAD}{{writer=\"{writer}\",chain=\"{chain}\",tag=\"{tag}\"}} {number}");
        heads.push_back((chain.to_owned(), line));
        if heads.len() > CHAINS_MAX {
            heads.pop_front();
        }
    }

    /// The text of all heads (exposition format 0.0.4).
    pub(super) fn render(&self) -> String {
        let mut text = format!(
            "# HELP {CHAIN_HEAD} Number of the last row of each chain of audit rows, with its tag, as of the last minute.\n\
             # TYPE {CHAIN_HEAD} gauge\n"
        );
        for (_, line) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "{line}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e17_each_chain_has_one_series_and_there_are_not_many() {
        let heads = Heads::default();
        for number in 0..100 {
            heads.tell("acts", "one", number, &format!("{number:02x}"));
            heads.tell("flusher", &number.to_string(), 7, "ab");
        }
        let text = heads.render();
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), CHAINS_MAX);
        let one: Vec<_> = text.lines().filter(|line| line.contains("chain=\"one\"")).collect();
        assert_eq!(one, [r#"jeton_audit_chain_head{writer="acts",chain="one",tag="63"} 99"#]);
    }
}
