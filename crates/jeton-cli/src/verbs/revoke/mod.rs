//! `jeton revoke`: the verb of an emergency. It takes whatever leaked, never waits for a count that was not requested,
//! and never ends more than was meant without a confirmation.

pub(crate) mod args;
pub(crate) mod bulk;
pub(crate) mod each;
pub(crate) mod found;
pub(crate) mod gather;
pub(crate) mod keys;
pub(crate) mod many;
pub(crate) mod nothing;
pub(crate) mod one;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod target;

use crate::{
    invocation::Cli,
    term::exit::{Exit, Failure},
    verbs::{
        note,
        revoke::{args::RevokeArgs, gather::Gathered},
    },
};
use jeton_proto::v1::revocation_target::Kind;

/// Runs it.
pub async fn run(cli: &Cli<'_>, args: RevokeArgs) -> Result<Exit, Failure> {
    let args = RevokeArgs { note: note::without_credentials(args.note.as_deref()), ..args };
    let as_json = cli.output.wants_json()?;
    let kind = match &args {
        RevokeArgs { session: Some(session), .. } => Kind::SessionId(session.clone()),
        RevokeArgs { subject: Some(subject), .. } => Kind::Subject(subject.clone()),
        RevokeArgs { client: Some(client), .. } => Kind::ClientId(client.clone()),
        RevokeArgs { key: Some(key), .. } => Kind::KeyId(key.clone()),
        RevokeArgs { issuer: Some(issuer), .. } => Kind::IssuerId(issuer.clone()),
        RevokeArgs { audience: Some(audience), .. } if args.names_nothing_else() => {
            Kind::AllForAudience(audience.clone())
        }
        _ => match gather::gather(cli, &args).await? {
            Gathered::One(kind) => kind,
            Gathered::Many(found) => return many::run(cli, &args, *found, as_json).await,
        },
    };
    if args.resume.is_some() {
        return Err(Failure::Usage(
            "--resume goes on with a revocation of many, and this is one target. Leave it out.".into(),
        ));
    }
    one::run(cli, &args, kind, as_json).await
}
