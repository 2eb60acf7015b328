//! The verbs of operators that work on the database, before or beside serving.

use std::{io::Write as _, path::Path, sync::Arc};

use anyhow::{Context, bail, ensure};
use jeton_io::files;
use secrecy::ExposeSecret;

use crate::{
    args::{
        BootstrapArgs, BumpArgs, ImportArgs, ImportState, MigrateCommand, ResealArgs, VerifyArgs,
        read_master_key,
    },
    dev::{DevClient, PrepareRequest},
    mint::{ChainKeys, MasterKey, import_pem},
    observe::CHAIN_HEAD,
    replica::{Keys, VERIFY_AFTER_RETIREMENT_S, await_everywhere, await_no_lease},
    state::{Client, Clients, Permission},
    store::{KnownHead, NewAudit, NewClient, Seal, Store, Task, TrailChecked},
};
use jeton_state::clock::Clock;
use jeton_token::{ApiKey, Revision, UnixSeconds, new_uuid_v7, text};

/// The actor of acts by `jeton dev`.
const DEV: &str = "jeton dev";

/// The result of a verb, for the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// It succeeded.
    Whole,
    /// The answer is no.
    Negative,
}

/// `jeton migrate`. `say` takes lines for stdout.
pub async fn migrate(command: MigrateCommand, mut say: impl FnMut(String)) -> anyhow::Result<Done> {
    let up = matches!(command, MigrateCommand::Up(_));
    let (MigrateCommand::Up(database) | MigrateCommand::Status(database)) = command;
    let store = Store::patient(&database.database_url)?;
    // A schema that this version does not know is refused before anything is written to it.
    store.migrations().await?;
    if up {
        store.check_before_migrating().await?;
        store.migrate(Clock::system().now()).await?;
    }
    let mut done = Done::Whole;
    for migration in store.migrations().await? {
        let state = if migration.applied { "applied" } else { "missing" };
        if !migration.applied {
            done = Done::Negative;
        }
        say(format!("{:04} {state} {}", migration.version, migration.description));
    }
    store.close().await;
    Ok(done)
}

/// Reads the master key of a verb.
fn master_key(path: &Path) -> anyhow::Result<MasterKey> {
    warn_if_open(path, "master key");
    read_master_key(path)
}

/// Warns if others can read a file that holds a secret.
fn warn_if_open(path: &Path, what: &str) {
    if let Some(warning) = files::open_to_others(path, what) {
        let _closed = writeln!(std::io::stderr(), "warning: {warning}");
    }
}

/// `jeton key import`. `say` takes lines for stdout.
pub async fn import_key(args: ImportArgs, mut say: impl FnMut(String)) -> anyhow::Result<Done> {
    warn_if_open(&args.file, "private key");
    let pem = files::read_text(&args.file)
        .with_context(|| format!("the key {} cannot be read", args.file.display()))?;
    let key = import_pem(&pem)
        .map_err(|error| anyhow::anyhow!("the key in {} cannot be used: {error}", args.file.display()))?;
    let keys = Keys::new(master_key(&args.master_key_file)?, Arc::new(Clock::system()));
    let store = Store::patient(&args.database.database_url)?.sealed(keys.row_seal());
    store.check_schema().await?;
    let active = args.state == ImportState::Active;
    keys.import(&store, &key, active).await?;
    store.close().await;
    let (id, algorithm) = (key.key_id(), key.algorithm().as_str());
    say(if active {
        format!(
            "imported {algorithm} key {id}: it signs; the key before it verifies for {VERIFY_AFTER_RETIREMENT_S} s more"
        )
    } else {
        format!("imported {algorithm} key {id}: it verifies for {VERIFY_AFTER_RETIREMENT_S} s")
    });
    Ok(Done::Whole)
}

