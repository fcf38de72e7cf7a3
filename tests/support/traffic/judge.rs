//! The judge of a ruleset: counts packets before and after the ruleset.
//!
//! A packet says by its DSCP, which no ruleset of edgeward looks at, which stream it belongs to, and so what has to
//! become of it. The judge knows nothing of addresses, ports and flows, and cannot be wrong about them.
//!
//! What floods ends at the judge, behind the second counter. Conntrack confirms none of it, so its table never fills,
//! and every packet is the first of its flow: all have to pass the rules, and none the shortcut for what is
//! established. Nobody answers them either.

use std::fmt::{self, Write};

use crate::support::netns::{Hook, Topology};

/// Packets of one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// By which the judge knows them at their hook, 1 to 63.
    pub dscp: u8,
    /// What they are.
    pub name: &'static str,
    /// Where they are filtered: input or output.
    pub hook: Hook,
    /// What must happen to them.
    pub fate: Fate,
}

/// What must happen to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All of them pass, and end at the judge.
    Allowed,
    /// None of them passes; one that does ends at the judge.
    Denied,
    /// All of them pass, and reach the program that waits for them.
    Heard,
}

impl Stream {
    fn counter(&self, place: &str) -> String {
        format!("judge_{}_{}_{place}", hook_name(self.hook), self.dscp)
    }
}

fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Input => "input",
        Hook::Output => "output",
        Hook::Forward => panic!("this judge sits on hosts"),
    }
}

/// The counters of some streams in the namespace under test.
pub struct Judge<'a> {
    topology: &'a Topology,
    streams: Vec<Stream>,
}

impl<'a> Judge<'a> {
    /// Adds counters before and after the ruleset under test.
    pub fn new(topology: &'a Topology, streams: Vec<Stream>) -> Self {
        let mut text = "table ip judge {\n".to_owned();
        for stream in &streams {
            let [before, after] = ["before", "after"].map(|place| stream.counter(place));
            let _ = writeln!(text, "counter {before} {{ }}\ncounter {after} {{ }}");
        }
        for hook in [Hook::Input, Hook::Output] {
            for (place, priority) in [("before", -300), ("after", 300)] {
                let name = hook_name(hook);
                let _ = writeln!(text, "chain {name}_{place} {{");
                let _ = writeln!(text, "type filter hook {name} priority {priority}; policy accept;");
                for stream in streams.iter().filter(|stream| stream.hook == hook) {
                    let end = if place == "after" && stream.fate != Fate::Heard { " drop" } else { "" };
                    let _ = writeln!(text, "ip dscp {} counter name {}{end}", stream.dscp, stream.counter(place));
                }
                text.push_str("}\n");
            }
        }
        topology.load(&(text + "}\n")).unwrap();
        Self { topology, streams }
    }

    /// What was counted so far. Exact while no packet is under way.
    pub fn tally(&self) -> Tally {
        let counters = self.topology.counters();
        let count = |stream: &Stream| Count {
            stream: *stream,
            before: counters[&stream.counter("before")],
            after: counters[&stream.counter("after")],
        };
        Tally(self.streams.iter().map(count).collect())
    }
}

/// What was counted of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The stream.
    pub stream: Stream,
    /// Packets in front of the ruleset.
    pub before: u64,
    /// Packets after it.
    pub after: u64,
}

impl Count {
    fn lost(&self) -> u64 {
        if self.stream.fate == Fate::Denied { 0 } else { self.before - self.after }
    }

    fn passed(&self) -> u64 {
        if self.stream.fate == Fate::Denied { self.after } else { 0 }
    }
}

/// What was counted of all streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally(pub Vec<Count>);

impl Tally {
    /// All packets.
    pub fn packets(&self) -> u64 {
        self.0.iter().map(|count| count.before).sum()
    }

    /// Allowed packets that the ruleset did not let through.
    pub fn lost(&self) -> u64 {
        self.0.iter().map(Count::lost).sum()
    }

    /// Denied packets that did.
    pub fn passed(&self) -> u64 {
        self.0.iter().map(Count::passed).sum()
    }

    /// What was counted since an earlier tally.
    pub fn since(&self, earlier: &Self) -> Self {
        let difference = |(now, then): (&Count, &Count)| Count {
            stream: now.stream,
            before: now.before - then.before,
            after: now.after - then.after,
        };
        Self(self.0.iter().zip(&earlier.0).map(difference).collect())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for count in &self.0 {
            let Count { stream: Stream { name, hook, .. }, before, .. } = count;
            let (lost, passed) = (count.lost(), count.passed());
            writeln!(f, "{:>6} {name}: {before} packets, {lost} lost, {passed} passed", hook_name(*hook))?;
        }
        Ok(())
    }
}
