//! The lines of a scenario. Whatever is not in the protocol is an error, which names what is wrong.

use serde_json::{Map, Value};

/// One member as the head describes it.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    pub id: u64,
    pub voters: Vec<u64>,
    pub outgoing: Vec<u64>,
    pub learners: Vec<u64>,
    pub learners_next: Vec<u64>,
    pub auto_leave: bool,
    pub start: u64,
    pub election: usize,
    pub heartbeat: usize,
    pub pre_vote: bool,
    pub check_quorum: bool,
    pub lease_reads: bool,
    pub one_entry_messages: bool,
    pub one_entry_applies: bool,
    pub max_inflight: usize,
    pub max_uncommitted: u64,
    pub priority: i64,
    pub group_commit: bool,
    pub batch_append: bool,
    pub skip_bcast_commit: bool,
}

pub struct Head {
    pub seed: u64,
    pub nodes: Vec<Spec>,
}

/// An input, between two quiet points.
#[derive(Debug)]
pub enum Step {
    Tick(u64),
    Campaign(u64),
    Propose(u64, Vec<String>),
    Change { id: u64, changes: String, transition: u64, v1: bool },
    Read(u64, String),
    Transfer(u64, u64),
    Crash(u64),
    Restart(u64, bool),
    Compact(u64, u64),
    Links(Vec<(u64, u64)>),
    Unreachable(u64, u64),
    Ping(u64),
    RequestSnapshot(u64),
    Priority(u64, i64),
    Groups(u64, Vec<(u64, u64)>),
}

pub enum Line {
    Head(Head),
    Step(Step),
    End { full: bool },
}

pub fn parse(line: &str) -> Result<Line, String> {
    match serde_json::from_str(line).map_err(|error| error.to_string())? {
        Value::Object(head) => Ok(Line::Head(parse_head(&head)?)),
        Value::Array(step) => parse_step(&step),
        _ => Err("neither a head nor a step".into()),
    }
}

fn parse_head(head: &Map<String, Value>) -> Result<Head, String> {
    if head.get("scenario") != Some(&Value::from(1)) || head.get("quiet") != Some(&Value::from(true)) {
        return Err("not the head of a quiet schedule of version 1".into());
    }
    let nodes = head.get("nodes").and_then(Value::as_array).ok_or("a head without nodes")?;
    Ok(Head {
        seed: head.get("seed").map_or(Ok(0), |seed| number(seed, "seed"))?,
        nodes: nodes.iter().map(parse_spec).collect::<Result<_, _>>()?,
    })
}

fn parse_spec(value: &Value) -> Result<Spec, String> {
    let fields = value.as_object().ok_or("a node that is no object")?;
    let mut spec = Spec { election: 10, heartbeat: 1, max_inflight: 256, ..Spec::default() };
    for (name, value) in fields {
        let flag = || value.as_bool().ok_or(format!("{name} is neither true nor false"));
        let ids = || {
            let list = value.as_array().ok_or(format!("{name} is no list"))?;
            list.iter().map(|id| number(id, name)).collect::<Result<Vec<u64>, String>>()
        };
        match name.as_str() {
            "id" => spec.id = number(value, name)?,
            "voters" => spec.voters = ids()?,
            "outgoing" => spec.outgoing = ids()?,
            "learners" => spec.learners = ids()?,
            "learners_next" => spec.learners_next = ids()?,
            "auto_leave" => spec.auto_leave = flag()?,
            "start" => spec.start = number(value, name)?,
            "election" => spec.election = number(value, name)? as usize,
            "heartbeat" => spec.heartbeat = number(value, name)? as usize,
            "pre_vote" => spec.pre_vote = flag()?,
            "check_quorum" => spec.check_quorum = flag()?,
            "lease_reads" => spec.lease_reads = flag()?,
            "one_entry_messages" => spec.one_entry_messages = flag()?,
            "one_entry_applies" => spec.one_entry_applies = flag()?,
            "max_inflight" => spec.max_inflight = number(value, name)? as usize,
            "max_uncommitted" => spec.max_uncommitted = number(value, name)?,
            "priority" => spec.priority = number(value, name)? as i64,
            "group_commit" => spec.group_commit = flag()?,
            "batch_append" => spec.batch_append = flag()?,
            "skip_bcast_commit" => spec.skip_bcast_commit = flag()?,
            // What raftx does on request and this library always, or never.
            "commit_by_vote" if flag()? => {}
            "step_down" if !flag()? => {}
            _ => return Err(format!("a node with {name}: {value}, which this library cannot do")),
        }
    }
    if spec.id == 0 {
        return Err("a node without id".into());
    }
    Ok(spec)
}

fn parse_step(step: &[Value]) -> Result<Line, String> {
    let name = step.first().and_then(Value::as_str).ok_or("a step without a name")?;
    let arguments = &step[1..];
    let at = |place: usize| arguments.get(place).ok_or(format!("{name} needs more arguments"));
    let int = |place: usize| number(at(place)?, name);
    let text = |place: usize| string(at(place)?, name);
    let pairs = |place: usize| -> Result<Vec<(u64, u64)>, String> {
        let list = at(place)?.as_array().ok_or(format!("{name}: no list"))?;
        list.iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([one, other]) => Ok((number(one, name)?, number(other, name)?)),
                _ => Err(format!("{name}: no pair: {pair}")),
            })
            .collect()
    };
    let parsed = match name {
        "end" => return Ok(Line::End { full: arguments.first().and_then(Value::as_str) == Some("full") }),
        "tick" => Step::Tick(int(0)?),
        "campaign" => Step::Campaign(int(0)?),
        "propose" => {
            let data = arguments.iter().skip(1).map(|each| string(each, name));
            let data: Vec<String> = data.collect::<Result<_, _>>()?;
            if data.is_empty() {
                return Err("propose without entries".into());
            }
            Step::Propose(int(0)?, data)
        }
        "change" => Step::Change {
            id: int(0)?,
            changes: text(1)?,
            transition: int(2)?,
            v1: at(3)?.as_bool().ok_or("change: v1 is neither true nor false")?,
        },
        "read" => Step::Read(int(0)?, text(1)?),
        "transfer" => Step::Transfer(int(0)?, int(1)?),
        "crash" => Step::Crash(int(0)?),
        "restart" => Step::Restart(int(0)?, int(1)? != 0),
        "compact" => Step::Compact(int(0)?, int(1)?),
        "links" => Step::Links(pairs(0)?),
        "unreachable" => Step::Unreachable(int(0)?, int(1)?),
        "ping" => Step::Ping(int(0)?),
        "request_snapshot" => Step::RequestSnapshot(int(0)?),
        "priority" => Step::Priority(int(0)?, int(1)? as i64),
        "groups" => Step::Groups(int(0)?, pairs(1)?),
        _ => return Err(format!("an unknown step: {name}")),
    };
    Ok(Line::Step(parsed))
}

fn number(value: &Value, name: &str) -> Result<u64, String> {
    value.as_u64().ok_or(format!("{name}: {value} is no number"))
}

fn string(value: &Value, name: &str) -> Result<String, String> {
    Ok(value.as_str().ok_or(format!("{name}: {value} is no text"))?.to_string())
}
