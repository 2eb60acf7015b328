//! The heads of the chains of audit rows: one series for each chain, whose labels change as the chain grows.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use crate::observe::text::{Kind, Text};

/// The name of the metric.
pub const CHAIN_HEAD: &str = "jeton_audit_chain_head";
/// The most chains that are shown, the latest: more than a server writes at once.
const CHAINS_MAX: usize = 32;

/// The latest heads.
#[derive(Debug, Default)]
pub(super) struct Heads(Mutex<VecDeque<Head>>);

#[derive(Debug)]
struct Head {
    writer: String,
    chain: String,
    tag: String,
    number: i64,
}

impl Heads {
    /// Records the head of a chain.
    pub(super) fn tell(&self, writer: &str, chain: &str, number: i64, tag: &str) {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heads.retain(|head| head.chain != chain);
        heads.push_back(Head {
            writer: writer.to_owned(),
            chain: chain.to_owned(),
            tag: tag.to_owned(),
            number,
        });
        if heads.len() > CHAINS_MAX {
            heads.pop_front();
        }
    }

    /// Writes all heads.
    pub(super) fn write(&self, text: &mut Text) {
        text.family(
            CHAIN_HEAD,
            Kind::Gauge,
            "Number of the last row of each chain of audit rows, with its tag, as of the last minute.",
        );
        for head in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = [("writer", &*head.writer), ("chain", &*head.chain), ("tag", &*head.tag)];
            text.sample(CHAIN_HEAD, &labels, head.number);
        }
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
        let mut text = Text::default();
        heads.write(&mut text);
        let text = text.finish();
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), CHAINS_MAX);
        let one: Vec<_> = text.lines().filter(|line| line.contains("chain=\"one\"")).collect();
        assert_eq!(one, [r#"jeton_audit_chain_head{writer="acts",chain="one",tag="63"} 99"#]);
    }
}
