// SPDX-License-Identifier: GPL-2.0
//! Tear-down, in the order of `src/channel/teardown.rs`: what each step waits for, and what it does.
//!
//! See `driver` for what this stands for.

use crate::{
    mutants::Mutant,
    state::{
        CqPc,
        Engine,
        Login,
        Pc,
        Place,
        State,
        Teardown,
        What,
        Who, //
    },
    world::Config, //
};

impl State {
    /// Says whether what the tear-down waits for has happened.
    pub(crate) fn teardown_ready(&self, cfg: &Config) -> bool {
        let used = |who| self.drainer.is_some_and(|d| d.who == who);
        match self.teardown {
            Teardown::None | Teardown::Pending | Teardown::End => false,
            Teardown::Queued => self.login == Login::Done,
            Teardown::Draining => {
                cfg.mutant == Mutant::NoDrain
                    || (self.sends.is_empty()
                        && self.arrived.is_empty()
                        && self.posted == 0
                        && self.cq == CqPc::Idle
                        && !used(Who::Cq))
            }
            Teardown::Drained => self.quiet || cfg.mutant == Mutant::NoQuiet,
            Teardown::Quiet => {
                let engine = |i: usize| {
                    let cmd = &self.cmds[i];
                    cmd.engine != Engine::None || (cmd.pc != Pc::Idle && !cmd.busy)
                };
                cfg.mutant == Mutant::NoEngineWait
                    || !((0..cfg.commands).any(engine) || used(Who::Engine))
            }
            // The wait for the peer is limited; the drop of the id waits for its handler.
            Teardown::SessionClosed => !used(Who::Cm),
            // The wait for the logout is limited.
            Teardown::Begun
            | Teardown::Stopped
            | Teardown::LoggedOut
            | Teardown::CmDropped
            | Teardown::PoolFreed
            | Teardown::Unlinked => true,
        }
    }

    /// One step of `Channel::run`.
    pub(crate) fn teardown_step(&mut self, cfg: &Config) {
        self.teardown = match self.teardown {
            Teardown::None => Teardown::None,
            Teardown::Pending => Teardown::Pending,
            Teardown::Queued => {
                let _ = self.chan.begin_teardown();
                Teardown::Begun
            }
            Teardown::Begun => {
                self.stopped = true;
                Teardown::Stopped
            }
            Teardown::Stopped => {
                if self.logout {
                    self.post(What::Logout, 0, false);
                }
                Teardown::LoggedOut
            }
            Teardown::LoggedOut => {
                // What the peer makes of it changes nothing any more: the wait for it is limited.
                if self.tell_peer && self.accepted {
                    self.peer.up = false;
                }
                self.gate_closed = true;
                self.qp_error = true;
                Teardown::Draining
            }
            Teardown::Draining => Teardown::Drained,
            Teardown::Drained => {
                if cfg.mutant == Mutant::DrainedEarly {
                    self.chan.drained();
                }
                Teardown::Quiet
            }
            Teardown::Quiet => {
                self.chan.drained();
                Teardown::SessionClosed
            }
            Teardown::SessionClosed => {
                self.cm = false;
                Teardown::CmDropped
            }
            Teardown::CmDropped => {
                for cmd in self.cmds.iter_mut().take(cfg.commands) {
                    if cmd.place == Place::Pool {
                        cmd.place = Place::Freed;
                    }
                }
                Teardown::PoolFreed
            }
            Teardown::PoolFreed => Teardown::Unlinked,
            Teardown::Unlinked => Teardown::End,
            Teardown::End => Teardown::End,
        };
    }
}
