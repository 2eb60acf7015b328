//! Stands between one server and its database. Knows each connection by the name that it gives itself
//! (`application_name`), counts its round trips, and can hold, cut and turn round what passes.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{TcpListener, TcpStream, UnixStream, tcp, unix},
    sync::watch,
};

use crate::wait::until;

/// Every connection.
pub const ALL: &str = "";
/// The pool.
pub const POOL: &str = "jeton";
/// Appends to the log.
pub const FLUSHER: &str = "jeton flusher";
/// Refreshes.
pub const REFRESH: &str = "jeton refresh";
/// Reads the log, then acknowledges what it has applied.
pub const FEED: &str = "jeton feed";
/// Registers, and renews the lease.
pub const LEASE: &str = "jeton lease";
/// Writes acts that are no appends to the log.
pub const AUDIT: &str = "jeton audit";
/// Listens for what wakes readers of the log.
pub const LISTEN: &str = "jeton listen";
/// Reads the rows of the others for the barrier, and reaps the dead.
pub const FLEET: &str = "jeton fleet";

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// The name of a bare Sync, which checks a connection: it is not counted, nor is it counted as held.
const PING: &str = "\0ping";

/// The wire between one server and Postgres. A clone is the same.
#[derive(Clone)]
pub struct Link {
    /// The database's URL by way of this link.
    pub url: String,
    wire: Arc<Wire>,
}

struct Wire {
    rules: watch::Sender<Rules>,
    counts: Mutex<BTreeMap<String, Counts>>,
}

/// The rules for forwarding.
struct Rules {
    /// The socket of the Postgres on the other side.
    upstream: PathBuf,
    /// By the connections' name.
    flows: BTreeMap<String, Flow>,
    /// Connections of an earlier upstream end.
    turn: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Flow {
    /// All passes.
    Open,
    /// Replies to statements whose text contains this are held.
    RepliesTo(String),
    /// Requests pass, replies do not.
    Replies,
    /// Nothing passes, and nothing breaks.
    Stalled,
    /// Connections break, and no other is let in.
    Cut,
    /// The next request is let through to its half, and its connection breaks; then all passes.
    HalfRequest,
    /// The same for the next reply.
    HalfReply,
}

#[derive(Default)]
struct Counts {
    round_trips: i64,
    /// Since the rule in force was made.
    held: u32,
    /// Connections that are carried.
    open: u32,
}

impl Link {
    /// A link in front of a database whose URL names a socket's directory.
    pub async fn start(url: &str) -> Self {
        Self::start_on("127.0.0.1:0", url).await
    }

    /// The same, listening on this address.
    pub async fn start_on(address: &str, url: &str) -> Self {
        let (user, upstream, database) = parts(url);
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("postgres://{user}@{}/{database}?sslmode=disable", listener.local_addr().unwrap());
        let rules = watch::Sender::new(Rules { upstream, flows: BTreeMap::new(), turn: 0 });
        let wire = Arc::new(Wire { rules, counts: Mutex::default() });
        let accepting = Arc::clone(&wire);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let wire = Arc::clone(&accepting);
                tokio::spawn(async move { wire.carry(client).await });
            }
        });
        Self { url, wire }
    }

    /// Holds everything on the connections of this name, without breaking them. A rule for one name goes before the
    /// rule for all, and a rule for all ends those for single names.
    pub fn stall(&self, name: &str) {
        self.wire.set(name, Flow::Stalled);
    }

    /// Requests pass, replies are held.
    pub fn hold_replies(&self, name: &str) {
        self.wire.set(name, Flow::Replies);
    }

    /// Holds replies to statements whose text contains `text`, with everything after them.
    pub fn hold_replies_to(&self, name: &str, text: &str) {
        self.wire.set(name, Flow::RepliesTo(text.to_owned()));
    }

    /// Breaks these connections, with everything held on them, and accepts no others.
    pub fn cut(&self, name: &str) {
        self.wire.set(name, Flow::Cut);
    }

    /// The next request on these connections breaks off in its middle, and its connection with it; then all passes.
    pub fn cut_within_request(&self, name: &str) {
        self.wire.set(name, Flow::HalfRequest);
    }

    /// The same for the next reply.
    pub fn cut_within_reply(&self, name: &str) {
        self.wire.set(name, Flow::HalfReply);
    }

    /// Forwards everything again on these connections, held data first; broken ones can be opened again.
    pub fn resume(&self, name: &str) {
        self.wire.set(name, Flow::Open);
    }

    /// From here on another Postgres is on the other side; all connections break.
    pub fn redirect(&self, url: &str) {
        let (_, upstream, _) = parts(url);
        self.wire.rules.send_modify(|rules| {
            rules.upstream = upstream;
            rules.turn += 1;
        });
    }

    /// Waits until no connection of this name is left.
    pub async fn has_cut(&self, name: &str) {
        until("they are cut", async || self.wire.count(name, |counts| counts.open) == 0).await;
    }

    /// Waits until the rule in force for these connections has held something.
    pub async fn has_held(&self, name: &str) {
        until("something is held", async || self.wire.count(name, |counts| counts.held) > 0).await;
    }

    /// Round trips so far of connections of this name: the Syncs and simple queries, each of which the database
    /// answers with `ReadyForQuery`.
    pub fn round_trips(&self, name: &str) -> i64 {
        self.wire.count(name, |counts| counts.round_trips)
    }

    /// Waits until these connections have made this many more round trips.
    pub async fn more_round_trips(&self, name: &str, more: i64) {
        let goal = self.round_trips(name) + more;
        until("round trips", async || self.round_trips(name) >= goal).await;
    }
}

