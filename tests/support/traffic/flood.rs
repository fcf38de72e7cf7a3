//! Floods: packets made beforehand, and sent over and over by threads that do nothing else.
//!
//! One thread for each hook. A veth pair delivers within the sender's system call, so what was sent has been counted
//! once the threads have ended. A processor can send 300,000 to 600,000 packets a second; [`PACE`] leaves a machine of
//! two processors time for what happens under the flood.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, connect, ipproto, send, socket_with};

use super::judge::Stream;
use crate::support::netns::{Hook, Probe, Side, Topology, wire};
use crate::support::random::Dice;

/// When a flood ends by itself.
const LONGEST: Duration = Duration::from_secs(600);

/// How long its threads may take to begin.
const WARM_UP: Duration = Duration::from_secs(60);

/// Packets between two looks at the clock.
const BURST: usize = 64;

/// Packets a second, at each hook.
const PACE: f64 = 120_000.0;

/// The packets of a flood, for each hook.
#[derive(Default)]
pub struct Flood {
    input: Vec<Vec<u8>>,
    output: Vec<Vec<u8>>,
}

impl Flood {
    /// Adds the packets of a stream; IPv4, as the judge is.
    pub fn add(&mut self, stream: &Stream, probes: &[Probe]) {
        let packets = if stream.hook == Hook::Input { &mut self.input } else { &mut self.output };
        for probe in probes {
            assert_eq!(probe.hook, stream.hook, "{probe:?} is none of {stream:?}");
            // What comes from one address comes from many ports.
            let sport = probe.sport.unwrap_or(1024 + (packets.len() % 60_000) as u16);
            let mut packet = wire::packet(probe, sport, 0);
            // Type of service. The kernel fills in the checksum over it.
            packet[1] = stream.dscp << 2;
            packets.push(packet);
        }
    }

    /// Mixes the streams, which were added one after the other.
    pub fn mix(&mut self, dice: &mut Dice) {
        for packets in [&mut self.input, &mut self.output] {
            for index in 1..packets.len() {
                packets.swap(index, dice.below(index + 1));
            }
        }
    }

    /// How many packets there are.
    pub fn len(&self) -> usize {
        self.input.len() + self.output.len()
    }

    fn lanes(&self) -> impl Iterator<Item = (Hook, &[Vec<u8>])> {
        let lanes = [(Hook::Input, &self.input[..]), (Hook::Output, &self.output[..])];
        lanes.into_iter().filter(|(_, packets)| !packets.is_empty())
    }

    /// Sends every packet once.
    pub fn once(&self, topology: &Topology) {
        for (hook, packets) in self.lanes() {
            topology.within(sender(hook), || send_all(hook, &socket(packets), packets));
        }
    }

    /// Sends packets for as long as some work takes, and says for how long.
    pub fn during<T>(&self, topology: &Topology, work: impl FnOnce() -> T) -> (T, Duration) {
        let (stop, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
        let begin = Instant::now();
        let flood = |hook, packets: &[Vec<u8>]| {
            let socket = socket(packets);
            for (number, burst) in packets.chunks(BURST).cycle().enumerate() {
                if stop.load(Ordering::Relaxed) || begin.elapsed() > LONGEST {
                    return;
                }
                send_all(hook, &socket, burst);
                if number == 0 {
                    begun.fetch_add(1, Ordering::Relaxed);
                }
                let due = Duration::from_secs_f64((number * BURST) as f64 / PACE);
                thread::sleep(due.saturating_sub(begin.elapsed()));
            }
        };
        let result = thread::scope(|scope| {
            let _stops = StopOnDrop(&stop);
            for (hook, packets) in self.lanes() {
                scope.spawn(move || topology.within(sender(hook), || flood(hook, packets)));
            }
            while begun.load(Ordering::Relaxed) < self.lanes().count() {
                assert!(begin.elapsed() < WARM_UP, "the flood does not begin");
                thread::sleep(Duration::from_millis(1));
            }
            work()
        });
        (result, begin.elapsed())
    }
}

/// Ends a flood, also where the work under it panics: its threads are waited for.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn sender(hook: Hook) -> Side {
    if hook == Hook::Input { Side::Outside } else { Side::UnderTest }
}

/// A socket that takes whole packets. Connected, for an address with every packet costs more; the packets' own
/// destinations stand in their headers, and are reached through the same neighbour.
fn socket(packets: &[Vec<u8>]) -> OwnedFd {
    let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW)).unwrap();
    let destination: [u8; 4] = packets[0][16..20].try_into().unwrap();
    connect(&socket, &SocketAddr::new(Ipv4Addr::from(destination).into(), 0)).unwrap();
    socket
}

fn send_all(hook: Hook, socket: &OwnedFd, packets: &[Vec<u8>]) {
    for packet in packets {
        match send(socket, packet, SendFlags::empty()) {
            Ok(_) => {}
            // Denied, or dropped by the judge.
            Err(Errno::PERM) if hook == Hook::Output => {}
            Err(error) => panic!("a packet could not be sent: {error}"),
        }
    }
}
