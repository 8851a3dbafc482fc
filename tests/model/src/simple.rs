// SPDX-License-Identifier: GPL-2.0
//! States that differ in nothing that matters become one.
//!
//! This keeps the graph small. Each function says why what it forgets cannot matter; none of it
//! touches the machines.

use std::hash::{
    DefaultHasher,
    Hash,
    Hasher, //
};

use crate::{
    srp::machine::{
        channel::State as ChannelState,
        command::State as CommandState, //
    },
    state::{
        CqPc,
        Drainer,
        Kind,
        Pc,
        Place,
        State,
        What, //
    }, //
};

impl State {
    /// Forgets what does not matter.
    pub(crate) fn simplify(&mut self, commands: usize) {
        self.forget_requests(commands);
        self.forget_connection();
        self.forget_peer();
        self.sort_commands(commands);
    }

    /// A command that is not in use has no history.
    fn forget_requests(&mut self, commands: usize) {
        for cmd in self.cmds.iter_mut().take(commands) {
            let idle = cmd.pc == Pc::Idle && cmd.machine.state() == CommandState::Free;
            if idle && cmd.place != Place::Hand {
                cmd.kind = Kind::Plain;
                cmd.at_engine = false;
                cmd.answered = false;
                cmd.aborted = false;
            }
        }
    }

    /// Once the channel is past connecting, nothing asks how it got there; once it closes, what the
    /// connection manager reports has no effect, and messages are discarded whatever they are.
    fn forget_connection(&mut self) {
        if self.chan.state() > ChannelState::Connecting {
            self.rtu = true;
            self.notified = false;
        }
        if self.chan.state() >= ChannelState::Disconnecting {
            self.disconnect_pending = false;
            self.arrived.iter_mut().for_each(|kind| *kind = Kind::Plain);
            self.held.iter_mut().for_each(|kind| *kind = Kind::Plain);
        }
    }

    /// A peer behind a queue pair in error state gets nothing any more, and sends nothing; what is
    /// posted is flushed, each in its turn.
    fn forget_peer(&mut self) {
        if self.qp_error {
            self.peer.credits = 0;
            self.peer.owes = [false; 2];
            for wr in self.sends.iter_mut() {
                wr.status.get_or_insert(false);
                wr.delta = 0;
            }
        }
        // The peer has it.
        for wr in self.sends.iter_mut().filter(|wr| wr.status.is_some()) {
            wr.delta = 0;
        }
        if self.gate_closed {
            // Posts fail anyway, and nobody asks for the peer.
            self.faults = 0;
            self.peer.rogue = false;
            self.peer.up = false;
            self.tell_peer = false;
            self.logout = false;
        }
    }

    /// Commands are alike: only how many there are in which condition matters. What refers to one
    /// by its number follows.
    fn sort_commands(&mut self, commands: usize) {
        let key = |i: usize| {
            let mut hasher = DefaultHasher::new();
            self.cmds[i].hash(&mut hasher);
            hasher.finish()
        };
        let mut order: [usize; crate::state::MAX] = core::array::from_fn(|i| i);
        order[..commands].sort_by_key(|&i| key(i));
        if order.is_sorted() {
            return;
        }
        let mut place = [0u8; crate::state::MAX];
        for (to, &from) in order.iter().enumerate() {
            place[from] = to as u8;
        }
        let old = self.cmds;
        for (to, &from) in order.iter().enumerate() {
            self.cmds[to] = old[from];
        }
        let moved = |cmd: &mut u8| *cmd = place[usize::from(*cmd)];
        for wr in self.sends.iter_mut() {
            if let What::Read(cmd) | What::Response(cmd) = &mut wr.what {
                moved(cmd);
            }
        }
        match &mut self.cq {
            CqPc::Idle => {}
            CqPc::Process(cmd) | CqPc::Tell(cmd) => moved(cmd),
            CqPc::Sent { cmd, .. } | CqPc::Read { cmd, .. } | CqPc::Data { cmd, .. } => moved(cmd),
            CqPc::Table { cmd, .. } | CqPc::Submit { cmd, .. } => moved(cmd),
        }
        if let Some(Drainer {
            with: Some(cmd), ..
        }) = &mut self.drainer
        {
            moved(cmd);
        }
    }
}
