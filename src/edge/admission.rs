//! Admission: the checks of a call that come before any of its message is read, and its caller from then on.

use std::sync::Arc;

use http::{Extensions, HeaderMap};

use crate::{
    authority::{Authority, Caller, Error, PresentedCredential},
    edge::{Method, trace_id},
    listen::{Connection, Turn},
    state::{Permission, Snapshot},
};

/// The head of a call.
pub struct Head<'a> {
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The credential in them, or of the connection.
    pub presented: PresentedCredential<'a>,
    /// The connection.
    pub connection: &'a Arc<Connection>,
    /// The state of the thread at the first turn of the call.
    pub turn: Turn,
}

/// An admitted call. It is answered from this snapshot before anything else is waited for.
pub struct Admission {
    /// The snapshot that the caller was authenticated in.
    pub snapshot: Snapshot,
    /// The caller.
    pub caller: Caller,
    /// The state of the thread: calls that need a signature are refused if they are to be shed.
    pub turn: Turn,
}

/// The origin of an admitted call that has to wait, as for its message: the caller is looked up again in each snapshot
/// that the call is answered from.
#[derive(Clone, Debug)]
pub struct Origin {
    caller: Caller,
    connection: Arc<Connection>,
    permission: Option<Permission>,
    turn: Turn,
    /// The time when the whole request had arrived, by the boot clock, in microseconds. `None` if its message came after
    /// its head.
    arrived_us: Option<i64>,
}

/// Admits a call of this method: its caller has a good credential and the permission, and is within its rate. A stream
/// counts by its messages instead.
pub fn admit(
    authority: &Authority,
    snapshot: Snapshot,
    head: &Head<'_>,
    method: Method,
) -> Result<Admission, Error> {
    let client = authority.authenticate(&snapshot, head.presented, head.connection.peer())?;
    head.connection.authenticated(client.client_id());
    if let Some(permission) = method.permission {
        client.must(permission)?;
    }
    let caller = client.into_caller(trace_id(head.headers));
    if !method.streams {
        authority.check_rate(&caller)?;
    }
    Ok(Admission { snapshot, caller, turn: head.turn })
}

impl Admission {
    /// The origin of this call.
    #[must_use]
    pub fn into_origin(
        self,
        method: Method,
        connection: &Arc<Connection>,
        arrived_us: Option<i64>,
    ) -> Origin {
        Origin {
            caller: self.caller,
            connection: Arc::clone(connection),
            permission: method.permission,
            turn: self.turn,
            arrived_us,
        }
    }
}

impl Origin {
    /// The origin of the call with these extensions. Without it, the call was not admitted.
    pub fn of(extensions: &Extensions) -> Result<Self, Error> {
        extensions.get::<Self>().cloned().ok_or(Error::Unauthenticated)
    }

    /// The caller, as it was when the call was admitted.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The state of the thread at the first turn of the call.
    #[must_use]
    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// The connection of the call.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Returns whether its client has more than a few calls in flight.
    #[must_use]
    pub fn asks_for_much(&self) -> bool {
        self.connection.weigh(0).is_much()
    }

    /// The time when the whole request had arrived, by the boot clock, in microseconds; the present if its message came
    /// after its head.
    #[must_use]
    pub fn arrived_us(&self) -> i64 {
        self.arrived_us.unwrap_or_else(|| self.connection.arrived_us())
    }

    /// Admits the call again, after a wait. It was counted already.
    pub async fn again(&self, authority: &Authority) -> Result<Admission, Error> {
        let snapshot = authority.snapshot().await?;
        self.admitted(snapshot)
    }

    /// Admits a message of a stream, which counts as a call, if the lease is held now; the thread is in this state.
    pub fn try_message(&self, authority: &Authority, turn: Turn) -> Option<Result<Admission, Error>> {
        authority.try_snapshot().map(|snapshot| self.counted(authority, snapshot, turn))
    }

    /// Like [`Self::try_message`], once the lease is held.
    pub async fn message(&self, authority: &Authority, turn: Turn) -> Result<Admission, Error> {
        let snapshot = authority.snapshot().await?;
        self.counted(authority, snapshot, turn)
    }

    fn counted(&self, authority: &Authority, snapshot: Snapshot, turn: Turn) -> Result<Admission, Error> {
        let admission = self.admitted(snapshot)?;
        authority.check_rate(&admission.caller)?;
        Ok(Admission { turn, ..admission })
    }

    fn admitted(&self, snapshot: Snapshot) -> Result<Admission, Error> {
        let caller = self.caller.again(&snapshot)?;
        if let Some(permission) = self.permission {
            caller.must(permission)?;
        }
        Ok(Admission { snapshot, caller, turn: self.turn })
    }
}
