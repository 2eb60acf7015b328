//! Every configuration, with its expected result: that the promise holds, or breaks.

mod carried;
mod epochs;
mod leases;
mod locks;
mod mints;
mod roots;

use crate::{
    carrying::Carrying,
    check::{Outcome, explore},
    locking::Locking,
    log::World,
    minting::Minting,
    rule::{Removed, Rule},
};

/// The expected result of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Holds,
    Violated,
}

/// The explored model.
#[derive(Clone, Debug)]
enum Kind {
    Log(World),
    Minting(Minting),
    Carrying(Carrying),
    Locking(Locking),
}

/// A configuration.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub name: &'static str,
    /// A description in one line.
    pub what: &'static str,
    pub expected: Expected,
    /// Takes seconds: explored by `cargo test`.
    pub small: bool,
    kind: Kind,
}

impl Configuration {
    fn log(name: &'static str, what: &'static str, expected: Expected, change: fn(&mut World)) -> Self {
        let mut world = World::default();
        change(&mut world);
        Self { name, what, expected, small: true, kind: Kind::Log(world) }
    }

    /// The protocol as it is specified.
    fn holds(name: &'static str, what: &'static str, change: fn(&mut World)) -> Self {
        Self::log(name, what, Expected::Holds, change)
    }

    /// The protocol without a rule.
    fn without(rule: Rule, name: &'static str, what: &'static str, change: fn(&mut World)) -> Self {
        let mut configuration = Self::log(name, what, Expected::Violated, change);
        if let Kind::Log(world) = &mut configuration.kind {
            world.removed = Removed::of(&[rule]);
        }
        configuration
    }

    fn minting(name: &'static str, what: &'static str, expected: Expected, minting: Minting) -> Self {
        Self { name, what, expected, small: true, kind: Kind::Minting(minting) }
    }

    fn carrying(name: &'static str, what: &'static str, expected: Expected, carrying: Carrying) -> Self {
        Self { name, what, expected, small: true, kind: Kind::Carrying(carrying) }
    }

    fn locking(name: &'static str, what: &'static str, expected: Expected, locking: Locking) -> Self {
        Self { name, what, expected, small: true, kind: Kind::Locking(locking) }
    }

    /// Takes more than some seconds, or more than some hundred megabytes: only `make model` explores it.
    fn large(mut self) -> Self {
        self.small = false;
        self
    }

    /// Holds though a rule is removed: where nothing happens that the rule is for.
    fn though_without(mut self, rule: Rule) -> Self {
        if let Kind::Log(world) = &mut self.kind {
            world.removed = Removed::of(&[rule]);
        }
        self
    }

    fn removed(&self) -> Removed {
        match &self.kind {
            Kind::Log(world) => world.removed,
            Kind::Minting(minting) => minting.removed,
            Kind::Carrying(carrying) => carrying.removed,
            Kind::Locking(locking) => locking.removed,
        }
    }

    /// Returns whether it shows that the promise needs this rule.
    #[must_use]
    pub fn shows_the_need_of(&self, rule: Rule) -> bool {
        self.expected == Expected::Violated && !self.removed().keeps(rule)
    }

    /// Explores it.
    #[must_use]
    pub fn explore(&self) -> Outcome {
        match &self.kind {
            Kind::Log(world) => explore(world.clone()),
            Kind::Minting(minting) => explore(minting.clone()),
            Kind::Carrying(carrying) => explore(carrying.clone()),
            Kind::Locking(locking) => explore(locking.clone()),
        }
    }

    /// Returns whether the result was the expected one.
    #[must_use]
    pub fn is_met_by(&self, outcome: &Outcome) -> bool {
        match self.expected {
            Expected::Holds => outcome.holds && outcome.unseen.is_empty(),
            Expected::Violated => !outcome.holds,
        }
    }
}

/// Every configuration.
#[must_use]
pub fn all() -> Vec<Configuration> {
    [leases::all(), roots::all(), epochs::all(), carried::all(), mints::all(), locks::all()].concat()
}
