//! A launch over several nodes: the nodes find each other before the engine starts, and end together. As in a real engine the
//! head does not start without all of them, and a node that goes away takes the engine with it.

use super::Log;
use crate::error::{Error, Result};
use crate::launch::fixed_value;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Until all have to be there; vLLM waits for ten minutes.
const MEET: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);

/// Place of this process among the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranks {
    pub nodes: u32,
    pub rank: u32,
    address: String,
    port: u16,
}

impl Ranks {
    /// What the flags say; nothing for a launch on one node.
    pub fn of(args: &[String]) -> Option<Ranks> {
        let number = |name: &str| fixed_value(args, name).and_then(|v| v.parse::<u32>().ok());
        let nodes = number("nnodes").filter(|n| *n > 1)?;
        Some(Ranks {
            nodes,
            rank: number("node-rank").unwrap_or(0),
            address: fixed_value(args, "master-addr").unwrap_or("127.0.0.1").to_owned(),
            port: number("master-port").and_then(|p| u16::try_from(p).ok()).unwrap_or(29501),
        })
    }

    /// The head: waits for the other nodes. The receiver tells of each that goes away later.
    ///
    /// Errors: they are not all there in time.
    pub fn lead(&self, log: &Log) -> Result<Receiver<u32>> {
        let at = format!("{}:{}", self.address, self.port);
        let failed = |why: String| Error::failed(format!("RuntimeError: {why}")).at(&at);
        let listener =
            TcpListener::bind((self.address.as_str(), self.port)).map_err(|e| failed(e.to_string()))?;
        listener.set_nonblocking(true).map_err(|e| failed(e.to_string()))?;
        let (sender, lost) = channel();
        let began = Instant::now();
        let mut met = 1;
        while met < self.nodes {
            match listener.accept() {
                Ok((stream, _)) => {
                    let (sender, number) = (sender.clone(), met);
                    met += 1;
                    std::thread::spawn(move || {
                        until_closed(stream);
                        let _ = sender.send(number);
                    });
                }
                Err(_) if began.elapsed() < MEET => std::thread::sleep(LOOK),
                Err(_) => {
                    let text = format!(
                        "torch.distributed.DistStoreError: Timed out after {} seconds waiting for clients. {met}/{} clients joined.",
                        MEET.as_secs(),
                        self.nodes
                    );
                    log.error(&text);
                    return Err(failed(text).hint("every node has to be started, and has to reach the head"));
                }
            }
        }
        log.server(&format!("{} nodes have met", self.nodes));
        Ok(lost)
    }

    /// Another node: joins the head, and stays as long as it does.
    ///
    /// Errors: the head cannot be reached.
    pub fn follow(&self, log: &Log) -> Result<()> {
        let began = Instant::now();
        let stream = loop {
            match TcpStream::connect((self.address.as_str(), self.port)) {
                Ok(stream) => break stream,
                Err(_) if began.elapsed() < MEET => std::thread::sleep(LOOK),
                Err(_) => {
                    let text = format!(
                        "torch.distributed.DistNetworkError: The client socket has timed out after {}ms while trying to connect \
                         to ({}, {}).",
                        MEET.as_millis(),
                        self.address,
                        self.port
                    );
                    log.error(&text);
                    return Err(Error::failed(text));
                }
            }
        };
        log.server(&format!("rank {} has joined {}:{}", self.rank, self.address, self.port));
        until_closed(stream);
        log.server("the head is gone");
        Ok(())
    }
}

fn until_closed(mut stream: TcpStream) {
    let _ = stream.set_nonblocking(false);
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|n| n > 0) {}
}
