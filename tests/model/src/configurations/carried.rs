//! The carry-over of settings, and of a key's revocation.

use super::{Configuration, Expected};
use crate::{
    carrying::{Act, Carrying},
    rule::{Removed, Rule},
};

pub(super) fn all() -> Vec<Configuration> {
    [specified(), without_a_rule()].concat()
}

fn holds(name: &'static str, what: &'static str, carrying: Carrying) -> Configuration {
    Configuration::carrying(name, what, Expected::Holds, carrying)
}

fn specified() -> Vec<Configuration> {
    let removed_and_lost = || Carrying { loss: 1, crashes: 1, ..Carrying::default() };
    let lowered = || vec![Act::Write(1), Act::Write(0)];
    vec![
        holds("C1", "a setting is removed, a replica stands still, an epoch begins", Carrying::default()),
        holds("C2", "a removal may be lost, a replica crashes", removed_and_lost()),
        holds("C3", "the same, 3 replicas", Carrying { replicas: 3, ..removed_and_lost() }),
        holds(
            "C4",
            "two reductions may be lost",
            Carrying { acts: lowered(), loss: 2, crashes: 1, ..Carrying::default() },
        ),
        holds(
            "C5",
            "removed, then written again, stricter: both may be lost",
            Carrying { acts: vec![Act::Remove, Act::Write(0)], loss: 2, crashes: 1, ..Carrying::default() },
        ),
        holds(
            "C6",
            "a key's revocation may be lost, every replica crashes",
            Carrying { acts: vec![Act::Write(0)], loss: 1, crashes: 2, is_key: true, ..Carrying::default() },
        ),
        holds(
            "C7",
            "two epochs, 3 replicas, two reductions",
            Carrying { replicas: 3, acts: lowered(), loss: 2, epochs: 2, ..Carrying::default() },
        )
        .large(),
        holds(
            "C8",
            "an older row is put back, and an epoch begun, by force",
            Carrying { epochs: 0, forces: 1, ..Carrying::default() },
        ),
    ]
}

fn without_a_rule() -> Vec<Configuration> {
    let without = |rule, name, what, carrying| {
        let carrying = Carrying { removed: Removed::of(&[rule]), ..carrying };
        Configuration::carrying(name, what, Expected::Violated, carrying)
    };
    let key = || Carrying { acts: vec![Act::Write(0)], loss: 1, is_key: true, ..Carrying::default() };
    vec![
        // The first alone leaves no replica that answers: a start would repair that.
        Configuration::carrying(
            "C11",
            "the revocation of a key is carried over twice, which fails, and every replica starts again",
            Expected::Violated,
            Carrying {
                crashes: 2,
                removed: Removed::of(&[Rule::CarryOverOnce, Rule::StartWhereCarriedOver]),
                ..key()
            },
        ),
        without(
            Rule::RemovedLaterIsNews,
            "C12",
            "what was removed later is taken for lost",
            Carrying::default(),
        ),
        without(
            Rule::CarryOverReductions,
            "C13",
            "a removal that was lost is not made again",
            Carrying { loss: 1, ..Carrying::default() },
        ),
        without(
            Rule::CarriedOverIsNoNews,
            "C14",
            "what one replica carries over is news to another",
            Carrying { acts: vec![Act::Write(1), Act::Write(0)], loss: 2, ..Carrying::default() },
        ),
        without(
            Rule::StartWhereCarriedOver,
            "C15",
            "a replica starts in an epoch into which nobody has carried over",
            Carrying { crashes: 2, ..key() },
        ),
        without(
            Rule::AnswerInTheEpochOfTheCommit,
            "C16",
            "a change is answered in a later epoch than it was committed in",
            Carrying { loss: 1, ..Carrying::default() },
        ),
        without(
            Rule::RegisterBeforeCarryingOver,
            "C17",
            "a replica that starts passes for one that has carried over",
            Carrying { loss: 1, crashes: 1, ..Carrying::default() },
        ),
        without(
            Rule::SeenIsNoNews,
            "C18",
            "an older row with a later revision is taken for news",
            Carrying { epochs: 0, forces: 1, ..Carrying::default() },
        ),
    ]
}
