//! The rules of the protocol, by name. A mutation is the protocol without one of them.

/// Declares each rule with its text.
macro_rules! rules {
    ($($(#[doc = $text:literal])+ $name:ident,)+) => {
        /// A rule that the promise rests on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule { $($(#[doc = $text])+ $name,)+ }

        impl Rule {
            /// Every rule, in the order of the table in `README.md`.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

rules! {
    /// A call answers from memory only under a lease that was held after it began.
    CheckTheLease,
    /// The lease is checked before anything is looked up.
    CheckBeforeLookingUp,
    /// Revoke waits for every registration that may hold a lease.
    WaitForLeases,
    /// A revoker waits longer than the slowest clock lets a lease last.
    WaitOutSlowClocks,
    /// The log is numbered in the order of its commits.
    NumberInCommitOrder,
    /// A replica registers, visibly, before it reads the head that its first lease rests on.
    RegisterBeforeReadingTheHead,
    /// A registration has an id of its own: renewals of an earlier one say nothing about it.
    RegisterUnderAFreshId,
    /// A repeated revocation waits as long.
    RetriesWaitToo,
    /// A lease counts from before its renewal was sent.
    CountFromBeforeSending,
    /// A renewal is adopted only when its head has been applied.
    AdoptOnlyWhatIsApplied,
    /// A replica whose clock has stood still holds no lease.
    NoticeAFrozenClock,
    /// Registrations survive a crash of the database.
    LogRegistrations,
    /// A leaving replica ends its lease first, then removes the registration.
    EndTheLeaseBeforeLeaving,
    /// No lease is judged by the database's clock.
    TrustLocalClocksOnly,
    /// The registrations are read after the commit.
    ReadRegistrationsAfterTheCommit,
    /// A renewal is a durable write: neither a standby nor a primary that was cut off can answer it.
    RenewByAWrite,
    /// A position is acknowledged when it has been applied, not when it was received.
    AcknowledgeAfterApplying,
    /// A root is never cleared under the calls that hold it: another one takes its place.
    NeverClearARoot,
    /// A root is replaced by none that has applied less.
    ReplaceByNothingOlder,
    /// The lease belongs to one root: renewals that the next one adopts do not revive the former.
    LeaseOneRoot,
    /// After a wait a call takes the root again, its lease included.
    TakeTheRootAgain,
    /// A log that may have lost commits is continued in a new epoch, never by using numbers again.
    BeginANewEpoch,
    /// An epoch is begun by compare-and-set on the stored one.
    BeginByCompareAndSet,
    /// Only a replica that holds the state of the former epoch begins the next one.
    BeginWithStateOnly,
    /// Entries that memory holds and the tables lack are appended again.
    AppendAgain,
    /// A replica that starts without state joins an epoch that has settled: the state of the others has been appended
    /// again by then.
    JoinASettledEpoch,
    /// Renewals say nothing about another epoch: revisions compare by epoch first.
    AdoptOnlyInItsEpoch,
    /// In a fresh epoch a revoker waits in full: restored registrations do not show every leaseholder.
    WaitInFullInAFreshEpoch,
    /// A barrier believes only registrations of the log that it appended to.
    ReadRegistrationsOfTheSameLog,
    /// An epoch carries over each thing under one name: a key's revocation is a mark, and the key's state.
    CarryOverOnce,
    /// A removal later than a replica had read is news to it, and no loss.
    RemovedLaterIsNews,
    /// Removals and reductions that the tables have lost are made again.
    CarryOverReductions,
    /// A carried-over state stays as old as it was: it is no news to a replica that knows more.
    CarriedOverIsNoNews,
    /// A replica that starts without state does not join an epoch into which none has carried over its state.
    StartWhereCarriedOver,
    /// A change is answered in the epoch that it was committed in, or not at all.
    AnswerInTheEpochOfTheCommit,
    /// A replica that was never registered carries nothing over: it loads all tables again.
    RegisterBeforeCarryingOver,
    /// A row that a replica had seen, in this state or a later one, is no news to it, whatever revision it bears.
    SeenIsNoNews,
    /// A token bears the revision of its lease check, not of its signing.
    SignTheRevisionOfTheLeaseCheck,
    /// A mint that ends too long after its lease check is abandoned.
    AbandonLateMints,
    /// If Refresh checks the lease again, its time counts from the first check.
    CountFromTheFirstLeaseCheck,
    /// Refresh judges the session by the marks.
    JudgeSessionsByMarks,
    /// A mark goes only after a pass over the sessions, begun after its end, that found nothing left.
    SweepBeforeAMarkGoes,
    /// A mark leaves memory by an entry of the log, never by a replica's clock.
    RemoveMarksThroughTheLog,
    /// A mark outlasts the mints that were under way when the last session was swept.
    OutlastMintsUnderWay,
    /// A revocation that locks as well appends the lock first.
    LockBeforeItsMark,
}

/// The rules that a configuration does without.
#[derive(Clone, Copy, Debug, Default)]
pub struct Removed(u64);

impl Removed {
    /// Without these.
    #[must_use]
    pub fn of(rules: &[Rule]) -> Self {
        Self(rules.iter().fold(0, |set, rule| set | Self::bit(*rule)))
    }

    /// Returns whether a rule is kept.
    #[must_use]
    pub fn keeps(self, rule: Rule) -> bool {
        self.0 & Self::bit(rule) == 0
    }

    fn bit(rule: Rule) -> u64 {
        1 << rule as u8
    }
}