/// User, socket and database of a URL.
fn parts(url: &str) -> (String, PathBuf, String) {
    let (base, directory) = url.split_once("?host=").unwrap();
    let (user, rest) = base.strip_prefix("postgres://").unwrap().split_once("@localhost:").unwrap();
    let (port, database) = rest.split_once('/').unwrap();
    let socket = PathBuf::from(directory.replace("%2F", "/")).join(format!(".s.PGSQL.{port}"));
    (user.to_owned(), socket, database.to_owned())
}

impl Rules {
    fn flow(&self, name: &str) -> &Flow {
        self.flows.get(name).or_else(|| self.flows.get(ALL)).unwrap_or(&Flow::Open)
    }
}

impl Wire {
    fn set(&self, name: &str, flow: Flow) {
        for (each, counts) in self.counts.lock().unwrap().iter_mut() {
            if name == ALL || each == name {
                counts.held = 0;
            }
        }
        self.rules.send_modify(|rules| {
            if name == ALL {
                rules.flows.clear();
            }
            rules.flows.insert(name.to_owned(), flow);
        });
    }

    fn count<T: std::iter::Sum>(&self, name: &str, of: impl Fn(&Counts) -> T) -> T {
        let counts = self.counts.lock().unwrap();
        counts.iter().filter(|(each, _)| name == ALL || *each == name).map(|(_, it)| of(it)).sum()
    }

    fn note(&self, name: &str, note: impl FnOnce(&mut Counts)) {
        note(self.counts.lock().unwrap().entry(name.to_owned()).or_default());
    }

    /// Carries one connection from its first byte to its end.
    async fn carry(&self, client: TcpStream) -> Option<()> {
        client.set_nodelay(true).ok()?;
        let (from_client, mut to_client) = client.into_split();
        let mut from_client = BufReader::new(from_client);
        let (name, startup) = startup(&mut from_client, &mut to_client).await?;
        let mut rules = self.rules.subscribe();
        let turn = rules.borrow().turn;
        let forwarded = async {
            self.pass(&name, true, |flow| *flow != Flow::Stalled).await;
            let upstream = self.rules.borrow().upstream.clone();
            let (from_server, mut to_server) = UnixStream::connect(upstream).await.ok()?.into_split();
            to_server.write_all(&startup).await.ok()?;
            // The database answers a startup with ReadyForQuery, too.
            let asked = Mutex::new(VecDeque::from([String::new()]));
            tokio::select! {
                _ended = self.requests(&name, &asked, from_client, to_server) => {}
                _ended = self.replies(&name, &asked, from_server, to_client) => {}
            }
            Some(())
        };
        self.note(&name, |counts| counts.open += 1);
        let done = tokio::select! {
            done = forwarded => done,
            _broken = rules.wait_for(|rules| rules.turn != turn || *rules.flow(&name) == Flow::Cut) => None,
        };
        self.note(&name, |counts| counts.open -= 1);
        done
    }