/// `jeton key reseal`. `say` takes lines for stdout.
pub async fn reseal_keys(args: ResealArgs, mut say: impl FnMut(String)) -> anyhow::Result<Done> {
    let clock = Arc::new(Clock::system());
    let (old_key, new_key) = (master_key(&args.master_key_file)?, master_key(&args.new_master_key_file)?);
    let seal = Seal::new(&new_key, [&old_key]);
    let (old, new) = (Keys::new(old_key, Arc::clone(&clock)), Keys::new(new_key, clock));
    let store = Store::patient(&args.database.database_url)?.sealed(seal);
    store.check_schema().await?;
    let resealed = old.reseal(&store, &new).await.context("nothing was resealed")?;
    let clients =
        store.reseal_clients().await.context("the clients and API keys were not resealed: try again")?;
    let issuers = store.reseal_issuers().await.context("the trusted issuers were not resealed: try again")?;
    let refused = store.refused_clients().await?;
    let refused_issuers = store.refused_issuers().await?;
    store.close().await;
    say(match resealed.before {
        0 => format!("resealed {} keys", resealed.sealed),
        before => format!("resealed {} keys; the new master key opens {before} already", resealed.sealed),
    });
    say(format!("resealed {clients} clients and API keys"));
    if issuers > 0 {
        say(format!("resealed {issuers} trusted issuers"));
    }
    for issuer_id in refused_issuers {
        say(format!(
            "issuer {issuer_id} is left as it was: neither master key is the one that it was registered under"
        ));
    }
    for client_id in refused {
        say(format!(
            "client {client_id} is left as it was: neither master key is the one that it was registered under"
        ));
    }
    Ok(Done::Whole)
}

/// `jeton client bootstrap`: the one act that needs no caller, because there is none yet. `hand_out` takes the API key,
/// which is kept nowhere else.
pub async fn bootstrap_client(
    args: BootstrapArgs,
    hand_out: impl FnOnce(String) -> anyhow::Result<()>,
) -> anyhow::Result<Done> {
    if let Err(rule) = text::check_client_id(&args.client_id) {
        bail!("--client-id is not valid: it is {rule}");
    }
    let clock = Arc::new(Clock::system());
    let keys = Keys::new(master_key(&args.master_key_file)?, Arc::clone(&clock));
    let store = Store::patient(&args.database.database_url)?.sealed(keys.row_seal());
    store.check_schema().await?;
    // A wrong master key would register a client that every server refuses.
    keys.all(&store).await?;
    keys.check_clients(&store).await?;
    let key = ApiKey::generate();
    let audit = NewAudit::new(new_uuid_v7(clock.now_ms()), "jeton client bootstrap", "BootstrapClient");
    let first = store.put_first_admin(&new_client(&args.client_id, true, &key), &audit).await?;
    let Some(registered) = first else {
        bail!("there is a client of this name, or one that administers, already: nothing was written");
    };
    NewAudit { client_id: Some(args.client_id), ..audit }.log(Some(registered), 0);
    let everywhere = await_everywhere(&store, &clock, registered).await;
    store.close().await;
    // Kept nowhere else: if the client was registered, this is its key.
    hand_out(key.expose().to_owned())?;
    everywhere?;
    Ok(Done::Whole)
}

