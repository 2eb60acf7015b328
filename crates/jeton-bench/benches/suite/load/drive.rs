//! The ways to call: each drives one connection to the end of its run.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    io,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use super::{
    bodies::{Bodies, end},
    connection::{Answer, Connection},
    timer::{Schedule, Timer},
};

/// Until calls of an open loop that were not answered are given up, once no new ones are made.
const PATIENCE: Duration = Duration::from_secs(3);

/// The shared state of a run's connections.
pub struct Run {
    pub bodies: Rc<Bodies>,
    /// In a run that sends each body once: the next one.
    next: Cell<usize>,
    pub tally: RefCell<Tally>,
}

#[derive(Default)]
pub struct Tally {
    pub codes: BTreeMap<i32, u64>,
    pub times_ns: Vec<u64>,
    pub times_of_others_ns: Vec<u64>,
    pub unanswered: u64,
    pub messages: u64,
    pub answer_bytes: usize,
    /// By body, where they are kept.
    pub kept: Option<Vec<Vec<u8>>>,
}

impl Run {
    pub fn new(bodies: Rc<Bodies>, keep: bool) -> Rc<Self> {
        let kept = keep.then(|| vec![Vec::new(); bodies.len()]);
        let tally = RefCell::new(Tally { kept, ..Tally::default() });
        Rc::new(Self { bodies, next: Cell::new(0), tally })
    }

    fn each(&self) -> Option<usize> {
        let index = self.next.get();
        self.next.set(index + 1);
        (index < self.bodies.len()).then_some(index)
    }

    fn receive(&self, connection: &mut Connection) -> io::Result<()> {
        let at = Instant::now();
        let mut tally = self.tally.borrow_mut();
        connection.receive(|answer| tally.add(answer, at))
    }
}

impl Tally {
    fn add(&mut self, answer: Answer, at: Instant) {
        *self.codes.entry(answer.code).or_default() += 1;
        let time_ns = at.saturating_duration_since(answer.sent).as_nanos() as u64;
        if answer.code == 0 {
            self.times_ns.push(time_ns);
            self.answer_bytes = answer.body_bytes;
        } else {
            self.times_of_others_ns.push(time_ns);
        }
        if let Some(kept) = &mut self.kept {
            kept[answer.index] = answer.body;
        }
    }
}

/// A few calls that are not counted: they fill the connection's tables, and cause everything that a first call does.
pub async fn warm_up(connection: &mut Connection, bodies: &Bodies, calls: usize) -> io::Result<()> {
    for _ in 0..calls {
        let index = bodies.next();
        connection.call(bodies.get(index), index, Instant::now());
    }
    while connection.in_flight() > 0 {
        connection.exchange().await?;
        connection.receive(|_| {})?;
    }
    Ok(())
}

/// Always so many in flight: until a time, or each body once.
pub async fn closed(
    run: Rc<Run>,
    mut connection: Connection,
    in_flight: usize,
    until: Option<Instant>,
) -> io::Result<()> {
    let mut last = false;
    loop {
        let now = Instant::now();
        last |= until.is_some_and(|until| now >= until);
        while !last && connection.in_flight() < in_flight {
            let next = match until {
                Some(_) => Some(run.bodies.next()),
                None => run.each(),
            };
            let Some(index) = next else {
                last = true;
                break;
            };
            let body = run.bodies.get(index);
            while !connection.has_room(body) {
                connection.exchange().await?;
                run.receive(&mut connection)?;
            }
            connection.call(body, index, now);
        }
        if last && connection.in_flight() == 0 {
            return Ok(());
        }
        connection.exchange().await?;
        run.receive(&mut connection)?;
    }
}

/// Each body once, one after the other. Answers how long each took, ns.
pub async fn in_turn(run: &Run, connection: &mut Connection) -> io::Result<Vec<u64>> {
    for index in 0..run.bodies.len() {
        connection.call(run.bodies.get(index), index, Instant::now());
        while connection.in_flight() > 0 {
            connection.exchange().await?;
            run.receive(connection)?;
        }
    }
    let mut tally = run.tally.borrow_mut();
    let others = std::mem::take(&mut tally.times_of_others_ns);
    assert!(others.is_empty(), "every call in turn is answered with OK: {:?}", tally.codes);
    Ok(tally.times_ns.clone())
}

/// Calls when they are due, whatever the answers. Latency counts from when a call was due. One that has found no room on
/// its connection before its `deadline` is given up, unsent: so do the clients of gRPC.
pub async fn open(
    run: Rc<Run>,
    mut connection: Connection,
    mut schedule: Schedule,
    until: Instant,
    deadline: Option<Duration>,
) -> io::Result<()> {
    let mut timer = Timer::new();
    let mut waiting = VecDeque::new();
    loop {
        let now = Instant::now();
        while schedule.due() <= now && schedule.due() < until {
            waiting.push_back(schedule.due());
            schedule.next();
        }
        while let Some(due) = waiting.front() {
            if deadline.is_some_and(|deadline| now.saturating_duration_since(*due) >= deadline) {
                waiting.pop_front();
                run.tally.borrow_mut().unanswered += 1;
                continue;
            }
            let index = run.bodies.next();
            if !connection.has_room(run.bodies.get(index)) {
                break;
            }
            connection.call(run.bodies.get(index), index, *due);
            waiting.pop_front();
        }
        let over = schedule.due() >= until;
        let left = connection.in_flight() + waiting.len();
        if over && (left == 0 || now > until + PATIENCE) {
            run.tally.borrow_mut().unanswered += left as u64;
            return Ok(());
        }
        let wake = if over { until + PATIENCE } else { schedule.due() };
        let arrived = poll_fn(|context| match connection.poll_exchange(context) {
            Poll::Ready(arrived) => Poll::Ready(arrived.map(|()| true)),
            Poll::Pending => timer.poll_at(wake, context).map(|()| Ok(false)),
        });
        if arrived.await? {
            run.receive(&mut connection)?;
        }
    }
}

/// One stream, always so many messages of it in flight.
pub async fn stream(
    run: Rc<Run>,
    mut connection: Connection,
    in_flight: u64,
    until: Instant,
) -> io::Result<()> {
    let stream = connection.begin(0, Instant::now());
    let (mut sent, mut answered, mut ended) = (0, 0, false);
    let mut arrived: Vec<u8> = Vec::new();
    loop {
        let last = Instant::now() >= until;
        while !last && sent - answered < in_flight {
            let body = run.bodies.get(run.bodies.next());
            if !connection.has_room_on(stream, body) {
                break;
            }
            connection.data(stream, body, false);
            sent += 1;
        }
        if last && !ended {
            connection.data(stream, &[], true);
            ended = true;
        }
        connection.exchange().await?;
        let mut done = None;
        connection.receive(|answer| done = Some(answer))?;
        let rest = done.as_mut().map(|answer| std::mem::take(&mut answer.body));
        arrived.append(&mut rest.unwrap_or_else(|| connection.take_body(stream)));
        let mut read = 0;
        while let Some(end) = end(&arrived, read) {
            run.tally.borrow_mut().answer_bytes = end - read;
            read = end;
            answered += 1;
        }
        arrived.drain(..read);
        if let Some(done) = done {
            let mut tally = run.tally.borrow_mut();
            *tally.codes.entry(done.code).or_default() += 1;
            tally.unanswered += sent - answered;
            tally.messages += answered;
            return Ok(());
        }
    }
}