    /// Forwards the server's messages one by one.
    async fn requests(
        &self,
        name: &str,
        asked: &Mutex<VecDeque<String>>,
        mut from: BufReader<tcp::OwnedReadHalf>,
        to: unix::OwnedWriteHalf,
    ) -> Option<()> {
        let mut to = BufWriter::new(to);
        let mut statements: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        let mut asking = String::new();
        let mut bare = true;
        loop {
            let message = message(&mut from).await?;
            let (kind, body) = (message[0], &message[5..]);
            let ping = kind == b'S' && bare;
            bare = kind == b'S' || kind == b'Q';
            match kind {
                b'P' => {
                    let (name, rest) = text_of(body)?;
                    let (text, _) = text_of(rest)?;
                    statements.insert(name.to_owned(), String::from_utf8_lossy(text).into_owned());
                }
                b'B' => {
                    let (_portal, rest) = text_of(body)?;
                    let (name, _) = text_of(rest)?;
                    asking.push_str(statements.get(name).map_or("", String::as_str));
                }
                b'Q' => asking.push_str(&String::from_utf8_lossy(body)),
                _ => {}
            }
            if !self.passes(name, |flow| *flow != Flow::Stalled) {
                to.flush().await.ok()?;
                self.pass(name, !ping, |flow| *flow != Flow::Stalled).await;
            }
            if ping {
                asked.lock().unwrap().push_back(PING.to_owned());
            } else if kind == b'S' || kind == b'Q' {
                self.note(name, |counts| counts.round_trips += 1);
                asked.lock().unwrap().push_back(std::mem::take(&mut asking));
            }
            if self.breaks_off(name, &Flow::HalfRequest) {
                to.write_all(&message[..message.len() / 2]).await.ok()?;
                to.flush().await.ok()?;
                return None;
            }
            to.write_all(&message).await.ok()?;
            if from.buffer().is_empty() {
                to.flush().await.ok()?;
            }
        }
    }

    /// Forwards the database's messages one by one.
    async fn replies(
        &self,
        name: &str,
        asked: &Mutex<VecDeque<String>>,
        from: unix::OwnedReadHalf,
        to: tcp::OwnedWriteHalf,
    ) -> Option<()> {
        let (mut from, mut to) = (BufReader::new(from), BufWriter::new(to));
        loop {
            let message = message(&mut from).await?;
            let answers = asked.lock().unwrap().front().cloned().unwrap_or_default();
            let open = |flow: &Flow| match flow {
                Flow::Open | Flow::HalfRequest | Flow::HalfReply => true,
                Flow::RepliesTo(text) => !answers.contains(text.as_str()),
                Flow::Replies | Flow::Stalled | Flow::Cut => false,
            };
            if !self.passes(name, open) {
                to.flush().await.ok()?;
                self.pass(name, answers != PING, open).await;
            }
            if self.breaks_off(name, &Flow::HalfReply) {
                to.write_all(&message[..message.len() / 2]).await.ok()?;
                to.flush().await.ok()?;
                return None;
            }
            if message[0] == b'Z' {
                asked.lock().unwrap().pop_front();
            }
            to.write_all(&message).await.ok()?;
            if from.buffer().is_empty() {
                to.flush().await.ok()?;
            }
        }
    }

    /// Returns whether this message is the one to break off in. The next one is not.
    fn breaks_off(&self, name: &str, half: &Flow) -> bool {
        let breaks_off = self.rules.borrow().flow(name) == half;
        if breaks_off {
            self.note(name, |counts| counts.held += 1);
            self.rules.send_modify(|rules| {
                rules.flows.insert(name.to_owned(), Flow::Open);
            });
        }
        breaks_off
    }

    fn passes(&self, name: &str, open: impl Fn(&Flow) -> bool) -> bool {
        open(self.rules.borrow().flow(name))
    }

    /// Waits until the rules let it pass.
    async fn pass(&self, name: &str, noted: bool, open: impl Fn(&Flow) -> bool) {
        if noted && !self.passes(name, &open) {
            self.note(name, |counts| counts.held += 1);
        }
        let mut rules = self.rules.subscribe();
        // The rules last as long as we do.
        let _gone = rules.wait_for(|rules| open(rules.flow(name))).await.is_err();
    }
}

/// The connection's name, and the message that begins it. Encryption is declined.
async fn startup(
    from: &mut BufReader<tcp::OwnedReadHalf>,
    to: &mut tcp::OwnedWriteHalf,
) -> Option<(String, Vec<u8>)> {
    loop {
        let length = from.read_u32().await.ok()?;
        let mut body = vec![0; (length as usize).checked_sub(4)?];
        from.read_exact(&mut body).await.ok()?;
        let code = u32::from_be_bytes(body.get(..4)?.try_into().ok()?);
        if code == SSL_REQUEST || code == GSS_REQUEST {
            to.write_all(b"N").await.ok()?;
            continue;
        }
        let mut parameters = body.get(4..)?.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut name = String::new();
        while let (Some(key), Some(value)) = (parameters.next(), parameters.next()) {
            if key == "application_name" {
                name = value.into_owned();
            }
        }
        return Some((name, [&length.to_be_bytes(), body.as_slice()].concat()));
    }
}

/// One message, whole: its kind, its length, its body.
async fn message(from: &mut (impl AsyncReadExt + Unpin)) -> Option<Vec<u8>> {
    let mut head = [0; 5];
    from.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut message = vec![0; 1 + length];
    message[..5].copy_from_slice(&head);
    from.read_exact(&mut message[5..]).await.ok()?;
    Some(message)
}

/// The text up to its NUL, and the rest.
fn text_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}