/// `jeton epoch bump`. Returns when no replica can answer under a lease of the epoch before any more. `say` takes lines
/// for stdout.
pub async fn bump_epoch(args: BumpArgs, mut say: impl FnMut(String)) -> anyhow::Result<Done> {
    let clock = Arc::new(Clock::system());
    let keys = Keys::new(master_key(&args.master_key_file)?, Arc::clone(&clock));
    let store = Store::patient(&args.database.database_url)?.sealed(keys.row_seal());
    store.check_schema().await?;
    if !args.vouch_for_clients {
        keys.all(&store).await?;
        keys.check_clients(&store).await?;
    }
    let audit = NewAudit::new(new_uuid_v7(clock.now_ms()), "jeton epoch bump", "BumpEpoch");
    let mark_end = UnixSeconds::new(clock.now_s()).saturating_add(VERIFY_AFTER_RETIREMENT_S);
    let head = store.bump_epoch(args.revoke_keys, mark_end, &audit).await?;
    audit.log(Some(head), 0);
    let epoch = head.epoch();
    if args.vouch_for_clients {
        // The keys are revoked by now: this lets none of them sign.
        let adopted = async {
            store.adopt_keys().await?;
            store.adopt_issuers().await?;
            store.adopt_clients().await
        };
        adopted.await.with_context(|| {
            format!(
                "epoch {epoch} has begun, and every key is revoked, but the clients and keys of before are not adopted: run \
                 the same command again"
            )
        })?;
    }
    await_no_lease(&store, &clock, head).await.with_context(|| {
        format!("epoch {epoch} has begun, but it is not known whether it continues: check, and run the same command again")
    })?;
    store.connection_of(Task::Feed).settle_epoch(epoch).await.with_context(|| {
        format!(
            "epoch {epoch} has begun, and servers pass into it; only the last step failed, which they take by themselves \
             within seconds: nothing is to be done"
        )
    })?;
    say(format!("epoch {epoch} has begun"));
    if args.revoke_keys {
        say("every signing key and MAC key is revoked, every session ended; a server makes new keys when it starts"
            .to_owned());
        say("clients and API keys as of the backup: disable what was disabled, or leaked, since".to_owned());
        for (client, api_keys) in store.clients().await?.by_name() {
            let state = if client.disabled { "disabled" } else { "enabled" };
            say(format!("{} {state} {}", client.client_id, api_keys.join(" ")));
        }
    }
    store.close().await;
    Ok(Done::Whole)
}

/// `jeton audit verify`. `say` takes lines for stdout.
pub async fn verify_audit(args: VerifyArgs, mut say: impl FnMut(String)) -> anyhow::Result<Done> {
    let mut heads = Vec::new();
    for file in &args.heads {
        let cannot = || format!("the heads in {} cannot be read", file.display());
        let before = heads.len();
        for line in files::lines(file).with_context(cannot)? {
            heads.extend(head(&line.with_context(cannot)?));
        }
        anyhow::ensure!(heads.len() > before, "{} tells no head of an audit chain", file.display());
    }
    let master = master_key(&args.master_key_file)?;
    let previous: Vec<_> =
        args.previous_master_key_file.iter().map(|file| master_key(file)).collect::<Result<_, _>>()?;
    let chain_keys = ChainKeys::new(&master, &previous);
    let keys = Keys::new(master, Arc::new(Clock::system()));
    let store = Store::patient(&args.database.database_url)?.sealed(keys.row_seal());
    store.check_schema().await?;
    if let Err(foreign) = keys.check_clients(&store).await {
        // Rows of clients alone prove nothing: a trail is judged as soon as one of its rows verifies.
        let TrailChecked { rows, findings, .. } =
            store.check_trail(&chain_keys, &[], &mut |_finding| {}).await?;
        if rows > 0 && findings >= rows {
            return Err(foreign).context("no row of the audit trail verifies under this master key");
        }
    }
    let checked = store.check_trail(&chain_keys, &heads, &mut say).await?;
    store.close().await;
    let TrailChecked { rows, chains, unjudged, findings } = checked;
    let after = match unjudged {
        0 => String::new(),
        unjudged => format!("; {unjudged} follow missing ones and cannot be judged"),
    };
    if findings == 0 {
        say(format!("{rows} rows in {chains} chains are as jeton wrote them{after}"));
        return Ok(Done::Whole);
    }
    say(format!("{rows} rows in {chains} chains: {findings} findings{after}"));
    Ok(Done::Negative)
}

/// A head as a server reports it: a line of JSON in its log, or a line of its metrics.
fn head(line: &str) -> Option<KnownHead> {
    if let Some(series) = line.strip_prefix(CHAIN_HEAD) {
        let (labels, number) = series.strip_prefix('{')?.split_once("} ")?;
        let label = |name: &str| {
            let values = labels.split(',').filter_map(|label| label.split_once('='));
            values.into_iter().find(|(label, _)| *label == name).map(|(_, value)| value.trim_matches('"'))
        };
        return Some(KnownHead {
            chain: label("chain")?.parse().ok()?,
            number: number.split_whitespace().next()?.parse().ok()?,
            tag: label("tag")?.to_owned(),
        });
    }
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(KnownHead {
        chain: line.get("jeton.chain")?.as_str()?.parse().ok()?,
        number: line.get("jeton.number")?.as_i64()?,
        tag: line.get("jeton.tag")?.as_str()?.to_owned(),
    })
}

/// The work on the database before `jeton dev` starts its server. Writes nothing to a database of somebody else.
pub async fn prepare_dev(request: PrepareRequest) -> anyhow::Result<()> {
    let clock = Arc::new(Clock::system());
    let keys = Keys::new(read_master_key(&request.master_key_file)?, Arc::clone(&clock));
    let store = Store::patient(&request.database_url)?.sealed(keys.row_seal());
    let clients = request.clients.iter().map(dev_client).collect::<anyhow::Result<Vec<_>>>()?;
    check_is_ours(&store, &clients, &keys).await?;
    store.check_before_migrating().await?;
    store.migrate(clock.now()).await?;
    let registered = store.clients().await?;
    for new in clients {
        // Present rows are left alone: a start that changes nothing writes nothing.
        if is_registered(&registered, &new) {
            continue;
        }
        let audit = NewAudit::new(new_uuid_v7(clock.now_ms()), DEV, "PutClient");
        store.put_client(&new, &audit).await?;
    }
    store.close().await;
    Ok(())
}

/// Refuses a database with clients of which none was made by this data directory, and one whose keys this data
/// directory's master key does not open.
async fn check_is_ours(store: &Store, clients: &[NewClient], keys: &Keys) -> anyhow::Result<()> {
    let migrations = store.migrations().await?;
    let residents = store.residents(clients).await?;
    if residents.known == 0 {
        ensure!(
            residents.clients == 0,
            "the database has clients that this data directory did not make: nothing was written; give --data-dir the \
             directory that made it, or --database-url an empty database"
        );
    }
    if migrations.iter().all(|migration| migration.applied) {
        keys.all(store).await?;
    } else {
        ensure!(
            residents.known > 0 || residents.keys == 0,
            "the database has keys that this data directory did not make: nothing was written; give --database-url an \
             empty database"
        );
    }
    Ok(())
}

fn is_registered(registered: &Clients, new: &NewClient) -> bool {
    registered.api_key(&new.api_key_id).is_some_and(|(key, client)| {
        let same = Client { revision: new.client.revision, ..Client::clone(client) } == new.client;
        key.secret_hash == new.secret_hash && same
    })
}

fn dev_client(client: &DevClient) -> anyhow::Result<NewClient> {
    let Some(key) = ApiKey::parse(client.api_key.expose_secret()) else {
        bail!("the API key kept for {} is damaged: start once with --fresh", client.client_id);
    };
    Ok(new_client(client.client_id, client.admin, &key))
}

/// A client for any subject and audience, with all permissions or those of a service.
fn new_client(client_id: &str, admin: bool, key: &ApiKey) -> NewClient {
    const SERVICE: [Permission; 3] = [Permission::Issue, Permission::Validate, Permission::Watch];
    let any = || vec!["*".to_owned()];
    NewClient::new(
        Client {
            client_id: client_id.to_owned(),
            revision: Revision::ZERO,
            permissions: if admin { Permission::ALL.to_vec() } else { SERVICE.to_vec() },
            audiences: any(),
            certificate_uris: Vec::new(),
            subjects: any(),
            own_subject: String::new(),
            disabled: false,
        },
        key,
    )
}
